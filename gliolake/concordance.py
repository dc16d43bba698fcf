"""Concordance of two measurements of the same subjects."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def concordance(first: npt.ArrayLike, second: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Lin's concordance correlation coefficient of each column of two arrays of measurements.

    2 s_xy / (s_x² + s_y² + (x̄ − ȳ)²), moments divided by n (Lin 1989, Biometrics 45:255–268): 1 where every pair is
    equal, less the more they scatter around, or lie beside, the line x = y.

    Args:
        first, second: (n, columns), or (n,) for a single column; any real numbers.

    Returns:
        (columns,) float64 within −1 to 1; NaN for a column where both are the same constant, of which nothing can be
        said, or where a number is not finite.

    Raises:
        ValueError: the shapes differ, or there are no rows.
    """
    x, y = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if x.shape != y.shape or x.ndim not in (1, 2) or not len(x):
        raise ValueError(f"measurements of shapes {x.shape} and {y.shape} cannot be compared")
    x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
    x, y = x - x[:1], y - x[:1]  # so that a constant column is 0 to the bit
    with np.errstate(invalid="ignore", over="ignore"):
        shift = x.mean(axis=0) - y.mean(axis=0)
        x_centred, y_centred = x - x.mean(axis=0), y - y.mean(axis=0)
        together = 2 * (x_centred * y_centred).mean(axis=0)
        apart = (x_centred**2).mean(axis=0) + (y_centred**2).mean(axis=0) + shift**2
    agreement: npt.NDArray[np.float64] = np.divide(together, apart, out=np.full(apart.shape, np.nan), where=apart > 0)
    return agreement
