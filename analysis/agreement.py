"""`gliolake ccc`: how well feature sets agree, feature by feature, on the scans that both have.

The scans that the lake knows of are cut into blocks by their names, a block and modality is a task, and what comes back
is the moments of groups of patients: memory does not grow with the cohort, and neither files nor workers show in the
result. What was computed from the same files and the same patients is not computed again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache, partial
from itertools import combinations, pairwise, product
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from analysis.agreement_report import AgreementReport, report
from analysis.agreement_rows import Gathered, Rows
from analysis.agreement_task import Block, Compared, compare_block
from lake.cluster import map_tasks, open_cluster
from lake.errors import InputError, known_name
from lake.progress import track
from lake.runs import start_run
from lake.tables import BRANCHES, TABLES

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from lake.log import DataFile, State
    from lake.store import Lake
    from lake.transaction import Transaction

METHOD = "1"
"""To be changed with anything that changes the figures: those of another method are computed again."""

BLOCK = 2**15
"""Scans of a block at most. A task then holds about 200 MB."""

EACH = 1000
GROUPS = 64
"""Up to so many patients, an interval comes of leaving out each; of more, of leaving out so many groups of them."""

MEMORY = 700_000_000
"""About the bytes that a worker needs."""

DOING = "comparing feature sets"

SCAN = TABLES["features"].key.index("scan_id")
"""Place of the scan in a key of table features."""

FEW = 200_000
"""Vectors that this process compares by itself, in about the time that workers need to start."""

PAIRED = """
    SELECT cohort, scan_id, dense_rank() OVER (ORDER BY md5(patient_id)) - 1 AS patient
    FROM patients WHERE list_contains($cohorts, cohort) ORDER BY cohort, scan_id
"""
RESCANNED = """
    SELECT cohort, scan_id, dense_rank() OVER (ORDER BY md5(patient_id)) - 1 AS patient, examination
    FROM examinations WHERE list_contains($cohorts, cohort)
    QUALIFY min(examination) OVER (PARTITION BY patient_id) < max(examination) OVER (PARTITION BY patient_id)
    ORDER BY patient_id, examination, cohort, scan_id
"""
"""Scans to compare. Patients are numbered by a digest, so that groups of them have nothing in common."""

Pair = tuple[str, str]
Files = Mapping[str, Mapping[str, Sequence["DataFile"]]]
"""Data files by feature set and modality."""


@dataclass(frozen=True)
class Comparison:
    """Two feature sets, or one with itself, at two examinations of each patient.

    Attributes:
        pair: their names, the smaller first.
        scans: those of the cohorts that both have, in blocks (see ``analysis.agreement_task.Block``).
        digest: of all that the result depends on.
    """

    pair: Pair
    scans: tuple[pa.Table, ...]
    digest: str


def compare(
    lake: Lake, names: Sequence[str] = (), *, rescans: bool = False, scheduler: str | None = None,
    workers: int | None = None,
) -> AgreementReport:  # fmt: skip
    """Compute tables ccc and agreements for feature sets, as far as the lake does not have them.

    Args:
        lake: the lake.
        names: two feature sets; where none, all pairs that share scans. With ``rescans`` one, or none for all.
        rescans: compare the first with the second examination of each patient, within a feature set.
        scheduler, workers: see ``lake.cluster.open_cluster``; where both are None and there is little to do, it is
            done by this process.

    Raises:
        InputError: no such feature set, other names than can be compared, or no scan to compare.
        DamagedFile: a committed file is missing or altered.
        ClusterError: the cluster is at fault.
    """
    pairs = _pairs(lake, names, rescans)
    computed = compute(lake, pairs, scheduler=scheduler, workers=workers)
    return report(lake, pairs, computed, single=bool(names))


def compute(
    lake: Lake, pairs: Sequence[Pair], *, scheduler: str | None = None, workers: int | None = None,
    progress: bool = True,
) -> int:  # fmt: skip
    """Compute pairs of feature sets, each the smaller name first, and return how many were not there yet.

    Args:
        lake, scheduler, workers: see ``compare``.
        pairs: of two sets, or of one and itself: then two examinations of each patient are compared.
        progress: show a progress bar on standard error; without one, all is done by this process.
    """
    there = {(row["first"], row["second"]): row["input_sha256"] for row in lake.read("agreements").to_pylist()}
    files = _files(lake.state())
    comparisons = {one.pair: one for one in _comparisons(lake, pairs, files) if there.get(one.pair) != one.digest}
    blocks = [block for one in comparisons.values() for block in _blocks(lake, one, files)]
    gathered = {pair: Gathered(block for block in blocks if block.pair == pair) for pair in comparisons}
    computed = {block.pair for block in blocks}
    with start_run(lake, "ccc", {"pairs": pairs}) as run:

        def commit(pair: Pair) -> None:
            rows = gathered.pop(pair).rows(pair, comparisons[pair].digest)
            run.transact(partial(_replace, pair=pair, rows=rows))

        for pair in sorted(comparisons.keys() - computed):
            commit(pair)  # nothing is left of it, and nothing stays
        for block, found in _outcomes(blocks, scheduler, workers, progress):
            gathered[block.pair].add(block, found)
            if gathered[block.pair].whole:
                commit(block.pair)
    return len(computed)


def _pairs(lake: Lake, names: Sequence[str], rescans: bool) -> list[Pair]:
    there = sorted(lake.read("feature_sets", columns=["feature_set"])["feature_set"].to_pylist())
    for name in names:
        known_name("feature set", name, there, hint="gliolake status lists them.")
    if rescans:
        if len(names) > 1:
            raise InputError(
                "Examinations are compared within one feature set, and two were given.",
                hint=f"Give one: gliolake ccc {names[0]} --rescans.",
            )
        return [(name, name) for name in names or there]
    if len(names) == 1 or len(set(names)) < len(names):
        raise InputError(
            f"{names[0]} needs another feature set to be compared with.",
            hint="Give two; or, to compare two examinations of each patient within it, add --rescans.",
        )
    return [(min(names), max(names))] if names else list(combinations(there, 2))


def _files(state: State) -> Files:
    found: dict[str, dict[str, list[DataFile]]] = {}
    for file in state.of_table("features"):
        of_set = found.setdefault(file.partition["feature_set"], {})
        of_set.setdefault(file.partition["modality"], []).append(file)
    return found


def _comparisons(lake: Lake, pairs: Iterable[Pair], files: Files) -> Iterator[Comparison]:
    """All of them, with the scans of the cohorts that both sides have vectors of."""
    from sql.catalog import connect

    of_set = {name: [file for some in of.values() for file in some] for name, of in files.items()}
    with connect(lake) as connection:
        blocks = cache(partial(_scans, connection))
        for pair in pairs:
            one, other = ({file.partition["cohort"] for file in of_set.get(name, ())} for name in pair)
            cohorts = tuple(sorted(one & other))
            scans, digest = blocks(cohorts, pair[0] == pair[1])
            sides = [
                sorted(file.sha256 for file in of_set.get(name, ()) if file.partition["cohort"] in cohorts)
                for name in pair
            ]
            told = repr((METHOD, sides, digest))
            yield Comparison(pair, scans, hashlib.sha256(told.encode()).hexdigest())


def _scans(connection: DuckDBPyConnection, cohorts: Sequence[str], rescans: bool) -> tuple[tuple[pa.Table, ...], str]:
    """The scans of some cohorts in blocks, and a digest of them; of ``rescans`` no patient is in two blocks."""
    query = RESCANNED if rescans else PAIRED
    scans = connection.sql(query, params={"cohorts": list(cohorts)}).to_arrow_table()
    digest = hashlib.sha256()
    for name in scans.column_names:
        digest.update("\n".join(map(str, scans[name].to_pylist())).encode() + b"\n\n")
    begins = np.ones(scans.num_rows, np.bool_)
    if rescans:
        begins[1:] = np.diff(scans["patient"].to_numpy()) != 0
    ends = np.linspace(0, scans.num_rows, -(-scans.num_rows // BLOCK) + 1)
    cuts = np.append(np.flatnonzero(begins), scans.num_rows)
    ends = cuts[np.searchsorted(cuts, ends)]
    # Rows are taken, not sliced: a slice goes to a worker with all the rows that it is of.
    parts = [scans.take(pa.array(np.arange(*span))).combine_chunks() for span in pairwise(ends)]
    return tuple(part for part in parts if part.num_rows), digest.hexdigest()


def _blocks(lake: Lake, comparison: Comparison, files: Files) -> Iterator[Block]:
    """The tasks of a comparison: blocks and modalities that both sides may have vectors of."""
    last = max((part["patient"].to_numpy().max() for part in comparison.scans), default=0)
    groups = int(last) + 1 if last < EACH else GROUPS
    for (number, scans), modality in product(enumerate(comparison.scans), BRANCHES):
        spans = _spans(scans)
        first, second = (
            tuple(file for file in files[name].get(modality, ()) if _meets(file, spans)) for name in comparison.pair
        )
        if first and second:
            yield Block(str(lake.root), comparison.pair, modality, number, scans, first, second, groups)


def _spans(scans: pa.Table) -> dict[str, Pair]:
    """The first and the last name of each cohort's scans."""
    found = scans.group_by("cohort").aggregate([("scan_id", "min"), ("scan_id", "max")])
    return {cohort: (low, high) for cohort, low, high in zip(*found.to_pydict().values(), strict=True)}


def _meets(file: DataFile, spans: Mapping[str, Pair]) -> bool:
    """Whether the file may have vectors of scans in these spans."""
    if file.partition["cohort"] not in spans:
        return False
    low, high = spans[file.partition["cohort"]]
    return bool(file.first[SCAN] <= high and low <= file.last[SCAN])


def _outcomes(
    blocks: Sequence[Block], scheduler: str | None, workers: int | None, progress: bool
) -> Iterator[tuple[Block, Compared]]:
    if not blocks:
        return
    vectors = sum(file.rows for block in blocks for file in (*block.first, *block.second))
    if not progress or (scheduler is None and workers is None and vectors <= FEW):
        with track(DOING, len(blocks)) if progress else nullcontext(lambda: None) as advance:
            for block in blocks:
                yield block, compare_block(block)
                advance()
        return
    with open_cluster(scheduler, workers, memory=MEMORY) as client:
        for block, outcome in map_tasks(client, compare_block, blocks, description=DOING):
            if isinstance(outcome, Exception):
                raise outcome
            yield block, outcome


def _replace(transaction: Transaction, pair: Pair, rows: Rows) -> None:
    for table, content in rows.items():
        transaction.replace(table, {"first": pair[0], "second": pair[1]}, content)
