"""Nested cross-validation on arrays: inner folds of an outer training part make every choice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gliolake.errors import InputError
from gliolake.modeling.data.folds import Fold, assert_no_shared_patients, cut_folds
from gliolake.modeling.data.scans import Scans
from gliolake.modeling.evaluation.crossval import Result, figures_of
from gliolake.modeling.evaluation.scores import auc
from gliolake.modeling.models.fitting import fit_model, steps
from gliolake.modeling.models.logistic import log_loss
from gliolake.modeling.models.problem import CVPredictions, FitInputs, modality_of
from gliolake.modeling.models.settings import Settings
from gliolake.modeling.models.siamese.branch import usable_cores
from gliolake.modeling.nested_cv.candidates import Blend, Candidate, Choice, check_candidates


@dataclass(frozen=True)
class Trial:
    """A candidate in an outer fold: how it did inside, whether it was chosen by that, and how it did outside."""

    repeat: int
    fold: int
    candidate: str
    inner_auc: float
    inner_loss: float
    chosen: bool
    outer_auc: float | None


@dataclass(frozen=True)
class Nested:
    """A nested search done: the result of what was chosen, fold by fold, and a trial per outer fold and candidate."""

    result: Result
    trials: list[Trial]


@dataclass(frozen=True)
class CandidatePredictions:
    """Probabilities by candidate and outer fold, NaN where there are none.

    inside (C, F, n): of the training part, out of the inner folds. outside (C, F, n): of the test part and the
    external scans, after training on the whole training part. inner_auc, inner_loss (C, F): means over inner folds.
    """

    inside: np.ndarray
    outside: np.ndarray
    inner_auc: np.ndarray
    inner_loss: np.ndarray


def search_steps(candidates: Sequence[Choice], repeats: int, folds: int, inner_folds: int) -> int:
    """How often ``search_folds`` calls ``advance``."""
    models = [candidate for candidate in candidates if isinstance(candidate, Candidate)]
    return sum(
        steps(one.settings, repeats * folds, inner_folds) + steps(one.settings, repeats, folds) for one in models
    )


def search_folds(
    scans: Scans,
    candidates: Sequence[Choice],
    *,
    external: Scans | None = None,
    repeats: int = 4,
    folds: int = 5,
    inner_folds: int = 5,
    seed: int = 0,
    threads: int | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Nested:
    """Choose a candidate in every outer fold by its inner AUC, and predict the outer test part with it.

    The candidate with the greatest mean AUC over the inner folds is chosen, of several the one with the least log
    loss. AUC, because it is what the search is for, and because log loss would choose whoever is least sure of itself.
    The mean over folds, because probabilities of different fits are not on one scale. Scans that lack all branches of
    any candidate take no part.

    Args:
        scans, external: see ``gliolake.modeling.evaluation.crossval.cross_validate``.
        candidates: at least one model.
        repeats, folds, seed: of the outer cross-validation.
        inner_folds: of the cross-validation of each outer training part.
        threads, advance: see ``gliolake.modeling.evaluation.crossval.cross_validate_all``.

    Raises:
        InputError: candidates that cannot be searched, one class, or too few patients for the folds.
        LeakingSplit: a patient is both in ``scans`` and in ``external``.
    """
    check_candidates(candidates)
    models = [candidate for candidate in candidates if isinstance(candidate, Candidate)]
    how = _How(repeats, folds, inner_folds, seed, threads or usable_cores())
    data = _gathered(scans, external if external is not None else scans.none(), models)
    inner: list[list[Fold]] = []
    asked: list[tuple[np.ndarray, np.ndarray]] = []
    for one in models:
        outer = data.cut(how, one.settings)
        inner = [_inner_folds(data, fold, how, one.settings) for fold in outer]
        within = data.fitted(one, [fold for some in inner for fold in some], how, advance, external=False)
        asked.append((_out_of_fold(within, inner), data.fitted(one, outer, how, advance, external=True)))
    told = _blended(_told(data.labels, asked, inner), candidates, data.labels, inner)
    return _chosen(data, outer, candidates, told)


@dataclass(frozen=True)
class _How:
    repeats: int
    folds: int
    inner_folds: int
    seed: int
    threads: int


@dataclass(frozen=True)
class _Data:
    """Scans that all candidates can read, internal ones first; kept, kept_external: which of the given ones."""

    scans: Scans
    internal: int
    kept: np.ndarray
    kept_external: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        return self.scans.labels

    def cut(self, how: _How, settings: Settings) -> list[Fold]:
        """The outer folds; their test parts are the same for all settings."""
        patients = self.scans.patients
        cut = cut_folds(
            self.labels[: self.internal], patients[: self.internal], repeats=how.repeats, folds=how.folds,
            seed=how.seed, validation=settings.validation,
        )  # fmt: skip
        assert_no_shared_patients(cut, patients[: self.internal], patients[self.internal :])
        return cut

    def fitted(
        self, one: Candidate, folds: list[Fold], how: _How, advance: Callable[[], None], *, external: bool
    ) -> np.ndarray:
        """Probabilities (folds, n) of a candidate trained on the folds, as one batch of fits."""
        rows = len(self.labels) if external else self.internal
        values = self.scans.values[:rows]
        present = np.isfinite(values).all(-1)
        read = np.flatnonzero([modality_of(name) in one.settings.branches for name in self.scans.names])
        problem = FitInputs(
            np.where(present[..., None], values, np.float32(0)), present, self.labels[:rows],
            self.scans.patients[:rows], folds, read[None].repeat(len(folds), 0),
            max(len(fold.fitting) for fold in folds), self.internal, one.settings, how.seed, how.threads,
        )  # fmt: skip
        nothing = np.zeros(len(self.scans.names), np.bool_)
        (answer,) = fit_model(one.model, problem, [nothing], advance)
        probability = np.full((len(folds), len(self.labels)), np.nan)
        probability[:, :rows] = answer.probability
        return probability


def _gathered(scans: Scans, outside: Scans, models: Sequence[Candidate]) -> _Data:
    values = np.concatenate((scans.values, outside.values))
    present = np.isfinite(values).all(-1)
    kept = np.ones(len(values), np.bool_)
    for one in models:
        kept &= present[:, [modality_of(name) in one.settings.branches for name in scans.names]].any(1)
    own, beyond = kept[: len(scans)], kept[len(scans) :]
    if not own.any():
        raise InputError(
            "No training scan has branches for every candidate.",
            hint="Extract features for them, or search candidates that read other branches.",
        )
    both = Scans(
        np.ascontiguousarray(values[kept], np.float32),
        np.concatenate((scans.labels, outside.labels))[kept].astype(bool),
        np.concatenate((scans.patients, outside.patients))[kept],
        scans.names,
    )
    return _Data(both, int(own.sum()), own, beyond)


def _inner_folds(data: _Data, outer: Fold, how: _How, settings: Settings) -> list[Fold]:
    """The training part of an outer fold cut again, by patient. No row of its test part is looked at.

    A fit's random numbers are named by its repeat and fold, so an inner one is numbered after all outer ones.
    """
    rows = outer.training
    seed = int(np.random.SeedSequence([how.seed, outer.repeat, outer.fold]).generate_state(1)[0])
    cut = cut_folds(
        data.labels[rows], data.scans.patients[rows], repeats=1, folds=how.inner_folds, seed=seed,
        validation=settings.validation,
    )  # fmt: skip
    parts = [[rows[part] for part in (one.fitting, one.validation, one.test)] for one in cut]
    return [Fold(outer.repeat, how.folds * (1 + i) + outer.fold, *some) for i, some in enumerate(parts)]


def _out_of_fold(probability: np.ndarray, inner: Sequence[Sequence[Fold]]) -> np.ndarray:
    """Probabilities (F, n) of the outer training parts, each row's by the inner fold that tested it."""
    told = np.full((len(inner), probability.shape[1]), np.nan)
    fits = iter(probability)
    for own, folds in zip(told, inner, strict=True):
        for fold in folds:
            own[fold.test] = next(fits)[fold.test]
    return told


def _told(
    labels: np.ndarray, asked: Sequence[tuple[np.ndarray, np.ndarray]], inner: list[list[Fold]]
) -> CandidatePredictions:
    inside, outside = (np.stack(part) for part in zip(*asked, strict=True))
    figures = np.array([_inner_figures(labels, own, inner) for own in inside])
    return CandidatePredictions(inside, outside, figures[..., 0], figures[..., 1])


def _inner_figures(labels: np.ndarray, probability: np.ndarray, inner: list[list[Fold]]) -> list[tuple[float, float]]:
    """Mean AUC and log loss over the inner folds of each outer fold, of probabilities (F, n)."""
    figures = []
    for own, folds in zip(probability, inner, strict=True):
        areas = [auc(labels[fold.test], own[fold.test]) for fold in folds]
        losses = [log_loss(own[None, fold.test], labels[fold.test])[0] for fold in folds]
        known = [area for area in areas if area is not None]
        figures.append((float(np.mean(known)) if known else 0.5, float(np.mean(losses))))
    return figures


def _order(told: CandidatePredictions, fold: int) -> np.ndarray:
    """Candidates from the best to the worst by the inner figures of an outer fold."""
    return np.lexsort((told.inner_loss[:, fold], -told.inner_auc[:, fold]))


def _blended(
    told: CandidatePredictions, candidates: Sequence[Choice], labels: np.ndarray, inner: list[list[Fold]]
) -> CandidatePredictions:
    """The same with the blends among the candidates, in their order."""
    orders = [_order(told, fold) for fold in range(len(inner))]
    models = iter(range(len(told.inside)))
    asked: list[tuple[np.ndarray, np.ndarray]] = []
    for candidate in candidates:
        if isinstance(candidate, Blend):
            best = [order[: candidate.best] for order in orders]
            asked.append((_mean(told.inside, best), _mean(told.outside, best)))
        else:
            which = next(models)
            asked.append((told.inside[which], told.outside[which]))
    return _told(labels, asked, inner)


def _mean(probability: np.ndarray, best: Sequence[np.ndarray]) -> np.ndarray:
    """(F, n): the mean over some candidates, other ones in each fold, of probabilities (C, F, n)."""
    return np.stack([probability[some, fold].mean(0) for fold, some in enumerate(best)])


def _chosen(data: _Data, outer: list[Fold], candidates: Sequence[Choice], told: CandidatePredictions) -> Nested:
    labels, internal = data.labels, data.internal
    beyond = np.arange(internal, len(labels))
    probability, test_selected, validation_probability = (np.full((len(outer), len(labels)), np.nan) for _ in range(3))
    names: list[str] = []
    trials = []
    for f, fold in enumerate(outer):
        best = int(_order(told, f)[0])
        names.append(candidates[best].name)
        validation_probability[f] = told.inside[best, f]
        probability[f] = told.outside[best, f]
        outside = [_areas(labels, told.outside[:, f], rows) for rows in (fold.test, beyond)]
        for rows, areas in zip((fold.test, beyond), outside, strict=True):
            test_selected[f, rows] = told.outside[_greatest(areas, best), f, rows]
        for c, candidate in enumerate(candidates):
            figures = float(told.inner_auc[c, f]), float(told.inner_loss[c, f])
            trials.append(Trial(fold.repeat, fold.fold, candidate.name, *figures, c == best, outside[0][c]))
    answer = CVPredictions(probability, test_selected, validation_probability, None, {"candidate": names})
    result = Result(
        "search", Settings(), data.scans.names, outer, data.kept, data.kept_external, labels, data.scans.patients,
        np.isfinite(data.scans.values).all(-1), answer, figures_of(labels, internal, outer, answer),
    )  # fmt: skip
    return Nested(result, trials)


def _areas(labels: np.ndarray, probability: np.ndarray, rows: np.ndarray) -> list[float | None]:
    return [auc(labels[rows], own[rows]) for own in probability]


def _greatest(areas: Sequence[float | None], otherwise: int) -> int:
    """Which candidate selection on the test parts would take: the best on the very scans it is then judged by."""
    if any(area is None for area in areas):
        return otherwise
    return int(np.argmax(np.array(areas, np.float64)))
