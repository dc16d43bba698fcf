"""Cross-validation of a model on arrays: folds, fits, metrics, optimism. It does not open a lake."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gliolake.errors import InputError
from gliolake.modeling.data.folds import Fold, assert_no_shared_patients, cut_folds
from gliolake.modeling.data.scans import Scans
from gliolake.modeling.evaluation.scores import METRICS, scores
from gliolake.modeling.models.fitting import fit_all
from gliolake.modeling.models.problem import CVPredictions, FitInputs, modality_of
from gliolake.modeling.models.settings import Settings, defaults

SPLITS = ("internal", "external")
"""What a figure is of: the test part of a fold, or the external scans."""


@dataclass(frozen=True)
class Figure:
    """A metric of one fold, and what selection on the test part would have added to it."""

    split: str
    repeat: int
    fold: int
    metric: str
    value: float | None
    optimism: float | None


@dataclass(frozen=True)
class Result:
    """A cross-validation, or some repeats of one, done.

    kept, kept_external: (n,), (m,) bool: scans with at least one of the model's branches; the others took no part.
    labels, patients, present: of the kept scans, internal ones first; present (n, K) says which branches the model
        was shown, ``branches`` their names.
    answer: probabilities and attention over the same rows.
    """

    model: str
    settings: Settings
    branches: tuple[str, ...]
    folds: list[Fold]
    kept: np.ndarray
    kept_external: np.ndarray
    labels: np.ndarray
    patients: np.ndarray
    present: np.ndarray
    answer: CVPredictions
    figures: list[Figure]

    @property
    def external(self) -> np.ndarray:
        """Rows of the external scans."""
        return np.arange(int(self.kept.sum()), len(self.labels))


def cross_validate(
    scans: Scans, model: str, *, settings: Settings | None = None, external: Scans | None = None, **how: Any
) -> Result:
    """Train ``model`` on every fold and score it on the fold's test part and on all external scans.

    Args:
        scans: training scans.
        model: snn, snn_released, snn_lowrank, mlp or logistic.
        settings: of the model; its defaults if None.
        external: scans of patients that are nowhere in ``scans``.
        how: as for ``cross_validate_all``.

    Raises:
        InputError: no such model, shapes that do not fit, one class, too few patients for the folds, or sites to be
            harmonised that are not known.
        LeakingSplit: a patient is both in ``scans`` and in ``external``.
    """
    (result,) = cross_validate_all(scans, model, [settings or defaults(model)], external=external, **how)
    return result


def cross_validate_all(
    scans: Scans,
    model: str,
    variants: Sequence[Settings],
    *,
    external: Scans | None = None,
    repeats: int = 4,
    folds: int = 5,
    only: Collection[int] | None = None,
    seed: int = 0,
    threads: int | None = None,
    advance: Callable[[], None] = lambda: None,
) -> list[Result]:
    """The same for variants of a model that differ in ``branches`` and ``masked_branches`` alone, in their order.

    Those that train on the same branches are trained once, and those that train on as many branches beside one
    another, as one batch of fits.

    Args:
        scans, model, external: see ``cross_validate``.
        variants: settings of each.
        repeats, folds, seed: of the cross-validation.
        only: some of the repeats; None for all.
        threads: cores for the compiled loops; the result does not depend on it. None: all.
        advance: called ``steps(...)`` times as the work goes on, for one variant.

    Raises:
        InputError, LeakingSplit: see ``cross_validate``.
    """
    defaults(model)
    shared = {replace(settings, branches=(), masked_branches=()) for settings in variants}
    if len(shared) != 1:
        raise ValueError("variants may differ in branches and masked_branches alone")
    outside = external if external is not None else scans.none()
    values = np.concatenate((scans.values, outside.values))
    present = np.isfinite(values).all(-1)
    data = _Data(np.where(present[..., None], values, np.float32(0)), present, scans, outside)
    how = _How(repeats, folds, seed, only, threads)
    results: dict[Settings, Result] = {}
    for group in _groups(variants, data):
        results |= _run(model, group, data, how, advance)
    return [results[settings] for settings in variants]


@dataclass(frozen=True)
class _Data:
    values: np.ndarray
    present: np.ndarray
    scans: Scans
    outside: Scans

    def columns(self, settings: Settings) -> np.ndarray:
        """(K,) bool: the branches that are read."""
        return np.array([modality_of(name) in settings.branches for name in self.scans.names])

    def kept(self, settings: Settings) -> np.ndarray:
        """(n,) bool: scans that have one of them."""
        return np.asarray(self.present[:, self.columns(settings)].any(1))


@dataclass(frozen=True)
class _How:
    repeats: int
    folds: int
    seed: int
    only: Collection[int] | None
    threads: int | None


def _groups(variants: Sequence[Settings], data: _Data) -> list[list[Settings]]:
    """Variants that can be trained as one batch of fits: on the same scans, and as many branches."""
    groups: dict[Any, list[Settings]] = {}
    for settings in dict.fromkeys(variants):
        key = (int(data.columns(settings).sum()), data.kept(settings).tobytes())
        groups.setdefault(key, []).append(settings)
    return list(groups.values())


def _run(
    model: str, group: Sequence[Settings], data: _Data, how: _How, advance: Callable[[], None]
) -> dict[Settings, Result]:
    from gliolake.modeling.models.siamese.branch import usable_cores

    kept = data.kept(group[0])
    if not kept[: len(data.scans)].any():
        raise InputError(
            f"No training scan has any of the branches {', '.join(group[0].branches)}.",
            hint="Extract features for them, or choose other modalities.",
        )
    trained = list(dict.fromkeys(settings.branches for settings in group))
    columns = {settings.branches: np.flatnonzero(data.columns(settings)) for settings in group}
    masked_branches = list(dict.fromkeys(settings.masked_branches for settings in group))
    branch_masks = [np.array([modality_of(name) in each for name in data.scans.names]) for each in masked_branches]
    labels = np.concatenate((data.scans.labels, data.outside.labels))[kept].astype(bool)
    patients = np.concatenate((data.scans.patients, data.outside.patients))[kept]
    internal = int(kept[: len(data.scans)].sum())
    settings = group[0]
    every = cut_folds(
        labels[:internal], patients[:internal], repeats=how.repeats, folds=how.folds, seed=how.seed,
        validation=settings.validation,
    )  # fmt: skip
    assert_no_shared_patients(every, patients[:internal], patients[internal:])
    only = how.only if how.only is not None else range(how.repeats)
    cut = [one for one in every if one.repeat in only]
    problem = FitInputs(
        np.ascontiguousarray(data.values[kept], np.float32), data.present[kept], labels, patients,
        [fold for fold in cut for _ in trained],
        np.concatenate([np.stack([columns[branches] for branches in trained])] * len(cut)),
        max(len(fold.fitting) for fold in every), internal, settings, how.seed, how.threads or usable_cores(),
    )  # fmt: skip
    sites = np.concatenate((data.scans.site_names(), data.outside.site_names()))[kept]
    answers = fit_all(model, problem, branch_masks, sites, advance)
    results = {}
    for settings in group:
        which = masked_branches.index(settings.masked_branches)
        answer = answers[which].of(slice(trained.index(settings.branches), None, len(trained)))
        read = columns[settings.branches]
        names = tuple(data.scans.names[column] for column in read)
        shown = (problem.present & ~branch_masks[which])[:, read]
        results[settings] = Result(
            model, settings, names, cut, kept[: len(data.scans)], kept[len(data.scans) :], labels, patients, shown,
            answer, figures_of(labels, internal, cut, answer),
        )  # fmt: skip
    return results


def figures_of(labels: np.ndarray, internal: int, folds: Sequence[Fold], answer: CVPredictions) -> list[Figure]:
    """Metrics of every fold. A scan without any branch has no prediction and is left out."""
    figures = []
    for split in SPLITS:
        for f, fold in enumerate(folds):
            rows = fold.test if split == "internal" else np.arange(internal, len(labels))
            rows = rows[np.isfinite(answer.probability[f, rows])]
            if not len(rows):
                continue
            honest = scores(labels[rows], answer.probability[f, rows])
            test_selected = scores(labels[rows], answer.test_selected[f, rows])
            for metric in METRICS:
                value, other = honest[metric], test_selected[metric]
                optimism = None if value is None or other is None else other - value
                figures.append(Figure(split, fold.repeat, fold.fold, metric, value, optimism))
    return figures


def restricted(result: Result, external: np.ndarray) -> Result:
    """The result as if only some of the external scans had been asked for.

    Args:
        result: of a cross-validation.
        external: (m,) bool, of all external scans that were given.
    """
    chosen = result.kept_external & external
    if (chosen == result.kept_external).all():
        return result
    internal = len(result.labels) - len(result.external)
    rows = np.concatenate((np.arange(internal), internal + np.flatnonzero(external[result.kept_external])))
    fewer = result.answer.each(lambda array: array[:, rows])
    labels = result.labels[rows]
    return replace(
        result, kept_external=chosen, labels=labels, patients=result.patients[rows], present=result.present[rows],
        answer=fewer, figures=figures_of(labels, internal, result.folds, fewer),
    )  # fmt: skip
