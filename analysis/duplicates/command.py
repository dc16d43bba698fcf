"""`gliolake suspects`: pairs of scans whose vectors are too similar for two people, as links of kind ``suspected``.

Such a link never merges patients: patients and splits follow from declared links only. It is a row of the view
``suspected_duplicates``, for manual review.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from gliolake.analysis.duplicates.report import Known, Suspect, SuspectsReport
from gliolake.analysis.duplicates.search import BLOCK, Chance, Directions, chance, directions, similar_pairs
from gliolake.analysis.vectors import Scan, informative, named_scans, read_vectors
from gliolake.errors import InputError, check_choice
from gliolake.log.progress import track
from gliolake.modeling.study.features import BEST_FIRST
from gliolake.runs import start_run
from gliolake.schema.vocabulary import MODALITIES
from gliolake.storage.json_cell import json_cell

if TYPE_CHECKING:
    from gliolake.storage.lake import Lake
    from gliolake.storage.transaction import Transaction

KIND = "suspected"
"""Of the links that this module writes."""

FEWEST = 8
"""Scans of a cohort below which nothing can be said of what is usual in it."""

CERTAIN = 0.9999
"""The highest score: a suspicion is never a statement, whose score is 1."""


def find_suspects(lake: Lake, feature_set: str | None = None, *, false_pairs: float = 0.1) -> SuspectsReport:
    """Suspect the pairs of scans, across and within cohorts, that are more similar than different people are.

    Their links take the place of those that the feature set led to before; the same pairs write nothing.

    Args:
        lake: the lake.
        feature_set: whose vectors are compared; the best founded of the lake if not given.
        false_pairs: pairs of different people to be expected among the suspects of the whole search.

    Raises:
        InputError: there is no such feature set, or none; ``false_pairs`` is not above 0 and up to 1; the vectors do
            not tell people apart.
    """
    if not 0 < false_pairs <= 1:
        raise InputError(
            f"{false_pairs:g} false pairs are no sensible aim.", hint="Give a number above 0 and up to 1, e.g. 0.1."
        )
    chosen, others = best_founded(lake, feature_set)
    scans = named_scans(lake, chosen)
    counts = dict(sorted(Counter(cohort for cohort, _ in scans).items()))
    scans = [scan for scan in scans if counts[scan[0]] >= FEWEST]
    compared = {cohort: count for cohort, count in counts.items() if count >= FEWEST}
    basis, patients, sessions = _told(lake, chosen, scans)
    places = _directions(lake, chosen, scans)
    usual = chance(places, patients)
    suspects: list[Suspect] = []
    known: tuple[Known, ...] = ()
    if usual is not None:
        with track(f"comparing {len(scans):,} scans", -(-len(scans) // BLOCK)) as advance:
            pairs = similar_pairs(places, patients, usual, false_pairs, advance)
        suspects = _suspects(scans, places, usual, pairs)
        known = _known(places, usual, patients, sessions, false_pairs)
    rows = [_link(chosen, suspect, len(scans)) for suspect in suspects]
    arguments = {"feature_set": chosen, "false_pairs": false_pairs, "compared": compared}
    with start_run(lake, "suspects", arguments, recorded=not _made_last(lake, arguments)) as run:
        run.transact(lambda tx: _commit(tx, chosen, rows))
    return SuspectsReport(
        feature_set=chosen, others=others, basis=basis, false_pairs=false_pairs, cohorts=compared,
        few={cohort: count for cohort, count in counts.items() if count < FEWEST},
        blank=int((~places.present.any(1)).sum()), told=usual is not None, suspects=tuple(suspects), known=known,
    )  # fmt: skip


def _made_last(lake: Lake, arguments: Mapping[str, Any]) -> bool:
    """Whether the last search of the lake was this one, so that it need not be recorded again
    (``gliolake.sql.cautions``)."""
    where = {"command": "suspects", "outcome": "done"}
    made = lake.read("runs", where, ["started", "run_id", "arguments"]).to_pylist()
    last = max(made, key=lambda row: (row["started"], row["run_id"]), default=None)
    return last is not None and json_cell(last, "arguments", "run_id") == arguments


def best_founded(lake: Lake, asked: str | None) -> tuple[str, int]:
    """The feature set that was asked for, or else that whose weights mean most, then the largest, then the first by
    name; and how many others there are.

    Raises:
        InputError: there is none of this name, or none at all.
    """
    sizes: Counter[str] = Counter()
    for file in lake.state().of_table("features"):
        sizes[file.partition["feature_set"]] += file.rows
    weights = {row["feature_set"]: row["weights"] for row in lake.read("feature_sets").to_pylist()}
    if asked is not None:
        return check_choice("feature set", asked, sizes, hint="gliolake status lists them."), len(sizes) - 1
    if not sizes:
        raise InputError("The lake has no feature vectors.", hint="Make some: gliolake extract.")
    rank = {name: BEST_FIRST.index(weights[name]) for name in sizes}
    return min(sizes, key=lambda name: (rank[name], -sizes[name], name)), len(sizes) - 1


def _told(lake: Lake, feature_set: str, scans: Sequence[Scan]) -> tuple[str, np.ndarray, np.ndarray]:
    """What the vectors rest on, in words, and each scan's patient and session (n,), numbered."""
    from gliolake.sql.catalog import connect

    with connect(lake) as connection:
        query = "SELECT basis FROM feature_bases WHERE feature_set = ?"
        ((basis,),) = connection.execute(query, [feature_set]).fetchall()
        found = connection.execute("SELECT cohort, scan_id, patient_id, session_id FROM patients").fetchall()
    of_scan = {(cohort, scan): (patient, session) for cohort, scan, patient, session in found}
    named = [of_scan.get(scan, ("/".join(scan),) * 2) for scan in scans]
    patients, sessions = zip(*named, strict=True) if named else ((), ())
    numbers = [np.unique(np.array(names, str), return_inverse=True)[1] for names in (patients, sessions)]
    return basis, numbers[0], numbers[1]


def _directions(lake: Lake, feature_set: str, scans: Sequence[Scan]) -> Directions:
    """DeltaT1 is left out: it is made of T1 and T1wCE and says nothing of its own."""
    files = [lake.state().of_table("features", {"feature_set": feature_set, "modality": name}) for name in MODALITIES]
    vectors = (read_vectors(lake, some, scans) for some in files)
    cohorts = np.unique([cohort for cohort, _ in scans], return_inverse=True)[1]
    return directions(((values, informative(values)) for values in vectors), cohorts)


def _suspects(scans: Sequence[Scan], places: Directions, usual: Chance, pairs: np.ndarray) -> list[Suspect]:
    """The pairs in words, the most similar first."""
    found = []
    for first, second in pairs.tolist():
        each = {
            name: round(float(one), 4)
            for name, one in zip(MODALITIES, places.cosines(first, second), strict=True)
            if np.isfinite(one)
        }
        expected = float(_expected(places, usual, np.array([first, second]))[0, 1])
        found.append(Suspect(scans[first], scans[second], expected, each))
    return sorted(found, key=lambda suspect: (suspect.expected, suspect.first, suspect.second))


def _expected(places: Directions, usual: Chance, rows: np.ndarray) -> np.ndarray:
    """(rows, rows) of what is expected of each pair of them."""
    return usual.expected(places.similarity(rows, rows), rows[:, None], rows)


def _known(
    places: Directions, usual: Chance, patients: np.ndarray, sessions: np.ndarray, most: float
) -> tuple[Known, ...]:
    """Of the pairs that links say are one patient, how many the same search would have suspected."""
    visits, again = list[bool](), list[bool]()
    order = np.argsort(patients, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(patients[order])) + 1)
    for rows in (rows for rows in groups if len(rows) > 1):
        found = _expected(places, usual, rows) <= most
        for one, other in combinations(range(len(rows)), 2):
            (again if sessions[rows[one]] == sessions[rows[other]] else visits).append(bool(found[one, other]))
    return (
        Known("one examination under two names", len(again), sum(again)),
        Known("two visits of a patient", len(visits), sum(visits)),
    )


def _link(feature_set: str, suspect: Suspect, scans: int) -> dict[str, Any]:
    each = ", ".join(f"{modality} {value:.2f}" for modality, value in suspect.similarity.items())
    evidence = (
        f"{feature_set}: {suspect.expected:.2g} pairs of different people expected to be as similar among {scans:,} "
        f"scans; similarity, 0 being usual and 1 the same: {each}"
    )
    (cohort_a, scan_a), (cohort_b, scan_b) = suspect.first, suspect.second
    return {"cohort_a": cohort_a, "scan_a": scan_a, "cohort_b": cohort_b, "scan_b": scan_b,
            "kind": KIND, "evidence": evidence, "score": score(suspect.expected)}  # fmt: skip


def score(expected: float) -> float:
    """1 less the pairs of different people expected to be as similar, within 0 to ``CERTAIN``."""
    return round(min(max(1 - expected, 0.0), CERTAIN), 4)


def _commit(tx: Transaction, feature_set: str, rows: Sequence[Mapping[str, Any]]) -> None:
    before = tx.read("links", {"kind": KIND}).to_pylist()
    tx.replace_rows("links", [row for row in before if row["evidence"].startswith(f"{feature_set}: ")], rows)
