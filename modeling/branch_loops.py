"""Whole passes of the shared branch over one fit's batch: three blocks forward, three backward, in a fixed order.

Array names: ``K`` branches, ``B`` rows of the batch, ``x[k]`` (B, 2, K * stride + 2) the input of block k, even
elements in ``[:, 0]``, odd ones in ``[:, 1]``. ``live`` (B, K) says which branches of which rows take part: a missing
branch, or a row of -1 that pads the batch, adds nothing to statistics or gradients, and its tokens are zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from modeling.kernels import CHANNELS, EPSILON, LENGTHS, STRIDES, TAPS, input_gradient, pool_block, pool_block_back

_compile: Any = njit(fastmath=True, nogil=True, cache=True, error_model="numpy")
_LENGTHS = np.array(LENGTHS)
_STRIDES = np.array(STRIDES)


@_compile
def load_rows(values: Any, present: Any, shift: Any, scale: Any, rows: Any, x: Any, live: Any) -> None:
    """Gather and standardise: x[b] = (values[rows[b]] - shift) * scale, even and odd apart; zeros where missing."""
    branches = values.shape[1]
    pairs = _STRIDES[0]
    for b in range(rows.shape[0]):
        row = rows[b]
        even, odd = x[b, 0], x[b, 1]
        for k in range(branches):
            live[b, k] = row >= 0 and present[row, k]
            if live[b, k]:
                source, low, factor = values[row, k], shift[k], scale[k]
                for p in range(pairs):
                    even[k * pairs + p] = (source[2 * p] - low[2 * p]) * factor[2 * p]
                    odd[k * pairs + p] = (source[2 * p + 1] - low[2 * p + 1]) * factor[2 * p + 1]
            else:
                even[k * pairs : (k + 1) * pairs] = 0
                odd[k * pairs : (k + 1) * pairs] = 0
        even[branches * pairs :] = 0
        odd[branches * pairs :] = 0


@_compile
def _at(even: Any, odd: Any, q: int) -> Any:
    return even[q // 2] if q % 2 == 0 else odd[q // 2]


@_compile
def _lag_sums(even: Any, odd: Any, windows: int, lags: Any) -> None:
    """Add to lags[d], d = 0..4, the sum over windows p of x[p] x[p + d], and to lags[5] that of x[p]."""
    zero = even[0] * 0
    s0 = s1 = s2 = s3 = s4 = total = zero
    for p in range(windows // 2):
        e, o, e1, o1, e2, o2 = even[p], odd[p], even[p + 1], odd[p + 1], even[p + 2], odd[p + 2]
        total += e + o
        s0 += e * e + o * o
        s1 += e * o + o * e1
        s2 += e * e1 + o * o1
        s3 += e * o1 + o * e2
        s4 += e * e2 + o * o2
    if windows % 2:
        p = windows // 2
        e = even[p]
        total += e
        s0 += e * e
        s1 += e * odd[p]
        s2 += e * even[p + 1]
        s3 += e * odd[p + 1]
        s4 += e * even[p + 2]
    lags[0] += s0
    lags[1] += s1
    lags[2] += s2
    lags[3] += s3
    lags[4] += s4
    lags[5] += total


@_compile
def moments(x: Any, live: Any, block: int, mean: Any, covariance: Any) -> int:
    """Mean (5,) and covariance (5, 5), float64, of all windows of five in the live branches; returns their number.

    With S[i, j] the sum over windows p of x[p + i] x[p + j], S[i + 1, j + 1] differs from S[i, j] by the product at
    the far end less the one at the near end; so only S[0, j] is summed over the row.
    """
    stride = _STRIDES[block]
    windows = _LENGTHS[block] - TAPS + 1
    lags, near, far = np.zeros(6), np.zeros(TAPS), np.zeros(TAPS)
    edge, edges = np.zeros(TAPS), np.zeros((TAPS, TAPS))
    count = 0
    for b in range(x.shape[0]):
        for k in range(live.shape[1]):
            if not live[b, k]:
                continue
            even, odd = x[b, 0, k * stride : (k + 1) * stride], x[b, 1, k * stride : (k + 1) * stride]
            _lag_sums(even, odd, windows, lags)
            count += windows
            for i in range(TAPS - 1):
                near[i], far[i] = _at(even, odd, i), _at(even, odd, windows + i)
            for i in range(TAPS - 1):
                edge[i] += far[i] - near[i]
                for j in range(i, TAPS - 1):
                    edges[i, j] += far[i] * far[j] - near[i] * near[j]
    if count == 0:
        mean[:] = 0
        covariance[:] = 0
        return 0
    mean[0] = lags[5]
    covariance[0] = lags[:TAPS]
    for i in range(TAPS - 1):
        mean[i + 1] = mean[i] + edge[i]
        for j in range(i, TAPS - 1):
            covariance[i + 1, j + 1] = covariance[i, j] + edges[i, j]
    for i in range(TAPS):
        mean[i] /= count
    for i in range(TAPS):
        for j in range(i, TAPS):
            covariance[i, j] = covariance[i, j] / count - mean[i] * mean[j]
            covariance[j, i] = covariance[i, j]
    return count


@_compile
def fold(
    weight: Any, gamma: Any, beta: Any, mean: Any, covariance: Any, centre: Any, spread: Any, w: Any, b: Any
) -> None:
    """Batch normalisation folded into the convolution; centre, spread (16,): batch mean and variance per channel."""
    for c in range(CHANNELS):
        centre[c] = 0.0
        spread[c] = 0.0
        for i in range(TAPS):
            centre[c] += weight[c, i] * mean[i]
            for j in range(TAPS):
                spread[c] += weight[c, i] * weight[c, j] * covariance[i, j]
        gain = gamma[c] / np.sqrt(spread[c] + EPSILON)
        for i in range(TAPS):
            w[c, i] = weight[c, i] * gain
        b[c] = beta[c] - gain * centre[c]


@_compile
def advance(x: Any, live: Any, block: int, w: Any, b: Any, following: Any, row: Any) -> None:
    """Run one block over the batch; its output becomes the next block's input ``following``, zeros where not live.

    After the last block ``following`` is (B, K, 46), the tokens.
    """
    branches = live.shape[1]
    stride, out = _STRIDES[block], _LENGTHS[block + 1]
    for s in range(x.shape[0]):
        line = row[: branches * stride]
        pool_block(x[s, 0], x[s, 1], w, b, line)
        target = following[s]
        if block == 2:
            for k in range(branches):
                for p in range(out):
                    target[k, p] = line[k * stride + p] if live[s, k] else 0
            continue
        pairs = _STRIDES[block + 1]
        target[:] = 0
        for k in range(branches):
            if live[s, k]:
                for p in range((out + 1) // 2):
                    target[0, k * pairs + p] = line[k * stride + 2 * p]
                for p in range(out // 2):
                    target[1, k * pairs + p] = line[k * stride + 2 * p + 1]


@_compile
def unfold(
    weight: Any, gamma: Any, mean: Any, covariance: Any, centre: Any, spread: Any, dw: Any, db: Any, count: int,
    d_weight: Any, d_gamma: Any, d_beta: Any, d_sum: Any, d_product: Any,
) -> None:  # fmt: skip
    """Gradients of the folded convolution (dw, db) carried to the parameters and to the window statistics.

    d_sum (5,), d_product (5, 5): gradients of the sums over windows of x[i] and of x[i] x[j].
    """
    d_mean = np.zeros(TAPS)
    d_covariance = np.zeros((TAPS, TAPS))
    for c in range(CHANNELS):
        variance = spread[c] + EPSILON
        inverse = 1.0 / np.sqrt(variance)
        gain = gamma[c] * inverse
        d_gain = -db[c] * centre[c]
        for i in range(TAPS):
            d_gain += dw[c, i] * weight[c, i]
        d_gamma[c] = d_gain * inverse
        d_beta[c] = db[c]
        d_variance = -0.5 * d_gain * gain / variance
        d_centre = -gain * db[c]
        for i in range(TAPS):
            along = 0.0
            for j in range(TAPS):
                along += covariance[i, j] * weight[c, j]
                d_covariance[i, j] += d_variance * weight[c, i] * weight[c, j]
            d_weight[c, i] = gain * dw[c, i] + 2.0 * d_variance * along + d_centre * mean[i]
            d_mean[i] += d_centre * weight[c, i]
    for i in range(TAPS):
        inner = d_mean[i]
        for j in range(TAPS):
            inner -= 2.0 * d_covariance[i, j] * mean[j]
            d_product[i, j] = d_covariance[i, j] / count
        d_sum[i] = inner / count


@_compile
def add_statistics_gradient(x: Any, live: Any, block: int, d_sum: Any, d_product: Any, dx: Any) -> None:
    """Add to ``dx`` what the inputs of a block contribute through its batch mean and variance."""
    length, stride = _LENGTHS[block], _STRIDES[block]
    windows = length - TAPS + 1
    lag = np.zeros(TAPS, x.dtype)
    for i in range(TAPS):
        for j in range(i, TAPS):
            lag[j - i] += 2.0 * d_product[i, j]
    h0, h1, h2, h3, h4 = lag[0], lag[1], lag[2], lag[3], lag[4]
    level = x.dtype.type(d_sum.sum())
    last = (windows - 2) // 2 + 1
    for b in range(x.shape[0]):
        for k in range(live.shape[1]):
            if not live[b, k]:
                continue
            span = slice(k * stride, (k + 1) * stride)
            even, odd, de, do = x[b, 0, span], x[b, 1, span], dx[b, 0, span], dx[b, 1, span]
            for p in range(last - 2):
                ea, eb, e, ed, ee = even[p], even[p + 1], even[p + 2], even[p + 3], even[p + 4]
                oa, ob, o, od, oe = odd[p], odd[p + 1], odd[p + 2], odd[p + 3], odd[p + 4]
                de[p + 2] += level + h0 * e + h1 * (ob + o) + h2 * (eb + ed) + h3 * (oa + od) + h4 * (ea + ee)
                do[p + 2] += level + h0 * o + h1 * (e + ed) + h2 * (ob + od) + h3 * (eb + ee) + h4 * (oa + oe)
            for q in range(length):
                if 4 <= q < 2 * last:
                    continue
                extra = 0.0
                for i in range(TAPS):
                    if 0 <= q - i < windows:
                        extra += d_sum[i]
                        for j in range(TAPS):
                            extra += 2.0 * d_product[i, j] * _at(even, odd, q - i + j)
                if q % 2 == 0:
                    de[q // 2] += extra
                else:
                    do[q // 2] += extra


@_compile
def retreat(
    x: Any, live: Any, block: int, w: Any, b: Any, d_following: Any, dx: Any, dw: Any, db: Any, row: Any, ge: Any,
    go: Any,
) -> None:  # fmt: skip
    """Backward of ``advance``: d_following is laid out as its ``following``; fills dw, db and, past block 0, dx."""
    branches = live.shape[1]
    stride, out = _STRIDES[block], _LENGTHS[block + 1]
    width = branches * stride
    line = row[:width]
    dw[:] = 0
    db[:] = 0
    for s in range(x.shape[0]):
        line[:] = 0
        source = d_following[s]
        for k in range(branches):
            if not live[s, k]:
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


@_compile
def forward_fits(
    first: int, last: int, values: Any, present: Any, shift: Any, scale: Any, rows: Any, weight: Any, gamma: Any,
    beta: Any, x0: Any, x1: Any, x2: Any, live: Any, w: Any, b: Any, mean: Any, covariance: Any, centre: Any,
    spread: Any, count: Any, tokens: Any,
) -> None:  # fmt: skip
    """Training pass of fits first..last-1; everything the backward pass needs is left in the given arrays."""
    row = np.zeros(x0.shape[3], values.dtype)
    for f in range(first, last):
        load_rows(values, present, shift[f], scale[f], rows[f], x0[f], live[f])
        for block in range(3):
            x = x0[f] if block == 0 else (x1[f] if block == 1 else x2[f])
            count[f, block] = moments(x, live[f], block, mean[f, block], covariance[f, block])
            fold(
                weight[f, block], gamma[f, block], beta[f, block], mean[f, block], covariance[f, block],
                centre[f, block], spread[f, block], w[f, block], b[f, block],
            )  # fmt: skip
            if block == 0:
                advance(x, live[f], block, w[f, block], b[f, block], x1[f], row)
            elif block == 1:
                advance(x, live[f], block, w[f, block], b[f, block], x2[f], row)
            else:
                advance(x, live[f], block, w[f, block], b[f, block], tokens[f], row)


@_compile
def infer_fits(
    first: int, last: int, values: Any, present: Any, shift: Any, scale: Any, rows: Any, w: Any, b: Any, tokens: Any
) -> None:
    """Tokens (F, R, K, 46) of rows (F, R) with the folded weights given; one row at a time, so nothing large is held."""
    branches = values.shape[1]
    x0 = np.zeros((1, 2, branches * STRIDES[0] + 2), values.dtype)
    x1 = np.zeros((1, 2, branches * STRIDES[1] + 2), values.dtype)
    x2 = np.zeros((1, 2, branches * STRIDES[2] + 2), values.dtype)
    live = np.zeros((1, branches), np.bool_)
    row = np.zeros(branches * STRIDES[0], values.dtype)
    for f in range(first, last):
        for r in range(rows.shape[1]):
            load_rows(values, present, shift[f], scale[f], rows[f, r : r + 1], x0, live)
            advance(x0, live, 0, w[f, 0], b[f, 0], x1, row)
            advance(x1, live, 1, w[f, 1], b[f, 1], x2, row)
            advance(x2, live, 2, w[f, 2], b[f, 2], tokens[f, r : r + 1], row)


@_compile
def backward_fits(
    first: int, last: int, x0: Any, x1: Any, x2: Any, live: Any, w: Any, b: Any, mean: Any, covariance: Any,
    centre: Any, spread: Any, count: Any, weight: Any, gamma: Any, d_tokens: Any, d_weight: Any, d_gamma: Any,
    d_beta: Any,
) -> None:  # fmt: skip
    """Gradients of the parameters of fits first..last-1 from those of the tokens, d_tokens (F, B, K, 46)."""
    branches = live.shape[2]
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
                retreat(x2[f], live[f], 2, w[f, 2], b[f, 2], d_tokens[f], d2, dw, db, row, ge, go)
            elif block == 1:
                retreat(x1[f], live[f], 1, w[f, 1], b[f, 1], d2, d1, dw, db, row, ge, go)
            else:
                retreat(x0[f], live[f], 0, w[f, 0], b[f, 0], d1, d1, dw, db, row, ge, go)
            unfold(
                weight[f, block], gamma[f, block], mean[f, block], covariance[f, block], centre[f, block],
                spread[f, block], dw, db, count[f, block], d_weight[f, block], d_gamma[f, block], d_beta[f, block],
                d_sum, d_product,
            )  # fmt: skip
            if block == 2:
                add_statistics_gradient(x2[f], live[f], 2, d_sum, d_product, d2)
            elif block == 1:
                add_statistics_gradient(x1[f], live[f], 1, d_sum, d_product, d1)
