"""Logistic regression on the concatenated vectors of all branches: the baseline of the networks."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gliolake.modeling.data.folds import cut_folds
from gliolake.modeling.models.problem import Advance, CVPredictions, FitInputs, of_columns, standardisation
from gliolake.process.threads import one_blas_thread

INNER_FOLDS = 5


def fit_logistic(problem: FitInputs, branch_masks: Sequence[np.ndarray], advance: Advance) -> list[CVPredictions]:
    """Fit every fold with scikit-learn, and answer once for each of ``branch_masks``.

    Features are standardised, and missing branches filled with the mean (zero, then), over the training part alone.
    C is the one of ``settings.c_grid`` with the least log loss in a five-fold cross-validation inside the training
    part, by patient; with one strength it is that one. ``test_selected`` has what it chooses on the test part.

    Args:
        problem: What to fit.
        branch_masks: (C,) bool each: branches that are not shown to the fitted models.
        advance: Called once per fold.
    """
    shape = (len(problem.folds), len(problem.labels))
    answers = [
        CVPredictions(np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, np.nan), None, {"C": []})
        for _ in branch_masks
    ]
    shift, scale = standardisation(problem.values, problem.present, problem.parts("training"))
    lines = []
    with one_blas_thread():
        for f, fold in enumerate(problem.folds):
            features = _features(problem, shift[f], scale[f], problem.columns[f])
            inner = _inner(problem, f)
            best = int(np.argmin(log_loss(inner, problem.labels[fold.training])))
            asked = [rows for rows in (fold.test, problem.external) if len(rows)]
            rows = np.concatenate(asked)
            left = [~masked_branches[problem.columns[f], None] for masked_branches in branch_masks]
            shown = np.concatenate([_flat(features[rows] * each) for each in left])
            told, weights = _predict(problem, _flat(features[fold.training]), fold.training, shown)
            lines.append(weights[best])
            for answer, predicted in zip(answers, np.split(told, len(branch_masks), 1), strict=True):
                answer.selection["C"].append(problem.settings.c_grid[best])
                answer.validation_probability[f, fold.training] = inner[best]
                answer.probability[f, rows] = predicted[best]
                for part, probability in zip(asked, np.split(predicted, [len(asked[0])], 1), strict=False):
                    test_selected = int(np.argmin(log_loss(probability, problem.labels[part])))
                    answer.test_selected[f, part] = probability[test_selected]
            advance()
    learned = _learned(np.stack(lines), of_columns(shift, problem.columns), of_columns(scale, problem.columns))
    return [replace(answer, learned=learned) for answer in answers]


def log_loss(probability: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean negative log likelihood (C,) of probabilities (C, n)."""
    likelihood = np.where(labels, probability, 1 - probability)
    return -np.log(np.maximum(likelihood, 1e-15)).mean(-1)


def _learned(lines: np.ndarray, shift: np.ndarray, scale: np.ndarray) -> dict[str, np.ndarray]:
    """Weights and intercept (F, K · 400 + 1), standardisation (F, K, 400), named as in ``CVPredictions.learned``."""
    found = {"weight": lines[:, :-1].reshape(shift.shape), "intercept": lines[:, -1], "shift": shift, "scale": scale}
    return {name: values[:, None] for name, values in found.items()}


def _features(problem: FitInputs, shift: np.ndarray, scale: np.ndarray, columns: np.ndarray) -> np.ndarray:
    standard = ((problem.values - shift) * scale * problem.present[..., None])[:, columns]
    wide: np.ndarray = standard.astype(np.float64)
    return wide


def _flat(features: np.ndarray) -> np.ndarray:
    return features.reshape(len(features), -1)


def _inner(problem: FitInputs, fit: int) -> np.ndarray:
    """Probabilities (C, training rows of the fit) out of fold, by an inner cross-validation of these rows."""
    c_grid, training = problem.settings.c_grid, problem.folds[fit].training
    labels, patients = problem.labels[training], problem.patients[training]
    _, first = np.unique(patients, return_index=True)
    fewest = int(min(labels[first].sum(), (~labels[first]).sum()))
    # Too few of a class to divide again: nothing is known, and the strongest regularisation is taken.
    if fewest < 3 or (len(c_grid) == 1 and not problem.settings.calibrated):
        return np.full((len(c_grid), len(training)), 0.5)
    folds = cut_folds(labels, patients, repeats=1, folds=min(INNER_FOLDS, fewest), seed=problem.seed)
    told = np.empty((len(c_grid), len(training)))
    for fold in folds:
        part = np.zeros((1, len(problem.labels)), np.bool_)
        part[0, training[fold.training]] = True
        shift, scale = standardisation(problem.values, problem.present, part)
        features = _flat(_features(problem, shift[0], scale[0], problem.columns[fit])[training])
        told[:, fold.test], _ = _predict(problem, features[fold.training], training[fold.training], features[fold.test])
    return told


def _predict(
    problem: FitInputs, known: np.ndarray, rows: np.ndarray, asked: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (C, asked) for features ``asked`` of models fitted on features ``known`` of ``rows``, and
    the models: (C, features + 1), the intercept last.

    With an L2 penalty the weights lie in the span of the training rows, so where these are fewer than the features,
    the rows are first turned into the coordinates of that span: the same model, from fewer numbers per row.
    """
    x, new, back = known, asked, None
    if len(known) < known.shape[1]:
        products = known @ known.T
        size, axes = np.linalg.eigh(products)
        held = size > size[-1] * 1e-10
        turn = axes[:, held] / np.sqrt(size[held])
        x, new, back = products @ turn, (asked @ known.T) @ turn, turn.T @ known
    settings = problem.settings
    fits = [_fit(x, problem.labels[rows], new, c, settings.balanced) for c in settings.c_grid]
    told, weights, intercepts = (np.stack(part) for part in zip(*fits, strict=True))
    return told, np.concatenate((weights if back is None else weights @ back, intercepts), 1)


def _fit(
    x: np.ndarray, labels: np.ndarray, new: np.ndarray, strength: float, balanced: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities of ``new``, weights (features,) and intercept (1,)."""
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an iteration limit reached at weak regularisation costs digits, no more
        model = LogisticRegression(C=strength, max_iter=500, class_weight="balanced" if balanced else None)
        told: np.ndarray = model.fit(x, labels).predict_proba(new)[:, 1]
    return told, model.coef_[0], model.intercept_
