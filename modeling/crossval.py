"""Cross-validate a model on arrays: folds, fits, metrics, optimism. No lake in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from lake.errors import InputError, known_name
from lake.tables import BRANCHES, FEATURE_LENGTH
from modeling.folds import Fold, assert_no_shared_patients, cut_folds
from modeling.problem import Answer, Problem
from modeling.scores import METRICS, Summary, bootstrap_interval, corrected_interval, scores
from modeling.settings import Settings, defaults


@dataclass(frozen=True)
class Scans:
    """Scans as arrays: values (n, 5, 400) float32, NaN in a missing branch; labels (n,) bool; patients (n,) str."""

    values: np.ndarray
    labels: np.ndarray
    patients: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __post_init__(self) -> None:
        n = len(self.values)
        if self.values.shape != (n, len(BRANCHES), FEATURE_LENGTH) or {len(self.labels), len(self.patients)} != {n}:
            raise InputError(
                f"Scans of shape {self.values.shape} with {len(self.labels)} labels and {len(self.patients)} patients; "
                f"expected (n, {len(BRANCHES)}, {FEATURE_LENGTH}), n and n."
            )


@dataclass(frozen=True)
class Figure:
    """A metric of one fold, and what a careless selection would have added to it (careless less honest)."""

    split: str
    repeat: int
    fold: int
    metric: str
    value: float | None
    optimism: float | None


@dataclass(frozen=True)
class Result:
    """A cross-validation, done.

    kept, kept_external: (n,), (m,) bool: scans with at least one of the model's branches; the others took no part.
    present: which branches each kept scan has, internal ones first.
    answer: probabilities and attention over the kept internal rows, then the kept external ones.
    """

    model: str
    settings: Settings
    folds: list[Fold]
    kept: np.ndarray
    kept_external: np.ndarray
    present: np.ndarray
    answer: Answer
    figures: list[Figure]
    summaries: dict[tuple[str, str], Summary]

    def optimism(self, split: str, metric: str) -> float | None:
        """Mean optimism over folds; None where no fold shows one."""
        found = [f.optimism for f in self.figures if (f.split, f.metric) == (split, metric) and f.optimism is not None]
        return float(np.mean(found)) if found else None


def cross_validate(
    scans: Scans,
    model: str,
    *,
    external: Scans | None = None,
    settings: Settings | None = None,
    repeats: int = 4,
    folds: int = 5,
    seed: int = 0,
    threads: int | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Result:
    """Train ``model`` on every fold and score it on the fold's test part and on all external scans.

    Args:
        scans: training scans.
        model: snn, snn_released, mlp or logistic.
        external: scans of patients that are nowhere in ``scans``.
        settings: of the model; its defaults if None.
        repeats, folds, seed: of the cross-validation.
        threads: cores for the compiled loops; the result does not depend on it. None: all.
        advance: called ``steps(...)`` times as the work goes on.

    Raises:
        InputError: no such model, shapes that do not fit, one class, or too few patients for the folds.
        LeakingSplit: a patient is both in ``scans`` and in ``external``.
    """
    settings = settings or defaults(model)
    values, present, kept = _chosen(scans, settings)
    outside = external if external is not None else Scans(scans.values[:0], scans.labels[:0], scans.patients[:0])
    values_out, present_out, kept_out = _chosen(outside, settings)
    labels, patients = scans.labels[kept].astype(bool), scans.patients[kept]
    labels_out, patients_out = outside.labels[kept_out].astype(bool), outside.patients[kept_out]
    if not len(labels):
        raise InputError(
            f"No training scan has any of the branches {', '.join(settings.branches)}.",
            hint="Extract features for them, or choose other modalities.",
        )
    cut = cut_folds(labels, patients, repeats=repeats, folds=folds, seed=seed, validation=settings.validation)
    assert_no_shared_patients(cut, patients, patients_out)
    from modeling.branch import usable_cores

    problem = Problem(
        np.concatenate((values, values_out)), np.concatenate((present, present_out)),
        np.concatenate((labels, labels_out)), cut, len(labels), settings, seed, threads or usable_cores(),
    )  # fmt: skip
    answer = _fit(model, problem, patients, advance)
    figures = _figures(problem, answer)
    summaries = _summaries(problem, answer, figures, patients_out)
    return Result(model, settings, cut, kept, kept_out, problem.present, answer, figures, summaries)


def steps(model: str, settings: Settings, repeats: int, folds: int) -> int:
    """How often ``cross_validate`` calls ``advance``: per epoch, or per fold for logistic regression."""
    return repeats * folds if model == "logistic" else settings.epochs


def _fit(model: str, problem: Problem, patients: np.ndarray, advance: Callable[[], None]) -> Answer:
    if model == "logistic":
        from modeling.logistic import fit_logistic

        return fit_logistic(problem, patients, advance)
    from modeling.training import fit_networks

    return fit_networks(model, problem, advance)


def _chosen(scans: Scans, settings: Settings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values and presence of the chosen branches of the scans that have any, and which scans those are."""
    values = scans.values[:, [BRANCHES.index(branch) for branch in settings.branches]]
    present = np.isfinite(values).all(-1)
    kept = present.any(1)
    filled = np.where(present[..., None], values, np.float32(0))
    return np.ascontiguousarray(filled[kept], np.float32), present[kept], kept


def _figures(problem: Problem, answer: Answer) -> list[Figure]:
    figures = []
    for split in ("internal", "external"):
        for f, fold in enumerate(problem.folds):
            rows = fold.test if split == "internal" else problem.external
            if not len(rows):
                continue
            honest = scores(problem.labels[rows], answer.probability[f, rows])
            careless = scores(problem.labels[rows], answer.careless[f, rows])
            for metric in METRICS:
                value, other = honest[metric], careless[metric]
                optimism = None if value is None or other is None else other - value
                figures.append(Figure(split, fold.repeat, fold.fold, metric, value, optimism))
    return figures


def _summaries(
    problem: Problem, answer: Answer, figures: list[Figure], patients: np.ndarray
) -> dict[tuple[str, str], Summary]:
    tested = float(np.mean([len(fold.test) for fold in problem.folds]))
    trained = float(np.mean([len(fold.training) for fold in problem.folds]))
    found = {}
    for metric in METRICS:
        values = [f.value for f in figures if (f.split, f.metric) == ("internal", metric)]
        found["internal", metric] = corrected_interval(values, tested, trained)
        if len(problem.external):
            values = [f.value for f in figures if (f.split, f.metric) == ("external", metric)]
            rows = problem.external
            found["external", metric] = bootstrap_interval(
                values, metric, problem.labels[rows], answer.probability[:, rows], patients, seed=problem.seed
            )
    return found


def with_options(model: str, modalities: tuple[str, ...] | None, epochs: int | None) -> Settings:
    """The model's defaults with the branches and epochs of a command.

    Raises:
        InputError: no such model or modality, or a number that makes no sense.
    """
    settings = defaults(model)
    if modalities is not None:
        for name in modalities:
            known_name("modality", name, BRANCHES, hint=f"Modalities are {', '.join(BRANCHES)}.")
        if not modalities:
            raise InputError("No modality was chosen.", hint=f"Choose among {', '.join(BRANCHES)}.")
        settings = replace(settings, branches=tuple(b for b in BRANCHES if b in modalities))
    if epochs is not None and model != "logistic":
        if epochs < 1:
            raise InputError(f"{epochs} epochs: at least 1 is needed.")
        settings = replace(settings, epochs=epochs)
    return settings
