"""The shared branch as a differentiable torch function over many fits at once.

``SharedBranch`` is Figure S1's branch. Its channel pooling is read as part of each block: the mean over the sixteen
channels, so that every block takes one channel in and the lengths run 400 -> 198 -> 97 -> 46. (The other reading,
sixteen channels kept until one pooling at the end, has 16 times the work in blocks two and three and 2,592 weights
instead of 240, for 462 patients; "channel pooling" listed last in each block's row of the figure speaks for ours.)
The convolution has no bias, since the normalisation that follows would remove it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gliolake.modeling.models.siamese import branch_loops
from gliolake.modeling.models.siamese.kernels import CHANNELS, EPSILON, LENGTHS, STRIDES, TAPS

TOKEN = LENGTHS[-1]
MOMENTUM = 0.1


class Inputs(NamedTuple):
    """What the fits read: scans, which of their branches each fit sees, and each fit's own standardisation.

    values (N, C, 400) with zeros where a branch is missing; columns (F, K): fit f reads the branches ``columns[f]`` of
    them, as ``(values[:, columns[f]] - shift[f]) * scale[f]``; present (F, N, K) bool; shift, scale (F, K, 400).
    Those that are no integers or bools are of one floating type.
    """

    values: np.ndarray
    columns: np.ndarray
    present: np.ndarray
    shift: np.ndarray
    scale: np.ndarray

    def of(self, fits: np.ndarray) -> Inputs:
        """What some of the fits read."""
        return Inputs(self.values, *(of_fits[fits] for of_fits in self[1:]))

    def gather(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Standardised values (F, B, K, 400), zero where missing, and presence (F, B, K) of rows (F, B); -1: absent."""
        index = rows.clamp_min(0)
        fit = torch.arange(len(rows))[:, None]
        present = torch.from_numpy(self.present)[fit, index] & (rows >= 0)[..., None]
        values = torch.from_numpy(self.values)[index[..., None], torch.from_numpy(self.columns)[:, None]]
        shift, scale = torch.from_numpy(self.shift)[:, None], torch.from_numpy(self.scale)[:, None]
        return (values - shift) * scale * present[..., None], present


def running_step(seen: Tensor) -> Tensor:
    """How far running statistics move towards the batch's after ``seen`` batches: torch's 0.1, but a plain average over
    the first ten, since an epoch here may be no longer than that and the start values are no measurement."""
    return (1 / seen.clamp_min(1)).clamp_min(MOMENTUM)


def usable_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@lru_cache(maxsize=4)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="fits")


def spread_fits(loop: Callable[..., None], fits: int, threads: int, *arrays: Any) -> None:
    """Run ``loop(first, last, *arrays)`` over all fits; each fit is one thread's work, whole."""
    if threads == 1 or fits == 1:
        loop(0, fits, *arrays)
        return
    # Twice as many shares as threads, so that a core busy with something else does not hold up the rest.
    edges = np.linspace(0, fits, min(fits, 2 * threads) + 1).astype(int).tolist()
    waiting = [_pool(threads).submit(loop, a, b, *arrays) for a, b in pairwise(edges)]
    for share in waiting:
        share.result()


class Scratch:
    """The large arrays of a forward pass, kept from step to step: fresh ones would be cleared by the system each time.

    So a backward pass has to come before the next forward pass of the same network, and ``check`` sees to it.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._arrays: list[np.ndarray] = []
        self._ticket = 0

    def take(self, shapes: list[tuple[int, ...]], kind: np.dtype) -> tuple[list[np.ndarray], int]:
        """Arrays of these shapes, zero when new and else as they were left, and a ticket for ``check``."""
        if [a.shape for a in self._arrays] != shapes or self._arrays[0].dtype != kind:
            self._arrays = [np.zeros(shape, kind) for shape in shapes]
        self._ticket += 1
        return self._arrays, self._ticket

    def check(self, ticket: int) -> None:
        """Raise RuntimeError if the arrays were taken again since."""
        if ticket != self._ticket:
            raise RuntimeError("backward after another forward pass of the same branch")


class _Branches(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 - torch passes them by position
        ctx: Any, weight: Tensor, gamma: Tensor, beta: Tensor, inputs: Inputs, rows: np.ndarray, scratch: Scratch
    ) -> tuple[Tensor, Tensor, Tensor]:
        fits, batch = rows.shape
        branches = inputs.columns.shape[1]
        kind = inputs.values.dtype
        (x0, x1, x2), ctx.ticket = scratch.take([(fits, batch, 2, branches * stride + 2) for stride in STRIDES], kind)
        mask = np.empty((fits, batch, branches), np.bool_)
        w, b = np.empty((fits, 3, CHANNELS, TAPS), kind), np.empty((fits, 3, CHANNELS), kind)
        mean, covariance = np.empty((fits, 3, TAPS)), np.empty((fits, 3, TAPS, TAPS))
        centre, spread = np.empty((fits, 3, CHANNELS)), np.empty((fits, 3, CHANNELS))
        count = np.empty((fits, 3), np.int64)
        tokens = np.empty((fits, batch, branches, TOKEN), kind)
        weights = branch_loops.Weights(*(t.detach().numpy() for t in (weight, gamma, beta)))
        kept = branch_loops.Pass(x0, x1, x2, mask, w, b, mean, covariance, centre, spread, count)
        spread_fits(branch_loops.forward_fits, fits, scratch.threads, inputs, rows, weights, kept, tokens)
        ctx.saved, ctx.scratch = (kept, weights), scratch
        unbiased = spread * (count / np.maximum(count - 1, 1))[..., None]
        statistics = (torch.from_numpy(centre.astype(kind)), torch.from_numpy(unbiased.astype(kind)))
        ctx.mark_non_differentiable(*statistics)
        return torch.from_numpy(tokens), *statistics

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        scratch: Scratch = ctx.scratch
        scratch.check(ctx.ticket)
        d_tokens = gradients[0].contiguous().numpy()
        kept, weights = ctx.saved
        found = branch_loops.Weights(*map(np.zeros_like, weights))
        spread_fits(branch_loops.backward_fits, len(d_tokens), scratch.threads, kept, weights, d_tokens, found)
        return *map(torch.from_numpy, found), None, None, None


class SharedBranch(nn.Module):
    """Three blocks shared by all branches, for F fits: rows (F, B) of the inputs to tokens (F, B, K, 46).

    Batch statistics are taken over all present branches of the batch together, as one batch of rows would be.
    """

    running_mean: Tensor
    running_variance: Tensor
    seen: Tensor

    def __init__(self, weight: Tensor, threads: int) -> None:
        super().__init__()
        fits = weight.shape[0]
        self.weight = nn.Parameter(weight)
        self.gamma = nn.Parameter(torch.ones(fits, 3, CHANNELS, dtype=weight.dtype))
        self.beta = nn.Parameter(torch.zeros(fits, 3, CHANNELS, dtype=weight.dtype))
        self.register_buffer("running_mean", torch.zeros(fits, 3, CHANNELS, dtype=weight.dtype))
        self.register_buffer("running_variance", torch.ones(fits, 3, CHANNELS, dtype=weight.dtype))
        self.register_buffer("seen", torch.zeros(fits, 1, 1, dtype=weight.dtype))
        self.scratch = Scratch(threads)

    def forward(self, inputs: Inputs, rows: np.ndarray) -> Tensor:
        """Tokens; in training mode with batch statistics, which move the running ones, else with the running ones."""
        if not self.training:
            return self._infer(inputs, rows)
        tokens, mean, variance = _Branches.apply(self.weight, self.gamma, self.beta, inputs, rows, self.scratch)
        with torch.no_grad():
            real = torch.from_numpy((rows >= 0).any(1))[:, None, None].to(mean)
            self.seen += real
            step = real * running_step(self.seen)
            self.running_mean += step * (mean - self.running_mean)
            self.running_variance += step * (variance - self.running_variance)
        return tokens

    @torch.no_grad()
    def _infer(self, inputs: Inputs, rows: np.ndarray) -> Tensor:
        gain = self.gamma / torch.sqrt(self.running_variance + EPSILON)
        w = (self.weight * gain[..., None]).numpy()
        b = (self.beta - gain * self.running_mean).numpy()
        tokens = np.empty((*rows.shape, inputs.columns.shape[1], TOKEN), inputs.values.dtype)
        spread_fits(branch_loops.infer_fits, len(rows), self.scratch.threads, inputs, rows, w, b, tokens)
        return torch.from_numpy(tokens)
