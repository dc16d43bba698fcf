"""Temperature scaling of a fit's probabilities, with scans that it was not trained on.

With the temperature T that makes the held-out scans likeliest, the logit of every probability is divided by T (Guo,
Pleiss, Sun, Weinberger, ICML 2017). Their order, and so the AUC, stays as it is.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from gliolake.modeling.models.problem import CVPredictions

LIMITS = (0.05, 20.0)
"""Temperatures that are tried. At the upper one a fit says next to nothing, as one that learned nothing should."""

SURE = 1e-7


def tempered(answer: CVPredictions, labels: np.ndarray) -> CVPredictions:
    """The answer with each fit's probabilities tempered on its held-out scans; the temperatures join its selection.

    Args:
        answer: Of F fits; ``validation_probability`` has the probabilities of the scans each was stopped or tuned by.
        labels: (n,) bool.
    """
    temperatures = []
    test_selected, probability = answer.test_selected.copy(), answer.probability.copy()
    for f, validation_probability in enumerate(answer.validation_probability):
        known = np.isfinite(validation_probability)
        found = temperature(validation_probability[known], labels[known])
        temperatures.append(found)
        for values in (probability[f], test_selected[f]):
            values[:] = expit(_logit(values) / found)
    selection = answer.selection | {"temperature": temperatures}
    return replace(answer, probability=probability, test_selected=test_selected, selection=selection)


def temperature(probability: np.ndarray, labels: np.ndarray) -> float:
    """The temperature under which the labels (n,) bool are likeliest; 1 where there are none."""
    if not len(labels):
        return 1.0
    given = np.where(labels, 1, -1) * _logit(probability)

    def surprise(exponent: float) -> float:
        return float(np.logaddexp(0, -given / np.exp(exponent)).mean())

    low, high = np.log(LIMITS)
    return float(np.exp(minimize_scalar(surprise, bounds=(low, high), method="bounded").x))


def _logit(probability: np.ndarray) -> np.ndarray:
    limited: np.ndarray = logit(np.clip(probability, SURE, 1 - SURE))
    return limited
