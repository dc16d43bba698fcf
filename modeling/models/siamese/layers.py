"""Layers of networks that are trained F at a time: every parameter has the fits as its leading dimension.

Adam works element by element and losses are summed over fits, so fits trained together do not touch one another.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gliolake.modeling.models.siamese.branch import Inputs, running_step
from gliolake.modeling.models.siamese.kernels import EPSILON

Draw = Callable[[float, tuple[int, ...]], Tensor]


def initialiser(streams: list[np.random.Generator]) -> Draw:
    """A function ``draw(bound, shape)`` giving (F, *shape) float32, uniform in ±bound, each fit from its own stream."""

    def draw(bound: float, shape: tuple[int, ...]) -> Tensor:
        return torch.from_numpy(np.stack([s.uniform(-bound, bound, shape) for s in streams]).astype(np.float32))

    return draw


@dataclass(frozen=True)
class Output:
    """What a network says of rows (F, B): raw scores for the loss, probability (F, B), attention (F, B, K) or None."""

    score: Tensor
    probability: Tensor
    attention: Tensor | None = None


class BatchedModel(nn.Module, ABC):
    """F networks of one kind. Rows are (F, B) indices into the inputs; -1 pads a batch and is ignored."""

    noise: tuple[int, ...] = ()
    """Widths of the layers that drop out: in training, ``forward`` is given a mask (F, B, width) for each."""

    @abstractmethod
    def forward(self, inputs: Inputs, rows: np.ndarray, masks: list[Tensor] | None = None) -> Output:
        """Scores, probabilities and attention of the rows."""

    @abstractmethod
    def loss(self, output: Output, label: Tensor) -> Tensor:
        """Loss (F, B) of each row against its label (F, B), 0 or 1."""


def take_fits(network: BatchedModel, state: dict[str, Tensor]) -> None:
    """Give a network other fits, as many as there may be: parameters and buffers by name, fits first.

    The parameters are new ones. Of an old one torch remembers how many fits it had while anything holds on to a graph
    that it was in, and Dask's profiler holds on for a moment to what it looks at.
    """
    for name, _ in list(network.named_parameters()):
        module, _, own = name.rpartition(".")
        setattr(network.get_submodule(module), own, nn.Parameter(state[name].clone()))
    for name, buffer in network.named_buffers():
        buffer.data = state[name].clone()


class BatchedLinear(nn.Module):
    """F linear layers, initialised as ``torch.nn.Linear`` is: (F, n, in) to (F, n, out)."""

    def __init__(self, draw: Draw, width_in: int, width_out: int) -> None:
        super().__init__()
        bound = width_in**-0.5
        self.weight = nn.Parameter(draw(bound, (width_in, width_out)))
        self.bias = nn.Parameter(draw(bound, (1, width_out)))

    def forward(self, x: Tensor) -> Tensor:
        """x @ weight + bias, per fit."""
        return torch.baddbmm(self.bias, x, self.weight)


class TokenNorm(nn.Module):
    """Batch normalisation with one mean, variance, gain and offset per fit over all tokens of the batch.

    As ``torch.nn.BatchNorm1d(1)`` on the live tokens laid end to end.
    """

    running_mean: Tensor
    running_variance: Tensor
    seen: Tensor

    def __init__(self, fits: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(fits, 1, 1, 1))
        self.offset = nn.Parameter(torch.zeros(fits, 1, 1, 1))
        self.register_buffer("running_mean", torch.zeros(fits, 1, 1, 1))
        self.register_buffer("running_variance", torch.ones(fits, 1, 1, 1))
        self.register_buffer("seen", torch.zeros(fits, 1, 1, 1))

    def forward(self, tokens: Tensor, live: Tensor) -> Tensor:
        """Tokens (F, B, K, d); only those that are live (F, B, K) count."""
        if self.training:
            count = live.sum((1, 2))[:, None, None, None].to(tokens.dtype) * tokens.shape[-1]
            # Tokens that are not live are zero, so plain sums are sums over the live ones.
            mean = tokens.sum((1, 2, 3), keepdim=True) / count.clamp_min(1)
            square = torch.linalg.vecdot(tokens.flatten(1), tokens.flatten(1))[:, None, None, None]
            variance = (square / count.clamp_min(1) - mean.square()).clamp_min(0)
            with torch.no_grad():
                self.seen += (count > 0).to(tokens.dtype)
                step = running_step(self.seen) * (count > 0)
                self.running_mean += step * (mean - self.running_mean)
                self.running_variance += step * (variance * count / (count - 1).clamp_min(1) - self.running_variance)
        else:
            mean, variance = self.running_mean, self.running_variance
        gain = self.gain * torch.rsqrt(variance + EPSILON)
        # Not addcmul: at an array's end it may round otherwise than within.
        return tokens * gain + (self.offset - mean * gain)


class BranchAttention(nn.Module):
    """Single-head scaled dot-product self-attention over branches, then the mean over the present ones.

    The mean over queries of what each query gathers is the value layer of the tokens' mean, each token weighted by the
    attention it receives, averaged over queries. So that mean is taken first, which is a fifth of the work, and the
    weight reported for a branch is the weight that was used. Missing branches neither ask nor are attended to.
    """

    def __init__(self, draw: Draw, width: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (BatchedLinear(draw, width, width) for _ in range(3))

    def forward(self, tokens: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (F, B, K, d), present (F, B, K) to pooled (F, B, d) and attention (F, B, K), which sums to 1."""
        fits, batch, branches, width = tokens.shape
        flat = tokens.reshape(fits, -1, width)
        shape = (fits * batch, branches, width)
        query, key = self.query(flat).view(shape), self.key(flat).view(shape)
        seen = present.reshape(-1, 1, branches)
        weight = torch.bmm(query, key.transpose(1, 2)) * width**-0.5
        weight = weight.masked_fill(~seen, float("-inf")).softmax(-1)
        share = seen.to(tokens.dtype)
        received = torch.bmm(share / share.sum(2, keepdim=True), weight)
        pooled = torch.bmm(received, tokens.reshape(shape)).reshape(fits, batch, width)
        return self.value(pooled), received.reshape(fits, batch, branches)


LANES = 64
"""A multiple of the numbers that any processor's vector instructions take at once."""


def _in_step(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """An elementwise function of x (F, …), whose last bits do not depend on how many fits there are.

    The last numbers of an array, too few for a vector instruction, go another way and may round otherwise. So every
    fit's numbers are padded to fill the instructions.
    """
    own = x.reshape(len(x), -1)
    filled = functional.pad(own, (0, -own.shape[1] % LANES))
    return function(filled)[:, : own.shape[1]].reshape(x.shape)


def probability_of(logit: Tensor) -> Tensor:
    """The logistic function of logits (F, …)."""
    return _in_step(torch.sigmoid, logit)


def cross_entropy(logit: Tensor, label: Tensor) -> Tensor:
    """Binary cross-entropy (F, B) of logits (F, B) against labels (F, B), 0 or 1."""
    return _in_step(functional.softplus, logit) - logit * label


def presence(inputs: Inputs, rows: np.ndarray) -> Tensor:
    """Which branches of rows (F, B) are seen: (F, B, K). Padding counts as complete, lest a softmax be over nothing."""
    fit = np.arange(len(rows))[:, None]
    return torch.from_numpy(inputs.present[fit, np.maximum(rows, 0)] | (rows < 0)[..., None])
