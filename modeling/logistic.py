"""Logistic regression on all branches' vectors side by side: the baseline that the networks have to beat."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from modeling.folds import cut_folds
from modeling.problem import Advance, Answer, Problem, standardisation

INNER_FOLDS = 5


def fit_logistic(problem: Problem, patients: np.ndarray, advance: Advance) -> Answer:
    """Fit every fold with scikit-learn; ``advance`` is called once per fold.

    Features are standardised, and missing branches filled with the mean (zero, then), over the training part alone.
    C is the one of ``settings.strengths`` with the least log loss in a five-fold cross-validation inside the training
    part, by patient; with one strength it is that one. The careless run chooses it on the test part.
    """
    shape = (len(problem.folds), len(problem.labels))
    probability, careless = np.full(shape, np.nan), np.full(shape, np.nan)
    chosen = []
    shift, scale = standardisation(problem.values, problem.present, problem.parts("training"))
    with threadpool_limits(1):
        for f, fold in enumerate(problem.folds):
            features = _features(problem, shift[f], scale[f])
            asked = {"test": fold.test, "external": problem.external}
            by_strength = _predict(problem, features, fold.training, np.concatenate(list(asked.values())))
            inner = _inner_loss(problem, fold.training, patients)
            best = int(np.argmin(inner))
            chosen.append(problem.settings.strengths[best])
            start = 0
            for rows in asked.values():
                part = by_strength[:, start : start + len(rows)]
                start += len(rows)
                if len(rows):
                    probability[f, rows] = part[best]
                    careless[f, rows] = part[int(np.argmin(log_loss(part, problem.labels[rows])))]
            advance()
    return Answer(probability, careless, None, {"C": chosen})


def log_loss(probability: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean negative log likelihood (strengths,) of probabilities (strengths, n)."""
    likelihood = np.where(labels, probability, 1 - probability)
    return -np.log(np.maximum(likelihood, 1e-15)).mean(-1)


def _features(problem: Problem, shift: np.ndarray, scale: np.ndarray) -> np.ndarray:
    standard = (problem.values - shift) * scale * problem.present[..., None]
    return standard.reshape(len(standard), -1).astype(np.float64)


def _inner_loss(problem: Problem, training: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Log loss (strengths,) over an inner cross-validation of the training rows."""
    strengths = problem.settings.strengths
    if len(strengths) == 1:
        return np.zeros(1)
    labels = problem.labels[training]
    _, first = np.unique(patients[training], return_index=True)
    fewest = int(min(labels[first].sum(), (~labels[first]).sum()))
    if fewest < 3:  # too few of a class to divide again: the strongest regularisation
        return np.arange(len(strengths), dtype=np.float64)
    folds = cut_folds(labels, patients[training], repeats=1, folds=min(INNER_FOLDS, fewest), seed=problem.seed)
    total = np.zeros(len(strengths))
    for fold in folds:
        part = np.zeros((1, len(problem.labels)), np.bool_)
        part[0, training[fold.training]] = True
        shift, scale = standardisation(problem.values, problem.present, part)
        features = _features(problem, shift[0], scale[0])
        predicted = _predict(problem, features, training[fold.training], training[fold.test])
        total += log_loss(predicted, labels[fold.test]) * len(fold.test)
    return total / len(training)


def _predict(problem: Problem, features: np.ndarray, training: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Probabilities (strengths, asked) of models fitted on the training rows.

    With an L2 penalty the weights lie in the span of the training rows, so the rows are first turned into the
    coordinates of that span: the same model, from a few hundred numbers per row instead of two thousand.
    """
    rows = np.concatenate((training, asked))
    products = features[rows] @ features[training].T
    size, axes = np.linalg.eigh(products[: len(training)])
    held = size > size[-1] * 1e-10
    x = products @ (axes[:, held] / np.sqrt(size[held]))
    x, new = x[: len(training)], x[len(training) :]
    if not len(asked):
        return np.zeros((len(problem.settings.strengths), 0))
    return np.stack([_fit(x, problem.labels[training], new, c) for c in problem.settings.strengths])


def _fit(x: np.ndarray, labels: np.ndarray, new: np.ndarray, strength: float) -> Sequence[float]:
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an iteration limit reached at weak regularisation costs digits, no more
        model = LogisticRegression(C=strength, max_iter=500).fit(x, labels)
    return model.predict_proba(new)[:, 1]
