"""DeLong's test of two AUCs, on the same scans or on other patients', with the patient as the unit.

DeLong, DeLong and Clarke-Pearson (Biometrics 44, 1988), by midranks after Sun and Xu (IEEE Signal Processing Letters
21, 2014), in O(n log n). Where a patient has several scans, the variance is Obuchowski's for clustered data
(Biometrics 53, 1997): a scan's part in the AUC is summed over its patient first, and a patient with scans of both
classes adds the covariance of the two. With one scan per patient it is DeLong's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gliolake.analysis.statistics.summary import Comparison, compared
from gliolake.errors import InputError
from gliolake.modeling.data.validation import Floats, as_labels, as_patients, as_scores


def delong_test(
    labels: npt.ArrayLike, first: npt.ArrayLike, second: npt.ArrayLike, patients: npt.ArrayLike
) -> Comparison:
    """Compare the AUCs of two models on the same scans; ``units`` are patients.

    Out-of-fold predictions of a repeated cross-validation give a scan one prediction per repeat; hand over their mean
    per scan. Only the scans' sampling is in the variance, not that of training: two models that differ by their folds
    and seeds alone may seem to differ.

    Args:
        labels: (n,) bool, or 0 and 1.
        first, second: (n,) predictions of each model; any numbers that rise with the chance of methylation.
        patients: (n,) whose scan each is.

    Returns:
        AUCs, difference with a 95 % interval, z and p. No interval and no p if fewer than two patients have scans of
        a class, or if the difference shows no spread though it is not 0; p = 1 if both models rank all pairs alike.

    Raises:
        InputError: shapes that do not fit, a missing prediction, or one class only.
    """
    from scipy.stats import norm

    truth = as_labels(labels)
    scores = np.stack([as_scores(model, len(truth)) for model in (first, second)])
    patient = as_patients(patients, len(truth))
    _both_classes(truth)
    ahead, behind = placements(truth, scores)
    aucs = ahead.mean(1)
    variance = clustered_variance(truth, patient, ahead[0] - ahead[1], behind[0] - behind[1])
    error = None if variance is None else variance**0.5
    units = int(patient.max()) + 1
    return compared("DeLong", float(aucs[0]), float(aucs[1]), error, law=norm(), units=units)


@dataclass(frozen=True)
class Sample:
    """Scans with a model's predictions: labels (n,) bool, or 0 and 1; scores (n,); patients (n,)."""

    labels: npt.ArrayLike
    scores: npt.ArrayLike
    patients: npt.ArrayLike


def unpaired_delong_test(first: Sample, second: Sample) -> Comparison:
    """Compare two AUCs that no patient is part of both of: their variances add up.

    As in ``delong_test``, the variance of training is in neither.

    Returns:
        As of ``delong_test``; ``units`` are the patients of both.

    Raises:
        InputError: as of ``delong_test``, for either sample, or a patient who is in both.
    """
    from scipy.stats import norm

    shared = np.intersect1d(np.asarray(first.patients), np.asarray(second.patients))
    if len(shared):
        raise InputError(
            f"{len(shared)} patients are in both samples, e.g. {shared[0]}.", hint="Compare the two on the same scans."
        )
    aucs, variances, units = [], [], 0
    for sample in (first, second):
        truth = as_labels(sample.labels)
        patient = as_patients(sample.patients, len(truth))
        _both_classes(truth)
        ahead, behind = placements(truth, as_scores(sample.scores, len(truth))[None])
        aucs.append(float(ahead.mean()))
        variances.append(clustered_variance(truth, patient, ahead[0], behind[0]))
        units += int(patient.max()) + 1
    known = [variance for variance in variances if variance is not None]
    error = sum(known) ** 0.5 if len(known) == 2 else None
    return compared("DeLong", aucs[0], aucs[1], error, law=norm(), units=units)


def _both_classes(labels: npt.NDArray[np.bool_]) -> None:
    if labels.all() or not labels.any():
        raise InputError("All scans are of one class: there is no AUC to compare.", hint="Compare on more scans.")


def placements(labels: npt.NDArray[np.bool_], scores: Floats) -> tuple[Floats, Floats]:
    """Each scan's part in the AUC of each model.

    Args:
        labels: (n,), with both classes. scores: (models, n).

    Returns:
        (models, positives): the share of unmethylated scans that a methylated one is ahead of, ties half;
        (models, negatives): the share of methylated scans that an unmethylated one is behind. Both average to the AUC.
    """
    from scipy.stats import rankdata

    positive, negative = int(labels.sum()), int((~labels).sum())
    among_all = rankdata(scores, axis=-1)
    among_positive, among_negative = rankdata(scores[:, labels], axis=-1), rankdata(scores[:, ~labels], axis=-1)
    ahead = (among_all[:, labels] - among_positive) / negative
    behind = 1 - (among_all[:, ~labels] - among_negative) / positive
    return ahead, behind


def clustered_variance(
    labels: npt.NDArray[np.bool_], patient: npt.NDArray[np.intp], ahead: Floats, behind: Floats
) -> float | None:
    """Variance of an AUC, or of a difference of two, from its placements (positives,) and (negatives,).

    The difference's placements are the differences of placements, so one formula serves both (Obuchowski 1997,
    equations 4 to 6). None if fewer than two patients have scans of a class.
    """
    patients = int(patient.max()) + 1
    weights = [(patient[labels], ahead - ahead.mean()), (patient[~labels], behind - behind.mean())]
    # Per patient, of the scans of each class: sum of their deviations.
    sums = [np.bincount(of, deviation, minlength=patients) for of, deviation in weights]
    holders = [len(np.unique(of)) for of, _ in weights]
    if min(holders) < 2:
        return None
    within = sum(
        h / (h - 1) * float(s @ s) / len(of) ** 2 for h, s, (of, _) in zip(holders, sums, weights, strict=True)
    )
    across = patients / (patients - 1) * float(sums[0] @ sums[1]) / (len(ahead) * len(behind))
    # A class has no more holders than there are patients, so this is at least a sum of squares: below 0 is rounding.
    return max(0.0, within + 2 * across)
