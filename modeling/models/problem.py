"""Input and output of a fit, as arrays, the same for every kind of model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gliolake.modeling.data.folds import Fold
from gliolake.modeling.models.settings import Settings

Advance = Callable[[], None]


@dataclass(frozen=True)
class FitInputs:
    """Scans, folds and settings. Rows below ``internal`` are cross-validated, the rest are external.

    values (n, C, 400) float32, zeros where missing; present (n, C) bool; labels (n,) bool; patients (n,);
    folds: F fits; columns (F, K): which of the C branches a fit reads; widest: scans in the largest fitting part of
    the whole cross-validation, of which ``folds`` may be some.
    """

    values: np.ndarray
    present: np.ndarray
    labels: np.ndarray
    patients: np.ndarray
    folds: list[Fold]
    columns: np.ndarray
    widest: int
    internal: int
    settings: Settings
    seed: int
    threads: int

    @property
    def external(self) -> np.ndarray:
        """Rows of the external scans."""
        return np.arange(self.internal, len(self.labels))

    def parts(self, of: str) -> np.ndarray:
        """(F, n) bool: the rows in each fit's fitting, validation, training, test or external part."""
        mask = np.zeros((len(self.folds), len(self.labels)), np.bool_)
        for f, fold in enumerate(self.folds):
            mask[f, self.external if of == "external" else getattr(fold, of)] = True
        return mask


@dataclass(frozen=True)
class CVPredictions:
    """Predicted probability of methylation (F, n), NaN on rows a fit trained on.

    probability: of test and external rows; selection by the validation part.
    test_selected: the same with the test part, or the external scans, used for the selection.
    attention: (F, n, K), NaN on the same rows, or None.
    validation_probability: (F, n) of the rows that the fit was stopped or tuned by, NaN elsewhere.
    selection: what each fit selected, by name, one entry per fit: written with the experiment.
    learned: what each fit predicts by, by name: its parameters and its standardisation, each (F, ensemble_size, …).
    """

    probability: np.ndarray
    test_selected: np.ndarray
    validation_probability: np.ndarray
    attention: np.ndarray | None = None
    selection: dict[str, list[Any]] = field(default_factory=dict)
    learned: dict[str, np.ndarray] = field(default_factory=dict)

    def of(self, fits: slice) -> CVPredictions:
        """The answer of some fits."""
        selection = {name: values[fits] for name, values in self.selection.items()}
        learned = {name: values[fits] for name, values in self.learned.items()}
        return replace(self.each(lambda array: array[fits]), selection=selection, learned=learned)

    def each(self, function: Callable[[np.ndarray], np.ndarray]) -> CVPredictions:
        """The answer with a function applied to each of its arrays, which begin with (F, n)."""
        attention = None if self.attention is None else function(self.attention)
        return CVPredictions(
            function(self.probability), function(self.test_selected), function(self.validation_probability), attention,
            self.selection, self.learned,
        )  # fmt: skip


def of_columns(of_branches: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """What each fit reads (F, K, …) of numbers per fit and branch (F, C, …); columns (F, K)."""
    chosen: np.ndarray = of_branches[np.arange(len(columns))[:, None], columns]
    return chosen


def standardisation(values: np.ndarray, present: np.ndarray, parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shift and scale (F, K, 400) float32 of each feature over the present branches of each fit's part (F, n).

    A feature that is constant in the part is shifted only.
    """
    weight = parts.astype(np.float64)
    seen = present.astype(np.float64)
    # einsum, not a matrix product: its sums do not depend on how many threads the BLAS has.
    count = np.maximum(np.einsum("fn,nk->fk", weight, seen), 1)[..., None]
    wide = values.astype(np.float64) * seen[..., None]
    mean = np.einsum("fn,nkd->fkd", weight, wide) / count
    variance = np.einsum("fn,nkd->fkd", weight, wide * wide) / count - mean**2
    constant = variance <= 1e-12 * mean**2
    scale = 1 / np.sqrt(np.where(constant, 1.0, variance))
    return mean.astype(np.float32), scale.astype(np.float32)


def modality_of(name: str) -> str:
    """Of a branch: its name may begin with that of the feature set it is from."""
    return name.rpartition(":")[2]
