"""ComBat: removes the shift and scale of each site from every feature.

Johnson, Li and Rabinovic, Biostatistics 2007, 8:118-127: a feature g of scan j at site i is
``mean_g + sd_g * (gamma_ig + delta_ig * noise)``. The site's shift gamma and spread delta are estimated for each
feature and drawn towards what they are over all features of the site (empirical Bayes, the parametric form).

Labels are no covariates here. A covariate's effect is kept when the site's is removed, and to keep it the covariate
of every scan must be known: a test scan's label would reach its own features. The price is honest: where site and
label go together, ComBat takes away some of what the label does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from gliolake.errors import InputError
from gliolake.modeling.models.problem import FitInputs

METHODS = ("combat",)
"""What ``Settings.harmonise`` may name."""

FEWEST = 2
"""Training scans that a site needs for its spread to be known."""

HINT = "Give scans their site in the cohort's label file, or train without harmonisation."


@dataclass(frozen=True)
class Combat:
    """What was learned of d features at S sites: sites (S,) sorted; mean (d,); centre, gain (S, d), all float64."""

    sites: np.ndarray
    mean: np.ndarray
    centre: np.ndarray
    gain: np.ndarray

    def apply(self, values: np.ndarray, sites: np.ndarray) -> np.ndarray:
        """Values (n, d), of the type given, without the part of their sites (n,); other sites' rows as they are."""
        out = values.copy()
        for site, centre, gain in zip(self.sites, self.centre, self.gain, strict=True):
            own = sites == site
            out[own] = (values[own] - centre) * gain + self.mean
        return out


def fit_combat(values: np.ndarray, sites: np.ndarray) -> Combat:
    """ComBat learned from values (n, d) of scans at sites (n,), each with at least ``FEWEST`` of them.

    A feature that no site's own scans differ in has nothing but the site to tell: it is shifted to the mean.
    """
    values = values.astype(np.float64)
    names, site = np.unique(sites, return_inverse=True)
    count = np.bincount(site)
    mean = values.mean(0)
    own_mean = np.stack([values[site == i].mean(0) for i in range(len(names))])
    variance = ((values - own_mean[site]) ** 2).mean(0)
    varies = variance > 1e-12 * (values**2).mean(0)
    sd = np.sqrt(np.where(varies, variance, 1.0))
    shift, spread = (own_mean - mean) / sd, np.ones_like(own_mean)
    for i, n in enumerate(count):
        if varies.any():
            standard = (values[site == i][:, varies] - mean[varies]) / sd[varies]
            shift[i, varies], spread[i, varies] = _shrunk(standard.mean(0), standard.var(0, ddof=1), int(n))
    return Combat(names, mean, mean + sd * shift, 1 / np.sqrt(spread))


def _shrunk(shift: np.ndarray, variance: np.ndarray, n: int, tolerance: float = 1e-6) -> tuple[np.ndarray, np.ndarray]:
    """The posterior shift and variance (d,) of a site from its own n scans' estimates, by their fixed point.

    Priors: shift ~ N(over features), variance ~ inverse gamma(a, b), both by the method of moments.
    """
    if len(shift) < 2 or not variance.any():  # no other features to be drawn to, or scans that are copies
        return shift, np.where(variance > 0, variance, 1.0)
    centre, width = shift.mean(), shift.var(ddof=1)
    m, s2 = variance.mean(), max(variance.var(ddof=1), 1e-12 * variance.mean() ** 2)
    a, b = 2 + m**2 / s2, m + m**3 / s2
    old_shift, old_variance = shift, variance
    for _ in range(1000):
        new_shift = (n * width * shift + old_variance * centre) / (n * width + old_variance)
        squares = (n - 1) * variance + n * (shift - new_shift) ** 2
        new_variance = (b + squares / 2) / (n / 2 + a - 1)
        moved = max(np.abs(new_shift - old_shift).max(), np.abs(new_variance - old_variance).max())
        old_shift, old_variance = new_shift, new_variance
        if moved < tolerance:
            break
    return old_shift, old_variance


def harmonised(values: np.ndarray, present: np.ndarray, sites: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Values with the sites' part removed, branch by branch, as learned from the training rows alone.

    Scans stay as they are, to the bit, when their site is not known, or when fewer than two training scans are of it;
    so does a branch of which fewer than two sites have that many.

    Args:
        values: (n, C, 400) float32, zeros where missing.
        present: (n, C) bool.
        sites: (n,) str, "" where not known.
        training: rows (int64) to learn from: the fitting and validation part of one fold.

    Raises:
        InputError: fewer than two sites have two training scans, so there is nothing to tell sites apart by.
    """
    if len(_usable(sites[training])) < 2:
        raise InputError(_too_few(sites[training]), hint=HINT)
    out = values.copy()
    for branch in range(values.shape[1]):
        rows = training[present[training, branch]]
        usable = _usable(sites[rows])
        if len(usable) >= 2:
            learned = rows[np.isin(sites[rows], usable)]
            combat = fit_combat(values[learned, branch], sites[learned])
            out[:, branch] = np.where(present[:, branch, None], combat.apply(values[:, branch], sites), 0)
    return out


def _usable(sites: np.ndarray) -> np.ndarray:
    names, count = np.unique(sites, return_counts=True)
    usable: np.ndarray = names[(names != "") & (count >= FEWEST)]
    return usable


def _too_few(sites: np.ndarray) -> str:
    names = sorted(set(sites) - {""})
    if not names:
        return "Harmonisation needs scans' sites, and no training scan has a known site."
    if len(names) == 1:
        return f"Harmonisation needs two sites or more, and all training scans of known site are from {names[0]}."
    return f"Harmonisation needs {FEWEST} training scans at each of two sites; {', '.join(names[:5])} have fewer."


def by_fold(problem: FitInputs, sites: np.ndarray) -> Iterator[FitInputs]:
    """The problem fold by fold, each with the values (n, C, 400) that were harmonised by its own training part.

    Args:
        problem: fits of the same fold must follow one another.
        sites: (n,) str.

    Raises:
        InputError: see ``harmonised``.
    """
    starts = [f for f, fold in enumerate(problem.folds) if f == 0 or fold is not problem.folds[f - 1]]
    for first, end in zip(starts, [*starts[1:], len(problem.folds)], strict=True):
        fold = problem.folds[first]
        values = harmonised(problem.values, problem.present, sites, fold.training)
        yield replace(problem, values=values, folds=problem.folds[first:end], columns=problem.columns[first:end])
