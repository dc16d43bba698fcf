"""Comparisons of a study: each row with the row it names, by the study's test and by tests that fit the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from gliolake.analysis.statistics.delong import Sample, delong_test, unpaired_delong_test
from gliolake.analysis.statistics.summary import (
    Comparison,
    auc_difference,
    compared,
    corrected_t_test,
    holm,
    mean_sem,
    rank_sum,
    unpaired_auc_difference,
)
from gliolake.analysis.study.results import Finished, Fit, Outcome, Pooled
from gliolake.errors import InputError

METRICS = ("auc", "precision", "recall")

Told = tuple[str, Comparison, str | None]
"""A metric, a test of it, and what has to be said of the test."""


def comparison_rows(
    done: Mapping[str, Finished], outcomes: Callable[[str], Mapping[str, Outcome]], *, seed: int,
    advance: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Rows of table comparisons.

    A row that is compared with one that is not done has none, nor has one without predictions of its split.

    Args:
        done: the study's finished rows by name.
        outcomes: of an experiment, by split.
        seed: of the bootstrap.
        advance: called once per row that is compared with another.
    """
    rows, families = [], []
    for name, first in done.items():
        against = str(first.row["compared_with"])
        if not against:
            continue
        second = done.get(against)
        if second is not None:
            one, other = (outcomes(of.row["experiment"]).get(of.row["split"]) for of in (first, second))
            told = compare(one, other, seed=seed) if one and other else ()
            place = {
                "study": first.row["study"], "first": name, "second": against,
                "split": first.row["split"], "second_split": second.row["split"],
            }  # fmt: skip
            for metric, found, note in told:
                rows.append({**place, "metric": metric, **_columns(found), "note": note})
                families.append((first.row["table"], first.row["split"], metric, found.test))
        advance()
    for family in set(families):
        members = [row for row, of in zip(rows, families, strict=True) if of == family]
        for row, p in zip(members, holm([row["p"] for row in members]), strict=True):
            row["p_holm"] = p
    return rows


def compare(first: Outcome, second: Outcome, *, seed: int) -> Iterator[Told]:
    """All tests of two outcomes.

    Those of one split are paired, where they can be; an internal and an external outcome have no patient in common.
    An external prediction is then the mean of all fits and an internal one that of the repeats, so that the external
    AUC gains more from averaging.
    """
    for metric in METRICS:
        one, other = (outcome.figures.get(metric, {}) for outcome in (first, second))
        yield metric, rank_sum(list(one.values()), list(other.values())), None
        if first.split == second.split == "internal":
            yield metric, *_corrected(first, second, one, other)
    test = _paired if first.split == second.split else _unpaired
    for found, note in test(first.pooled, second.pooled, seed):
        yield "auc", found, note


def _corrected(
    first: Outcome, second: Outcome, one: Mapping[Fit, float | None], other: Mapping[Fit, float | None]
) -> tuple[Comparison, str | None]:
    """The corrected t of figures paired by fit; without p where the fits are not of the same patients."""
    if first.parts == second.parts:
        fits = sorted(first.parts)
        values, others = ([figures.get(fit) for fit in fits] for figures in (one, other))
        return corrected_t_test(values, others, first.tested, first.trained), None
    a, b = mean_sem(list(one.values())).mean, mean_sem(list(other.values())).mean
    note = "their folds are of other patients"
    if a is None or b is None:
        return Comparison("corrected t", a, b, None, None, None, None, None, 0), note
    return compared("corrected t", a, b, None, law=None, units=0), note


def _paired(first: Pooled, second: Pooled, seed: int) -> Iterator[tuple[Comparison, str | None]]:
    one, other = first.among(second.scans), second.among(first.scans)
    everybody = len(one.scans) == len(first.scans) == len(second.scans)
    note = None if everybody else f"on the {len(one.scans)} scans that both predicted"
    unlike = int(np.sum(one.labels != other.labels))
    if unlike:
        note = f"{unlike} scans are labelled otherwise by the other one's rule"
    if unlike or one.labels.all() or not one.labels.any():
        yield from _nothing(one, note or "the scans that both predicted are of one class")
        return
    given = one.labels, one.probability, other.probability, one.patients
    yield delong_test(*given), note
    yield auc_difference(*given, seed=seed), note


def _unpaired(first: Pooled, second: Pooled, seed: int) -> Iterator[tuple[Comparison, str | None]]:
    try:
        found = unpaired_delong_test(*(Sample(p.labels, p.probability, p.patients) for p in (first, second)))
    except InputError as error:
        yield from _nothing(first, str(error))
        return
    yield found, None
    labels, scores, patients = (
        np.concatenate([getattr(pooled, column) for pooled in (first, second)])
        for column in ("labels", "probability", "patients")
    )
    of_first = np.arange(len(labels)) < len(first.labels)
    yield unpaired_auc_difference(labels, scores, patients, of_first, seed=seed), None


def _nothing(pooled: Pooled, note: str) -> Iterator[tuple[Comparison, str]]:
    for test in ("DeLong", "patient bootstrap"):
        yield Comparison(test, None, None, None, None, None, None, None, len(np.unique(pooled.patients))), note


def _columns(found: Comparison) -> dict[str, Any]:
    named = {"first": "first_value", "second": "second_value"}
    return {named.get(column, column): value for column, value in asdict(found).items()}
