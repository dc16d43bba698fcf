# ruff: noqa: PLR0917, C901 - a compiled loop takes its arrays one by one, and branches where the numbers do
"""The released script's branches: residual blocks of one filter, each branch its own weights, many fits at once.

A block is ``maxpool2(leaky(x + conv(leaky(conv(x)))))`` with five taps and equal length: 400 -> 200 -> 100 -> 50.
Trained one scan at a time, a step is so little arithmetic that the calls cost more than the numbers; so the branch is
compiled loops, forward and backward, here too. As there, a fit is one thread's work in a fixed order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gliolake.modeling.models.siamese.branch import Inputs, Scratch, spread_fits
from gliolake.modeling.models.siamese.kernels import SLOPE, TAPS, compiled

LENGTHS = (400, 200, 100, 50)
HALF = TAPS // 2
_LENGTHS = np.array(LENGTHS)


@compiled
def _convolve(x: Any, weight: Any, bias: Any, out: Any) -> None:
    """out[p] = bias + sum over t of weight[t] x[p + t]; x has two numbers more at either end."""
    w0, w1, w2, w3, w4 = weight[0], weight[1], weight[2], weight[3], weight[4]
    for p in range(out.shape[0]):
        out[p] = bias + w0 * x[p] + w1 * x[p + 1] + w2 * x[p + 2] + w3 * x[p + 3] + w4 * x[p + 4]


@compiled
def _convolve_back(x: Any, weight: Any, grad: Any, d_weight: Any, dx: Any) -> Any:
    """Gradients of ``_convolve``: adds to d_weight, sets dx (n,); returns that of the bias. grad is padded as x is."""
    n = dx.shape[0]
    w0, w1, w2, w3, w4 = weight[0], weight[1], weight[2], weight[3], weight[4]
    d0 = d1 = d2 = d3 = d4 = db = x[0] * 0
    for p in range(n):
        g = grad[p + 2]
        d0 += g * x[p]
        d1 += g * x[p + 1]
        d2 += g * x[p + 2]
        d3 += g * x[p + 3]
        d4 += g * x[p + 4]
        db += g
        dx[p] = w0 * grad[p + 4] + w1 * grad[p + 3] + w2 * g + w3 * grad[p + 1] + w4 * grad[p]
    d_weight[0] += d0
    d_weight[1] += d1
    d_weight[2] += d2
    d_weight[3] += d3
    d_weight[4] += d4
    return db


@compiled
def forward_fits(
    first: int, last: int, inputs: Any, rows: Any, weight: Any, bias: Any, x: Any, h: Any, s: Any, tokens: Any
) -> None:
    """Tokens (F, B, K, 50); x, h (F, B, K, 3, 404) and s (F, B, K, 3, 400) keep what the backward pass needs.

    Where nothing need be kept they have one row instead of B.
    """
    values, columns, present, shift, scale = inputs
    keep = 1 if x.shape[1] == rows.shape[1] else 0
    slope = values.dtype.type(SLOPE)
    for f in range(first, last):
        for b in range(rows.shape[1]):
            row = rows[f, b]
            for k in range(columns.shape[1]):
                if row < 0 or not present[f, row, k]:
                    tokens[f, b, k] = 0
                    continue
                x0, source, low, factor = x[f, keep * b, k, 0], values[row, columns[f, k]], shift[f, k], scale[f, k]
                for p in range(source.shape[0]):
                    x0[p + 2] = (source[p] - low[p]) * factor[p]
                for block in range(3):
                    n = _LENGTHS[block]
                    here, inner = x[f, keep * b, k, block], h[f, keep * b, k, block]
                    total = s[f, keep * b, k, block, :n]
                    _convolve(here, weight[f, block, 0, k], bias[f, block, 0, k], total)
                    for p in range(n):
                        inner[p + 2] = max(total[p], slope * total[p])
                    _convolve(inner, weight[f, block, 1, k], bias[f, block, 1, k], total)
                    for p in range(n):
                        total[p] += here[p + 2]
                    for p in range(n // 2):
                        top = max(total[2 * p], total[2 * p + 1])
                        top = max(top, slope * top)
                        if block < 2:
                            x[f, keep * b, k, block + 1, p + 2] = top
                        else:
                            tokens[f, b, k, p] = top


@compiled
def backward_fits(
    first: int, last: int, present: Any, rows: Any, weight: Any, x: Any, h: Any, s: Any, d_tokens: Any, d_weight: Any,
    d_bias: Any,
) -> None:  # fmt: skip
    """Adds the gradients of the parameters of fits first..last-1, from those of the tokens."""
    zero = x.dtype.type(0)
    slope, one = x.dtype.type(SLOPE), x.dtype.type(1)
    following, back = np.zeros(LENGTHS[1], x.dtype), np.zeros(LENGTHS[0], x.dtype)
    ds_all, da_all = np.zeros(LENGTHS[0] + 2 * HALF, x.dtype), np.zeros(LENGTHS[0] + 2 * HALF, x.dtype)
    for f in range(first, last):
        for b in range(rows.shape[1]):
            for k in range(x.shape[2]):
                if rows[f, b] < 0 or not present[f, rows[f, b], k]:
                    continue
                following[: LENGTHS[3]] = d_tokens[f, b, k]
                for block in (2, 1, 0):
                    n = _LENGTHS[block]
                    here, inner, total = x[f, b, k, block], h[f, b, k, block], s[f, b, k, block]
                    ds, da, dh = ds_all[: n + 4], da_all[: n + 4], back[:n]
                    ds[:] = 0
                    da[:] = 0
                    for p in range(n // 2):
                        at = 2 * p if total[2 * p] >= total[2 * p + 1] else 2 * p + 1
                        ds[at + 2] = following[p] * (one if total[at] > zero else slope)
                    d_bias[f, block, 1, k] += _convolve_back(
                        inner, weight[f, block, 1, k], ds, d_weight[f, block, 1, k], dh
                    )
                    for p in range(n):
                        da[p + 2] = dh[p] * (one if inner[p + 2] > zero else slope)
                    d_bias[f, block, 0, k] += _convolve_back(
                        here, weight[f, block, 0, k], da, d_weight[f, block, 0, k], dh
                    )
                    if block > 0:
                        for p in range(n):
                            following[p] = dh[p] + ds[p + 2]


def _shapes(batch: tuple[int, ...], branches: int) -> list[tuple[int, ...]]:
    wide = (*batch, branches, 3, LENGTHS[0] + 2 * HALF)
    return [wide, wide, (*wide[:-1], LENGTHS[0])]


def _tokens(
    weight: np.ndarray, bias: np.ndarray, inputs: Inputs, rows: np.ndarray, threads: int, kept: list[np.ndarray]
) -> Tensor:
    tokens = np.empty((*rows.shape, inputs.columns.shape[1], LENGTHS[3]), inputs.values.dtype)
    spread_fits(forward_fits, len(rows), threads, inputs, rows, weight, bias, *kept, tokens)
    return torch.from_numpy(tokens)


class _Residual(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor, inputs: Inputs, rows: np.ndarray, scratch: Scratch) -> Tensor:
        kept, ctx.ticket = scratch.take(_shapes(rows.shape, inputs.columns.shape[1]), inputs.values.dtype)
        numbers = weight.detach().numpy(), bias.detach().numpy()
        ctx.saved = inputs.present, rows, numbers[0], *kept
        ctx.scratch = scratch
        return _tokens(*numbers, inputs, rows, scratch.threads, kept)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        scratch: Scratch = ctx.scratch
        scratch.check(ctx.ticket)
        weight = ctx.saved[2]
        d_weight, d_bias = np.zeros_like(weight), np.zeros(weight.shape[:-1], weight.dtype)
        d_tokens = gradients[0].contiguous().numpy()
        spread_fits(backward_fits, len(weight), scratch.threads, *ctx.saved, d_tokens, d_weight, d_bias)
        return torch.from_numpy(d_weight), torch.from_numpy(d_bias), None, None, None


class ResidualBranches(nn.Module):
    """K branches, each with weights of its own, for F fits: rows (F, B) of the inputs to tokens (F, B, K, 50)."""

    def __init__(self, weight: Tensor, bias: Tensor, threads: int) -> None:
        """weight (F, 3, 2, K, 5) and bias (F, 3, 2, K): block, first or second convolution, branch."""
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self.scratch = Scratch(threads)

    def forward(self, inputs: Inputs, rows: np.ndarray) -> Tensor:
        """Tokens, zero where a branch is missing."""
        if torch.is_grad_enabled():
            return _Residual.apply(self.weight, self.bias, inputs, rows, self.scratch)
        kept = [np.zeros(shape, inputs.values.dtype) for shape in _shapes((len(rows), 1), inputs.columns.shape[1])]
        numbers = self.weight.detach().numpy(), self.bias.detach().numpy()
        return _tokens(*numbers, inputs, rows, self.scratch.threads, kept)
