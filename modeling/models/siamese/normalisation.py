# ruff: noqa: PLR0917, C901, PLR0912 - a compiled loop takes its arrays one by one, and branches where the numbers do
"""Batch normalisation of a convolution without its output: from the mean and covariance of the input's windows.

With ``m`` (5,) and ``C`` (5, 5) those of all windows in the batch, channel ``w`` has mean ``w.m`` and variance
``w'Cw``. Forward, that folds the normalisation into the convolution; backward, the gradient of the statistics reaches
the weights through ``m`` and ``C``, and the input as a constant and a symmetrical filter of nine taps.
Rows are laid out as in ``branch_loops``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gliolake.modeling.models.siamese.kernels import CHANNELS, EPSILON, LENGTHS, STRIDES, TAPS, compiled

_LENGTHS = np.array(LENGTHS)
_STRIDES = np.array(STRIDES)


@compiled
def _at(even: Any, odd: Any, q: int) -> Any:
    return even[q // 2] if q % 2 == 0 else odd[q // 2]


@compiled
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


@compiled
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


@compiled
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


@compiled
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


@compiled
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
