"""`gliolake ccc`: how well feature sets agree, feature by feature, on the scans that both have.

One modality of two feature sets is in memory at a time (320 MB of 100,000 scans). A pair whose files and patients are
those of the last comparison is not computed again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from gliolake.analysis.agreement.pair import Agreed, Row, Scans, agreed, rows_of
from gliolake.analysis.vectors import Vectors, read_vectors
from gliolake.errors import InputError, check_choice
from gliolake.log.progress import track
from gliolake.runs import start_run
from gliolake.schema.vocabulary import BRANCHES

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from gliolake.storage.lake import Lake
    from gliolake.storage.snapshot import Snapshot
    from gliolake.storage.transaction import Transaction

METHOD = "2"
"""To be changed with anything that changes the figures: those of another method are computed again."""

SCANS = """
    SELECT cohort, scan_id, dense_rank() OVER (ORDER BY md5(patient_id)) - 1 AS patient, examination
    FROM examinations WHERE list_contains($cohorts, cohort) ORDER BY patient, examination, cohort, scan_id
"""
"""Scans to compare. Patients are numbered by a digest, so that groups of them have nothing in common."""

DIGESTS = """
    SELECT cohort, md5(string_agg(concat_ws(chr(31), scan_id, patient_id, examination), chr(30) ORDER BY scan_id))
    FROM examinations GROUP BY cohort
"""
"""By cohort, a digest of its scans and of whose they are."""

SUMMARY = "SELECT * FROM ccc_summary WHERE list_contains($pairs, first || ' ' || second)"

Pair = tuple[str, str]
"""Two feature sets, the smaller name first; or one and itself: then two examinations of each patient are compared."""


@dataclass(frozen=True)
class AgreementReport:
    """The agreement of some pairs of feature sets.

    Attributes:
        rows: of view ccc_summary.
        computed: so many pairs were computed now; the others were there.
        single: whether one pair was asked for, and all modalities are to be shown.
    """

    rows: tuple[Row, ...]
    computed: int
    single: bool


def compare(lake: Lake, names: Sequence[str] = (), *, rescans: bool = False) -> AgreementReport:
    """Compute tables ccc and ccc_means for feature sets, as far as the lake does not have them.

    Args:
        lake: the lake.
        names: two feature sets; where none, all pairs that share scans. With ``rescans`` one, or none for all.
        rescans: compare the first with the second examination of each patient, within a feature set.

    Raises:
        InputError: no such feature set, other names than can be compared, or no scan to compare.
        DamagedFile: a committed file is missing or altered.
    """
    from gliolake.sql.catalog import connect

    pairs = _pairs(lake, names, rescans)
    computed = compute(lake, pairs)
    with connect(lake) as connection:
        parameters = {"pairs": [" ".join(pair) for pair in pairs]}
        rows = connection.sql(SUMMARY, params=parameters).to_arrow_table().to_pylist()
    if not rows:
        raise _nothing(pairs, single=bool(names))
    return AgreementReport(tuple(rows), computed, single=bool(names))


def compute(lake: Lake, pairs: Sequence[Pair], *, progress: bool = True) -> int:
    """Compute pairs of feature sets in one commit, and return how many were not there yet.

    Args:
        lake: the lake.
        pairs: which.
        progress: show a progress bar on standard error.
    """
    from gliolake.sql.catalog import connect

    there = {(row["first"], row["second"]): row["input_sha256"] for row in lake.read("ccc_means").to_pylist()}
    state, rows = lake.state(), dict[Pair, tuple[list[Row], list[Row]]]()
    with start_run(lake, "ccc", {"pairs": pairs}) as run, connect(lake) as connection:
        digests = dict(connection.sql(DIGESTS).fetchall())
        inputs = {pair: _inputs(state, pair, digests) for pair in pairs}
        todo = {pair: inputs[pair] for pair in pairs if there.get(pair) != inputs[pair][1]}
        with track("comparing feature sets", len(todo)) if progress and todo else nullcontext(lambda: None) as advance:
            for pair, (cohorts, digest) in todo.items():
                found = _compare(lake, state, pair, cohorts, _scans(connection, cohorts)) if cohorts else {}
                rows[pair] = rows_of(found, {"first": pair[0], "second": pair[1]}, digest)
                advance()

        def commit(transaction: Transaction) -> None:
            for (first, second), contents in rows.items():
                for table, content in zip(("ccc", "ccc_means"), contents, strict=True):
                    transaction.replace(table, {"first": first, "second": second}, content)

        if rows:
            run.transact(commit)
    return sum(bool(means) for _, means in rows.values())


def _pairs(lake: Lake, names: Sequence[str], rescans: bool) -> list[Pair]:
    there = sorted(lake.read("feature_sets", columns=["feature_set"])["feature_set"].to_pylist())
    for name in names:
        check_choice("feature set", name, there, hint="gliolake status lists them.")
    if rescans:
        if len(names) > 1:
            raise InputError(
                "Examinations are compared within one feature set, and two were given.",
                hint=f"Give one: gliolake ccc {names[0]} --test-retest.",
            )
        return [(name, name) for name in names or there]
    if not names:
        return list(combinations(there, 2))
    if len(names) != 2 or names[0] == names[1]:
        raise InputError(
            f"A comparison takes two feature sets; given: {', '.join(names)}.",
            hint="Give two, or none for all pairs; to compare examinations within a single one, add --test-retest.",
        )
    return [(min(names), max(names))]


def _inputs(state: Snapshot, pair: Pair, digests: dict[str, str]) -> tuple[list[str], str]:
    """The cohorts that both feature sets have vectors of, and a digest of all that a comparison depends on."""
    sides = [state.of_table("features", {"feature_set": name}) for name in pair]
    one, other = ({file.partition["cohort"] for file in files} for files in sides)
    cohorts = sorted(one & other)
    files = [sorted(file.sha256 for file in files if file.partition["cohort"] in cohorts) for files in sides]
    told: Any = (METHOD, files, [(cohort, digests.get(cohort)) for cohort in cohorts])
    return cohorts, hashlib.sha256(repr(told).encode()).hexdigest()


def _scans(connection: DuckDBPyConnection, cohorts: Sequence[str]) -> Scans:
    rows = connection.sql(SCANS, params={"cohorts": cohorts}).to_arrow_table()
    names = list(zip(rows["cohort"].to_pylist(), rows["scan_id"].to_pylist(), strict=True))
    return Scans(names, *(rows[name].to_numpy().astype(np.int64) for name in ("patient", "examination")))


def _compare(lake: Lake, state: Snapshot, pair: Pair, cohorts: Sequence[str], scans: Scans) -> dict[str, Agreed]:
    """How well the two agree, by modality."""

    def vectors(feature_set: str, modality: str) -> Vectors:
        files = state.of_table("features", {"feature_set": feature_set, "modality": modality})
        return read_vectors(lake, [file for file in files if file.partition["cohort"] in cohorts], scans.names)

    found = {}
    for modality in BRANCHES:
        first = vectors(pair[0], modality)
        second = vectors(pair[1], modality) if pair[0] != pair[1] else None
        if (one := agreed(first, second, scans)) is not None:
            found[modality] = one
    return found


def _nothing(pairs: Sequence[Pair], *, single: bool) -> InputError:
    examined = "Scans of one patient are known by links: gliolake sql 'FROM examinations'."
    extract = "Extract both on the same scans: gliolake extract; gliolake status shows what there is."
    if not pairs:
        return InputError("The lake has fewer than two feature sets to compare.", hint=extract)
    (first, second), *_ = pairs
    if first == second:
        what = first if single else "one feature set"
        return InputError(f"No patient has two examinations with vectors of {what}.", hint=examined)
    message = f"No scan has vectors of both {first} and {second}." if single else "No two feature sets share scans."
    return InputError(message, hint=extract)
