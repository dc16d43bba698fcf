"""Checks whether a study's vectors were computed from the files that the lake records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gliolake.analysis.study.notation import Row
from gliolake.analysis.study.published import ask
from gliolake.errors import InputError
from gliolake.features.extraction.plan import files_of
from gliolake.features.extraction.scan_task import input_digest, possible_branches
from gliolake.features.preprocessing.volumes import ready_scans
from gliolake.features.scans import scans_of
from gliolake.storage.json_cell import json_cell

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from gliolake.storage.lake import Lake

Source = tuple[str, str, str, str]
"""Cohort, scan id, branch, and the digest of the files that its vector is computed from."""

RELEASED = """
    SELECT cohort, scan_id, source_sha256 FROM labels JOIN cohorts USING (cohort) WHERE cohorts.role = 'released'
"""
"""Released vectors come from the file that their labels come from."""

VECTORS = "SELECT cohort, scan_id, modality, input_sha256 FROM features WHERE feature_set = $feature_set"


def unexplained(connection: DuckDBPyConnection, lake: Lake, feature_set: Row) -> int | None:
    """How many vectors rest on other files than the lake names now: files that were changed, or are not there.

    None where that cannot be told, since a cohort's description is of no use.

    Args:
        connection: of the lake. lake: the same.
        feature_set: a row of table feature_sets.
    """
    recipe = json_cell(feature_set, "recipe", "feature_set")
    try:
        sources = set(_sources(lake, recipe.get("volumes", "")))
    except InputError:
        return None
    released = {tuple(row.values()) for row in ask(connection, RELEASED, {})}
    return sum(
        tuple(row.values()) not in sources and (row["cohort"], row["scan_id"], row["input_sha256"]) not in released
        for row in ask(connection, VECTORS, {"feature_set": feature_set["feature_set"]})
    )


def _sources(lake: Lake, volume_set: str) -> Iterator[Source]:
    """What vectors of scans would be computed from today, cut from their own images or from this set's volumes."""
    if not lake.state().of_table("scans"):
        return
    ready, _ = ready_scans(lake, scans_of(lake), volume_set)
    for scan in ready:
        files = files_of(scan)
        for branch in possible_branches(files):
            yield scan["cohort"], scan["scan_id"], branch, input_digest(branch, files)
