"""Scans as arrays, the common input of all models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gliolake.errors import InputError
from gliolake.schema.vocabulary import BRANCHES, FEATURE_LENGTH


@dataclass(frozen=True)
class Scans:
    """Scans as arrays: values (n, K, 400) float32, NaN in a missing branch; labels (n,) bool; patients (n,) str.

    names: of the K branches; sites (n,) str, "" where not known, or None where none is.
    """

    values: np.ndarray
    labels: np.ndarray
    patients: np.ndarray
    names: tuple[str, ...] = BRANCHES
    sites: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __post_init__(self) -> None:
        n, branches = len(self.values), len(self.names)
        if self.values.shape != (n, branches, FEATURE_LENGTH) or {len(self.labels), len(self.patients)} != {n}:
            raise InputError(
                f"Scans of shape {self.values.shape} with {len(self.labels)} labels and {len(self.patients)} patients; "
                f"expected (n, {branches}, {FEATURE_LENGTH}), n and n."
            )
        if self.sites is not None and len(self.sites) != n:
            raise InputError(f"{n} scans with {len(self.sites)} sites.")

    def none(self) -> Scans:
        """No scan, of the same branches."""
        return Scans(self.values[:0], self.labels[:0], self.patients[:0], self.names)

    def site_names(self) -> np.ndarray:
        """(n,) str: the sites, "" where not known."""
        return np.full(len(self), "") if self.sites is None else self.sites.astype(str)
