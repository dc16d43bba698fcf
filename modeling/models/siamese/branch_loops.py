# ruff: noqa: PLR0917 - a compiled loop takes its arrays one by one
"""Whole passes of the shared branch over one fit's batch: three blocks forward, three backward, in a fixed order.

Array names: ``K`` branches, ``B`` rows of the batch, ``x[k]`` (B, 2, K * stride + 2) the input of block k, even
elements in ``[:, 0]``, odd ones in ``[:, 1]``. ``mask`` (B, K) says which branches of which rows take part: a missing
branch, or a row of -1 that pads the batch, adds nothing to statistics or gradients, and its tokens are zero.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gliolake.modeling.models.siamese.kernels import (
    CHANNELS,
    LENGTHS,
    STRIDES,
    TAPS,
    compiled,
    input_gradient,
    pool_block,
    pool_block_back,
)
from gliolake.modeling.models.siamese.normalisation import add_statistics_gradient, fold, moments, unfold

_LENGTHS = np.array(LENGTHS)
_STRIDES = np.array(STRIDES)


@compiled
def load_rows(values: Any, columns: Any, present: Any, shift: Any, scale: Any, rows: Any, x: Any, mask: Any) -> None:
    """Gather and standardise: x[b] = (values[rows[b], columns] - shift) * scale, even and odd apart; 0: missing."""
    branches = columns.shape[0]
    pairs = _STRIDES[0]
    for b in range(rows.shape[0]):
        row = rows[b]
        even, odd = x[b, 0], x[b, 1]
        for k in range(branches):
            mask[b, k] = row >= 0 and present[row, k]
            if mask[b, k]:
                source, low, factor = values[row, columns[k]], shift[k], scale[k]
                for p in range(pairs):
                    even[k * pairs + p] = (source[2 * p] - low[2 * p]) * factor[2 * p]
                    odd[k * pairs + p] = (source[2 * p + 1] - low[2 * p + 1]) * factor[2 * p + 1]
            else:
                even[k * pairs : (k + 1) * pairs] = 0
                odd[k * pairs : (k + 1) * pairs] = 0
        even[branches * pairs :] = 0
        odd[branches * pairs :] = 0


@compiled
def block_forward(x: Any, mask: Any, block: int, w: Any, b: Any, following: Any, row: Any) -> None:
    """Run one block over the batch; its output becomes the next block's input ``following``, zeros where masked out.

    After the last block ``following`` is (B, K, 46), the tokens.
    """
    branches = mask.shape[1]
    stride, out = _STRIDES[block], _LENGTHS[block + 1]
    for s in range(x.shape[0]):
        line = row[: branches * stride]
        pool_block(x[s, 0], x[s, 1], w, b, line)
        target = following[s]
        if block == 2:
            for k in range(branches):
                for p in range(out):
                    target[k, p] = line[k * stride + p] if mask[s, k] else 0
            continue
        pairs = _STRIDES[block + 1]
        target[:] = 0
        for k in range(branches):
            if mask[s, k]:
                for p in range((out + 1) // 2):
                    target[0, k * pairs + p] = line[k * stride + 2 * p]
                for p in range(out // 2):
                    target[1, k * pairs + p] = line[k * stride + 2 * p + 1]


@compiled
def block_backward(
    x: Any, mask: Any, block: int, w: Any, b: Any, d_following: Any, dx: Any, dw: Any, db: Any, row: Any, ge: Any,
    go: Any,
) -> None:  # fmt: skip
    """Backward of ``block_forward``: d_following is laid out as ``following``; fills dw, db and, past block 0, dx."""
    branches = mask.shape[1]
    stride, out = _STRIDES[block], _LENGTHS[block + 1]
    width = branches * stride
    line = row[:width]
    dw[:] = 0
    db[:] = 0
    for s in range(x.shape[0]):
        line[:] = 0
        source = d_following[s]
        for k in range(branches):
            if not mask[s, k]:
                continue
            if block == 2:
                for p in range(out):
                    line[k * stride + p] = source[k, p]
            else:
                pairs = _STRIDES[block + 1]
                for p in range((out + 1) // 2):
                    line[k * stride + 2 * p] = source[0, k * pairs + p]
                for p in range(out // 2):
                    line[k * stride + 2 * p + 1] = source[1, k * pairs + p]
        pool_block_back(x[s, 0], x[s, 1], w, b, line, ge, go, dw, db)
        if block > 0:
            input_gradient(ge, go, w, dx[s, 0], dx[s, 1])


class Weights(NamedTuple):
    """Of the convolutions, weight (F, 3, 16, 5), and of the normalisation, gamma and beta (F, 3, 16); or gradients."""

    weight: Any
    gamma: Any
    beta: Any


class Pass(NamedTuple):
    """What a training pass leaves for the way back.

    x0, x1, x2: (F, B, 2, K * stride + 2) inputs of the blocks; mask: (F, B, K); w, b: (F, 3, 16, 5) and (F, 3, 16),
    normalisation folded in; mean, covariance: (F, 3, 5), (F, 3, 5, 5) of the input windows; centre, spread: (F, 3, 16)
    of the channels; count: (F, 3) of the windows' places.
    """

    x0: Any
    x1: Any
    x2: Any
    mask: Any
    w: Any
    b: Any
    mean: Any
    covariance: Any
    centre: Any
    spread: Any
    count: Any


@compiled
def forward_fits(first: int, last: int, inputs: Any, rows: Any, weights: Any, kept: Any, tokens: Any) -> None:
    """Training pass of fits first..last-1; everything the backward pass needs is left in the given arrays."""
    values, columns, present, shift, scale = inputs
    weight, gamma, beta = weights
    x0, x1, x2, mask, w, b, mean, covariance, centre, spread, count = kept
    row = np.zeros(x0.shape[3], values.dtype)
    for f in range(first, last):
        load_rows(values, columns[f], present[f], shift[f], scale[f], rows[f], x0[f], mask[f])
        for block in range(3):
            x = x0[f] if block == 0 else (x1[f] if block == 1 else x2[f])
            count[f, block] = moments(x, mask[f], block, mean[f, block], covariance[f, block])
            fold(
                weight[f, block], gamma[f, block], beta[f, block], mean[f, block], covariance[f, block],
                centre[f, block], spread[f, block], w[f, block], b[f, block],
            )  # fmt: skip
            if block == 0:
                block_forward(x, mask[f], block, w[f, block], b[f, block], x1[f], row)
            elif block == 1:
                block_forward(x, mask[f], block, w[f, block], b[f, block], x2[f], row)
            else:
                block_forward(x, mask[f], block, w[f, block], b[f, block], tokens[f], row)


@compiled
def infer_fits(first: int, last: int, inputs: Any, rows: Any, w: Any, b: Any, tokens: Any) -> None:
    """Tokens (F, R, K, 46) of rows (F, R) with the folded weights given, row by row, so that nothing large is held."""
    values, columns, present, shift, scale = inputs
    branches = columns.shape[1]
    x0 = np.zeros((1, 2, branches * STRIDES[0] + 2), values.dtype)
    x1 = np.zeros((1, 2, branches * STRIDES[1] + 2), values.dtype)
    x2 = np.zeros((1, 2, branches * STRIDES[2] + 2), values.dtype)
    mask = np.zeros((1, branches), np.bool_)
    row = np.zeros(branches * STRIDES[0], values.dtype)
    for f in range(first, last):
        for r in range(rows.shape[1]):
            if rows[f, r] < 0:
                tokens[f, r] = 0
                continue
            load_rows(values, columns[f], present[f], shift[f], scale[f], rows[f, r : r + 1], x0, mask)
            block_forward(x0, mask, 0, w[f, 0], b[f, 0], x1, row)
            block_forward(x1, mask, 1, w[f, 1], b[f, 1], x2, row)
            block_forward(x2, mask, 2, w[f, 2], b[f, 2], tokens[f, r : r + 1], row)


@compiled
def backward_fits(first: int, last: int, kept: Any, weights: Any, d_tokens: Any, gradients: Any) -> None:
    """Gradients of the parameters of fits first..last-1 from those of the tokens, d_tokens (F, B, K, 46)."""
    x0, x1, x2, mask, w, b, mean, covariance, centre, spread, count = kept
    weight, gamma, _ = weights
    d_weight, d_gamma, d_beta = gradients
    branches = mask.shape[2]
    d1 = np.zeros((x1.shape[1], 2, branches * STRIDES[1]), x1.dtype)
    d2 = np.zeros((x2.shape[1], 2, branches * STRIDES[2]), x2.dtype)
    row = np.zeros(branches * STRIDES[0], x0.dtype)
    ge = np.zeros((CHANNELS, branches * STRIDES[0] + 2), x0.dtype)
    go = np.zeros_like(ge)
    dw, db = np.zeros((CHANNELS, TAPS)), np.zeros(CHANNELS)
    d_sum, d_product = np.zeros(TAPS), np.zeros((TAPS, TAPS))
    for f in range(first, last):
        if count[f, 0] == 0:
            continue
        for block in (2, 1, 0):
            if block == 2:
                block_backward(x2[f], mask[f], 2, w[f, 2], b[f, 2], d_tokens[f], d2, dw, db, row, ge, go)
            elif block == 1:
                block_backward(x1[f], mask[f], 1, w[f, 1], b[f, 1], d2, d1, dw, db, row, ge, go)
            else:
                block_backward(x0[f], mask[f], 0, w[f, 0], b[f, 0], d1, d1, dw, db, row, ge, go)
            unfold(
                weight[f, block], gamma[f, block], mean[f, block], covariance[f, block], centre[f, block],
                spread[f, block], dw, db, count[f, block], d_weight[f, block], d_gamma[f, block], d_beta[f, block],
                d_sum, d_product,
            )  # fmt: skip
            if block == 2:
                add_statistics_gradient(x2[f], mask[f], 2, d_sum, d_product, d2)
            elif block == 1:
                add_statistics_gradient(x1[f], mask[f], 1, d_sum, d_product, d1)
