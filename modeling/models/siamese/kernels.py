# ruff: noqa: PLR0917 - a compiled loop takes its arrays one by one, and branches where the numbers do
"""The shared branch of the Siamese network as compiled loops: forward and backward of three convolution blocks.

One block maps a row of ``L`` numbers to ``Q = (L - 4) // 2``::

    window -> 16 channels (k=5) -> batch normalisation -> max over pairs -> LeakyReLU(0.01) -> mean over channels

Three identities make one loop of it. (1) The batch mean and variance of a channel follow from the mean ``m`` (5,) and
covariance ``C`` (5, 5) of the input windows: ``w.m`` and ``w'Cw``, so normalisation is folded into the convolution
before it runs. (2) LeakyReLU is monotonic, so it may follow the maximum. (3) The backward pass recomputes the
convolution instead of reading stored activations.

Rows are held as even and odd elements apart, so that a pair of neighbouring convolutions reads contiguous memory; the
branches of one scan lie one after the other in one long row. Positions that straddle two branches are computed and
ignored: their gradient is zero.

Every function works on one fit, or on one fit's rows, in a fixed order: how fits are spread over threads cannot
change a bit. They hold no interpreter lock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from gliolake.process.compiled import njit

CHANNELS = 16
TAPS = 5
LENGTHS = (400, 198, 97, 46)
"""Numbers per branch before the first block and after each of the three."""
STRIDES = (200, 100, 50)
"""Pairs set aside for a branch in the input of each block."""
SLOPE = 0.01
EPSILON = 1e-5

Loop = TypeVar("Loop", bound=Callable[..., Any])


def compiled(loop: Loop) -> Loop:
    """Compile with numba for whichever floating type it is called with; kept on disk between processes.

    Loops called by loops are inlined: as functions of their own they exist in several compiled copies, and a process
    that compiles binds to other copies than one that loads them, whose sums differ in the last bit.
    """
    return njit(fastmath=True, nogil=True, error_model="numpy", forceinline=True)(loop)


@compiled
def pool_block(even: Any, odd: Any, weight: Any, bias: Any, out: Any) -> None:
    """One block, normalisation folded in: ``out[p] = mean over c of leaky(max(z_c[2p], z_c[2p + 1]))``.

    even, odd: (n + 2,); weight: (16, 5); bias: (16,); out: (n,); all float32.
    """
    n = out.shape[0]
    slope = even.dtype.type(SLOPE)
    for p in range(n):
        out[p] = 0
    for c in range(CHANNELS):
        w0, w1, w2, w3, w4 = weight[c, 0], weight[c, 1], weight[c, 2], weight[c, 3], weight[c, 4]
        b = bias[c]
        for p in range(n):
            e0, o0, e1, o1, e2, o2 = even[p], odd[p], even[p + 1], odd[p + 1], even[p + 2], odd[p + 2]
            first = b + w0 * e0 + w1 * o0 + w2 * e1 + w3 * o1 + w4 * e2
            second = b + w0 * o0 + w1 * e1 + w2 * o1 + w3 * e2 + w4 * o2
            top = max(first, second)
            out[p] += max(top, slope * top)
    share = even.dtype.type(1.0 / CHANNELS)
    for p in range(n):
        out[p] *= share


@compiled
def pool_block_back(
    even: Any, odd: Any, weight: Any, bias: Any, grad: Any, ge: Any, go: Any, d_weight: Any, d_bias: Any
) -> None:
    """Gradients of one block for its folded weights, added to d_weight (16, 5) and d_bias (16,), float64.

    ge, go: (16, at least n + 2): receive the gradient of each channel's even and odd convolutions, from index 2 on.
    """
    n = grad.shape[0]
    steep = even.dtype.type(1.0 / CHANNELS)
    flat = even.dtype.type(SLOPE / CHANNELS)
    zero = even.dtype.type(0)
    for c in range(CHANNELS):
        w0, w1, w2, w3, w4 = weight[c, 0], weight[c, 1], weight[c, 2], weight[c, 3], weight[c, 4]
        b = bias[c]
        ge_c, go_c = ge[c], go[c]
        d0 = d1 = d2 = d3 = d4 = db = zero
        for p in range(n):
            e0, o0, e1, o1, e2, o2 = even[p], odd[p], even[p + 1], odd[p + 1], even[p + 2], odd[p + 2]
            first = b + w0 * e0 + w1 * o0 + w2 * e1 + w3 * o1 + w4 * e2
            second = b + w0 * o0 + w1 * e1 + w2 * o1 + w3 * e2 + w4 * o2
            g = grad[p] * (steep if max(first, second) > zero else flat)
            g_first = g if first >= second else zero
            g_second = g - g_first
            ge_c[p + 2] = g_first
            go_c[p + 2] = g_second
            d0 += g_first * e0 + g_second * o0
            d1 += g_first * o0 + g_second * e1
            d2 += g_first * e1 + g_second * o1
            d3 += g_first * o1 + g_second * e2
            d4 += g_first * e2 + g_second * o2
            db += g
        d_weight[c, 0] += d0
        d_weight[c, 1] += d1
        d_weight[c, 2] += d2
        d_weight[c, 3] += d3
        d_weight[c, 4] += d4
        d_bias[c] += db


@compiled
def input_gradient(ge: Any, go: Any, weight: Any, d_even: Any, d_odd: Any) -> None:
    """Transposed convolution of ge, go (16, n + 2 or more), which begin with two zeros, to d_even, d_odd (n,)."""
    n = d_even.shape[0]
    for p in range(n):
        d_even[p] = 0
        d_odd[p] = 0
    for c in range(CHANNELS):
        w0, w1, w2, w3, w4 = weight[c, 0], weight[c, 1], weight[c, 2], weight[c, 3], weight[c, 4]
        e, o = ge[c], go[c]
        for p in range(n):
            e0, e1, e2, o0, o1, o2 = e[p + 2], e[p + 1], e[p], o[p + 2], o[p + 1], o[p]
            d_even[p] += w0 * e0 + w2 * e1 + w4 * e2 + w1 * o1 + w3 * o2
            d_odd[p] += w1 * e0 + w3 * e1 + w0 * o0 + w2 * o1 + w4 * o2
