"""Fits a model of any kind: logistic regression or a network, with optional harmonisation and temperature scaling."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from gliolake.errors import check_choice
from gliolake.modeling.models.problem import CVPredictions, FitInputs
from gliolake.modeling.models.settings import Settings


def steps(settings: Settings, repeats: int, folds: int) -> int:
    """How often ``cross_validate`` calls ``advance``: per epoch; per fold of a model without epochs; or both."""
    return (settings.epochs or 1) * (1 if settings.epochs and not settings.harmonise else repeats * folds)


def fit_model(
    model: str, problem: FitInputs, branch_masks: Sequence[np.ndarray], advance: Callable[[], None]
) -> list[CVPredictions]:
    """Fit every fold, and answer once for each of ``branch_masks``.

    Args:
        model: a name of ``gliolake.modeling.models.settings.DEFAULTS``.
        problem: what to fit.
        branch_masks: (C,) bool each: branches that are not shown to the fitted models.
        advance: called ``steps(...)`` times.
    """
    if model == "logistic":
        from gliolake.modeling.models.logistic import fit_logistic

        answers = fit_logistic(problem, branch_masks, advance)
    else:
        from gliolake.modeling.models.siamese.training import fit_networks

        answers = fit_networks(model, problem, branch_masks, advance)
    if not problem.settings.calibrated:
        return answers
    from gliolake.modeling.models.calibration import tempered

    return [tempered(answer, problem.labels) for answer in answers]


def fit_all(
    model: str, problem: FitInputs, branch_masks: Sequence[np.ndarray], sites: np.ndarray, advance: Callable[[], None]
) -> list[CVPredictions]:
    """The same; where sites (n,) are to be harmonised, fold by fold.

    Raises:
        InputError: no such harmonisation, or the sites are not known.
    """
    of_parts = [fit_model(model, part, branch_masks, advance) for part in _parts(problem, sites)]
    return [_joined(answers) for answers in zip(*of_parts, strict=True)]


def _parts(problem: FitInputs, sites: np.ndarray) -> Iterable[FitInputs]:
    """The problem, or where each fold has values of its own its folds one by one, in their order."""
    if not problem.settings.harmonise:
        return [problem]
    from gliolake.modeling.models.harmonisation import METHODS, by_fold

    check_choice("harmonisation", problem.settings.harmonise, METHODS)
    return by_fold(problem, sites)


def _joined(answers: Sequence[CVPredictions]) -> CVPredictions:
    """The answer of all fits, from those of some and of the next ones."""
    if len(answers) == 1:
        return answers[0]
    probability, test_selected, validation_probability = (
        np.concatenate([getattr(answer, name) for answer in answers])
        for name in ("probability", "test_selected", "validation_probability")
    )
    attention = [answer.attention for answer in answers if answer.attention is not None]
    selection = {name: [one for answer in answers for one in answer.selection[name]] for name in answers[0].selection}
    learned = {name: np.concatenate([answer.learned[name] for answer in answers]) for name in answers[0].learned}
    return CVPredictions(
        probability,
        test_selected,
        validation_probability,
        np.concatenate(attention) if attention else None,
        selection,
        learned,
    )
