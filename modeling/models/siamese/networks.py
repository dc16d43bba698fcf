"""The networks: Figure S1's Siamese network, the released script's variant of it, and the study's MLP baseline."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gliolake.modeling.models.settings import Settings
from gliolake.modeling.models.siamese.branch import TOKEN, Inputs, SharedBranch
from gliolake.modeling.models.siamese.kernels import CHANNELS, SLOPE, TAPS
from gliolake.modeling.models.siamese.layers import (
    BatchedLinear,
    BatchedModel,
    BranchAttention,
    Draw,
    Output,
    TokenNorm,
    cross_entropy,
    presence,
    probability_of,
)
from gliolake.modeling.models.siamese.lowrank import LowRankSNN
from gliolake.modeling.models.siamese.residual import LENGTHS as RESIDUAL_LENGTHS
from gliolake.modeling.models.siamese.residual import ResidualBranches


def _dropped(x: Tensor, masks: list[Tensor] | None, which: int) -> Tensor:
    return x if masks is None else x * masks[which]


class SNN(BatchedModel):
    """Figure S1: shared branches, self-attention over their tokens, a small fully connected head, one logit, BCE.

    Three things the figure does not show, since without them the mean over rectified channels hides the signal:
    filters start with their sum positive and units start open (beta = 1), because the mean over filters of either sign
    of a rectified response depends on a window's strength and hardly on its sign; and tokens are normalised before
    attention, by one mean and variance per batch, because that mean leaves little spread between scans. (Layer
    normalisation would also take away a shift that all features share.)
    """

    def __init__(self, draw: Draw, settings: Settings, branches: int, threads: int) -> None:
        super().__init__()
        weight = draw(TAPS**-0.5, (3, CHANNELS, TAPS))
        self.branch = SharedBranch(torch.where(weight.sum(-1, keepdim=True) < 0, -weight, weight), threads)
        nn.init.ones_(self.branch.beta)
        self.norm = TokenNorm(len(weight))
        self.attention = BranchAttention(draw, TOKEN)
        self.hidden = BatchedLinear(draw, TOKEN, settings.hidden[0])
        self.out = BatchedLinear(draw, settings.hidden[0], 1)
        self.noise = (TOKEN, settings.hidden[0])

    def forward(self, inputs: Inputs, rows: np.ndarray, masks: list[Tensor] | None = None) -> Output:
        """One logit per row (F, B)."""
        present = presence(inputs, rows)
        live = present & torch.from_numpy(rows >= 0)[..., None]
        tokens = self.norm(self.branch(inputs, rows), live)
        pooled, attention = self.attention(tokens, present)
        hidden = functional.leaky_relu(self.hidden(_dropped(pooled, masks, 0)), SLOPE)
        logit = self.out(_dropped(hidden, masks, 1))[..., 0]
        return Output(logit, probability_of(logit), attention)

    def loss(self, output: Output, label: Tensor) -> Tensor:
        """Binary cross-entropy of each row."""
        return cross_entropy(output.score, label)


class ReleasedSNN(BatchedModel):
    """The released script's network: a branch of its own weights per modality, one filter, residual blocks.

    Read as: three blocks ``leaky(x + conv(leaky(conv(x))))`` with one filter of five taps and equal length, each
    followed by MaxPool1d(2), so 400 -> 200 -> 100 -> 50; attention over branches; two sigmoid outputs trained by mean
    squared error against the one-hot label. The probability is the second output's share of the two.
    """

    def __init__(self, draw: Draw, settings: Settings, branches: int, threads: int) -> None:
        super().__init__()
        bound = TAPS**-0.5
        weight, bias = draw(bound, (3, 2, branches, TAPS)), draw(bound, (3, 2, branches))
        self.branches = ResidualBranches(weight, bias, threads)
        self.attention = BranchAttention(draw, RESIDUAL_LENGTHS[-1])
        self.out = BatchedLinear(draw, RESIDUAL_LENGTHS[-1], 2)

    def forward(self, inputs: Inputs, rows: np.ndarray, masks: list[Tensor] | None = None) -> Output:
        """Two sigmoids per row (F, B, 2): unmethylated, methylated."""
        tokens = self.branches(inputs, rows)
        pooled, attention = self.attention(tokens, presence(inputs, rows))
        score = probability_of(self.out(pooled))
        return Output(score, score[..., 1] / score.sum(-1), attention)

    def loss(self, output: Output, label: Tensor) -> Tensor:
        """Mean squared error of the two outputs of each row."""
        return (output.score - torch.stack((1 - label, label), -1)).square().mean(-1)


class MLP(BatchedModel):
    """The study's baseline: hidden layers of 100 and 32, ReLU, dropout 0.4, one logit. Missing branches read as the
    fitting part's mean, which is zero after standardisation."""

    def __init__(self, draw: Draw, settings: Settings, branches: int, threads: int) -> None:
        super().__init__()
        widths = (branches * 400, *settings.hidden, 1)
        self.layers = nn.ModuleList(BatchedLinear(draw, a, b) for a, b in pairwise(widths))
        self.noise = tuple(settings.hidden)

    def forward(self, inputs: Inputs, rows: np.ndarray, masks: list[Tensor] | None = None) -> Output:
        """One logit per row (F, B)."""
        x, _ = inputs.gather(torch.from_numpy(rows))
        x = x.reshape(*rows.shape, math.prod(x.shape[2:]))
        for which, layer in enumerate(self.layers):
            x = layer(x)
            if which < len(self.noise):
                x = _dropped(functional.relu(x), masks, which)
        return Output(x[..., 0], probability_of(x[..., 0]))

    def loss(self, output: Output, label: Tensor) -> Tensor:
        """Binary cross-entropy of each row."""
        return cross_entropy(output.score, label)


NETWORKS: dict[str, Callable[[Draw, Settings, int, int], BatchedModel]] = {
    "snn": SNN,
    "snn_released": ReleasedSNN,
    "snn_lowrank": LowRankSNN,
    "mlp": MLP,
}
