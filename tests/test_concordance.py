"""Lin's concordance against another formula for it, and at its edges."""

from __future__ import annotations

import numpy as np
import pytest

from gliolake.concordance import concordance


def test_it_is_the_correlation_times_the_bias_correction() -> None:
    """Lin 1989: rho times C_b, with C_b = 2 / (v + 1/v + u²), v the ratio of deviations, u the scaled shift."""
    generator = np.random.default_rng(0)
    x = generator.normal(3, 2, (50, 7))
    y = 0.8 * x + generator.normal(0.5, 1, (50, 7))
    for column in range(7):
        a, b = x[:, column], y[:, column]
        v, u = a.std() / b.std(), (a.mean() - b.mean()) / np.sqrt(a.std() * b.std())
        expected = np.corrcoef(a, b)[0, 1] * 2 / (v + 1 / v + u**2)
        assert concordance(x, y)[column] == pytest.approx(expected, rel=1e-12)


def test_equal_is_one_a_shift_costs_and_a_mirror_image_is_minus_one() -> None:
    x = np.array([1.0, 2.0, 3.0])
    assert concordance(x, x) == 1
    assert concordance(x, x + 1) == pytest.approx(2 * (2 / 3) / (4 / 3 + 1))
    assert concordance(x, 4 - x) == pytest.approx(-1)


def test_of_one_constant_nothing_can_be_said_and_two_constants_do_not_agree() -> None:
    same = np.full((5, 1), 0.1, np.float32)
    assert np.isnan(concordance(same, same)).all()
    assert concordance(same, same + 1) == 0
    assert np.isnan(concordance([1.0, np.nan], [1.0, 2.0])).all()


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3,\) and \(4,\)"):
        concordance(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match="cannot be compared"):
        concordance(np.zeros((0, 4)), np.zeros((0, 4)))
