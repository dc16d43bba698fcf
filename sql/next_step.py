"""Which command comes next: for the person who finds nothing in a table, and for one who looks at the whole lake."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from gliolake.schema.tables import TABLES
from gliolake.sql.definitions import definitions

INGEST = "gliolake ingest --cohort COHORT --images DIR --labels CSV"
STUDY = "gliolake study run"

FILLED_BY = {
    "cohorts": INGEST, "scans": INGEST, "labels": INGEST,
    "lists": "gliolake ingest-list FILE.csv",
    "volume_sets": "gliolake preprocess", "volumes": "gliolake preprocess",
    "feature_sets": "gliolake extract", "features": "gliolake extract",
    "experiments": STUDY, "fits": STUDY, "predictions": STUDY, "attention": STUDY, "metrics": STUDY, "summaries": STUDY,
    "study_rows": STUDY, "comparisons": STUDY, "correlations": STUDY, "subgroups": STUDY, "curves": STUDY, "roc": STUDY,
    "ccc": "gliolake ccc", "agreements": "gliolake ccc", "published_ccc": "gliolake ccc --published FILE.csv",
    "embeddings": "gliolake map", "trials": "gliolake search --feature-set SET",
}  # fmt: skip
"""The command that fills a table. Tables that may be empty when all is well (links, exclusions, runs) are not here."""


def why_empty(relations: Iterable[str], filled: Collection[str]) -> str:
    """What a query that found nothing is waiting for, in a sentence; empty where it is not for want of a command.

    Args:
        relations: tables and views that the query reads.
        filled: tables that have rows.
    """
    for table in _tables_below(relations):
        if table in FILLED_BY and table not in filled:
            return f"Table {table} is empty: `{FILLED_BY[table]}` fills it."
    return ""


def next_step(filled: Collection[str]) -> str:
    """The first command whose table is still empty, on the way from files to results; empty at its end."""
    if "scans" not in filled and "features" not in filled:
        return INGEST if "labels" not in filled else "gliolake ingest --cohort COHORT --images DIR"
    for table in ("labels", "features", "study_rows"):
        if table not in filled:
            return FILLED_BY[table]
    return ""


def _tables_below(relations: Iterable[str]) -> list[str]:
    """The lake's tables that these relations rest on: the nearest first, then in the order of the registry."""
    found: dict[str, None] = {}
    seen: set[str] = set()
    layer = list(relations)
    while layer:
        found.update(dict.fromkeys(name for name in TABLES if name in layer))
        seen.update(layer)
        below = [name for view in layer if view in definitions() for name in definitions()[view].reads]
        layer = [name for name in dict.fromkeys(below) if name not in seen]
    return list(found)
