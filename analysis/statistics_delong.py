"""DeLong's test of two AUCs on the same scans, with the patient as the unit.

DeLong, DeLong and Clarke-Pearson (Biometrics 44, 1988), by midranks after Sun and Xu (IEEE Signal Processing Letters
21, 2014), in O(n log n). Where a patient has several scans, the variance is Obuchowski's for clustered data
(Biometrics 53, 1997): a scan's part in the AUC is summed over its patient first, and a patient with scans of both
classes adds the covariance of the two. With one scan per patient it is DeLong's own.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from analysis.statistics import Comparison, compared
from lake.errors import InputError
from modeling.columns import Floats, as_labels, as_patients, as_scores


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
    if truth.all() or not truth.any():
        raise InputError("All scans are of one class: there is no AUC to compare.", hint="Compare on more scans.")
    ahead, behind = placements(truth, scores)
    aucs = ahead.mean(1)
    variance = clustered_variance(truth, patient, ahead[0] - ahead[1], behind[0] - behind[1])
    error = None if variance is None else variance**0.5
    units = int(patient.max()) + 1
    return compared("DeLong", float(aucs[0]), float(aucs[1]), error, law=norm(), units=units)


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
