"""What a comparison of feature sets has to read: the scans in blocks, and the files in which their vectors may be.

Blocks are cut by the names of the scans that the lake knows of, and by nothing that depends on how vectors are stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise, product
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from gliolake.analysis.agreement.task import Block
from gliolake.schema.features import BRANCHES
from gliolake.schema.registry import TABLES

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from gliolake.storage.lake import Lake
    from gliolake.storage.snapshot import DataFile, State

METHOD = "1"
"""To be changed with anything that changes the figures: those of another method are computed again."""

BLOCK = 2**15
"""Scans of a block at most. A task then holds about 200 MB."""

EACH = 1000
GROUPS = 64
"""Up to so many patients, an interval comes of leaving out each; of more, of leaving out so many groups of them."""

SCAN = TABLES["features"].key.index("scan_id")
"""Place of the scan in a key of table features."""

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
        scans: those of the cohorts that both have, in blocks (see ``gliolake.analysis.agreement.task.Block``).
        digest: of all that the result depends on.
    """

    pair: Pair
    scans: tuple[pa.Table, ...]
    digest: str


def files_of(state: State) -> Files:
    """The data files of all feature sets."""
    found: dict[str, dict[str, list[DataFile]]] = {}
    for file in state.of_table("features"):
        of_set = found.setdefault(file.partition["feature_set"], {})
        of_set.setdefault(file.partition["modality"], []).append(file)
    return found


def comparisons(lake: Lake, pairs: Iterable[Pair], files: Files) -> Iterator[Comparison]:
    """All of them, with the scans of the cohorts that both sides have vectors of."""
    from gliolake.sql.catalog import connect

    of_set = {name: [file for some in of.values() for file in some] for name, of in files.items()}
    with connect(lake) as connection:
        scans_of = cache(partial(_scans, connection))
        for pair in pairs:
            one, other = ({file.partition["cohort"] for file in of_set.get(name, ())} for name in pair)
            cohorts = tuple(sorted(one & other))
            scans, digest = scans_of(cohorts, pair[0] == pair[1])
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


def blocks_of(lake: Lake, comparison: Comparison, files: Files) -> Iterator[Block]:
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
