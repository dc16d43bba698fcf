"""Cross-validation by patient: folds, their validation parts, and a check that no patient is in two parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gliolake.errors import GliolakeError, InputError


class LeakingSplit(GliolakeError):
    """A patient is on both sides of a split. A defect of whatever made the split, never of the data alone."""


@dataclass(frozen=True)
class Fold:
    """One fit: rows (int64, sorted) to fit on, to stop by, and to test on."""

    repeat: int
    fold: int
    fitting: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @property
    def training(self) -> np.ndarray:
        """Fitting and validation rows together, sorted."""
        return np.sort(np.concatenate((self.fitting, self.validation)))


def cut_folds(
    labels: np.ndarray, patients: np.ndarray, *, repeats: int, folds: int, seed: int, validation: float = 0.2
) -> list[Fold]:
    """Repeated patient-grouped, label-stratified cross-validation; a function of its arguments alone.

    Args:
        labels: (n,) bool. A patient's class is that of most of the patient's scans, methylated on a tie.
        patients: (n,) patient of each scan.
        repeats, folds: how often, and into how many parts.
        seed: of the shuffles.
        validation: share of the training patients of each class that is kept for stopping.

    Returns:
        repeats × folds fits, by repeat and then fold.

    Raises:
        InputError: fewer than two folds or one repeat, only one class, or too few patients of a class.
    """
    if repeats < 1 or folds < 2:
        raise InputError(f"{repeats} repeats of {folds} folds: at least 1 repeat of 2 folds is needed.")
    names, of_scan = np.unique(patients, return_inverse=True)
    scans = np.bincount(of_scan, minlength=len(names))
    methylated = 2 * np.bincount(of_scan, weights=labels, minlength=len(names)) >= scans
    _check_classes(methylated, folds)
    cut = []
    for repeat in range(repeats):
        stream = np.random.default_rng([seed, repeat])
        part = _deal(methylated, folds, stream)
        for fold in range(folds):
            training = np.flatnonzero(part != fold)
            held = np.concatenate([_hold_out(training[methylated[training] == c], validation, stream) for c in (0, 1)])
            role = np.where(part == fold, 2, np.isin(np.arange(len(names)), held).astype(int))[of_scan]
            cut.append(Fold(repeat, fold, *(np.flatnonzero(role == side) for side in (0, 1, 2))))
    return cut


def _check_classes(methylated: np.ndarray, folds: int) -> None:
    counts = {"methylated": int(methylated.sum()), "unmethylated": int((~methylated).sum())}
    for name, count in counts.items():
        other = "unmethylated" if name == "methylated" else "methylated"
        if not count:
            raise InputError(
                f"All {counts[other]} training patients are {other}: a classifier needs both classes.",
                hint="Ingest labels of both classes, or choose another label rule.",
            )
        # The training part has to hold two of each class: one to fit on and one to stop by.
        need = max(folds, 4 if folds == 2 else 3)
        if count < need:
            raise InputError(
                f"Only {count} training {'patient is' if count == 1 else 'patients are'} {name}; "
                f"{folds} folds need at least {need} of each class.",
                hint="Use fewer folds, or ingest more patients.",
            )


def _deal(methylated: np.ndarray, folds: int, stream: np.random.Generator) -> np.ndarray:
    """A fold for each patient. The second class is dealt on from where the first ended, so sizes differ by one."""
    order = np.concatenate([stream.permutation(np.flatnonzero(methylated == c)) for c in (0, 1)])
    part = np.empty(len(methylated), np.int64)
    part[order] = np.arange(len(order)) % folds
    return part


def _hold_out(members: np.ndarray, share: float, stream: np.random.Generator) -> np.ndarray:
    count = min(max(1, round(share * len(members))), len(members) - 1)
    return stream.permutation(members)[:count]


def assert_no_shared_patients(folds: list[Fold], patients: np.ndarray, external: np.ndarray | None = None) -> None:
    """Every run calls this on the folds it is about to use.

    Args:
        folds: the fits.
        patients: (n,) patient of each scan the folds index.
        external: patients of the external scans, which no fold may have seen at all.

    Raises:
        LeakingSplit: a patient has scans in two parts of a fold, or is both training and external.
    """
    for fold in folds:
        sides = {
            "fitting": set(patients[fold.fitting]),
            "validation": set(patients[fold.validation]),
            "test": set(patients[fold.test]),
        }
        for a, b in (("fitting", "validation"), ("fitting", "test"), ("validation", "test")):
            if shared := sorted(sides[a] & sides[b]):
                raise LeakingSplit(
                    f"Repeat {fold.repeat}, fold {fold.fold}: {len(shared)} patients are in both the {a} and the {b} "
                    f"part, first {shared[0]}."
                )
    if external is not None and (shared := sorted(set(patients) & set(external))):
        raise LeakingSplit(
            f"{len(shared)} patients are both in training and external, first {shared[0]}.",
            hint="See the views split_audit and patients for how their scans are linked.",
        )
