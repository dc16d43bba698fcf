"""Warnings about the splits of a result, as sentences for its reader."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import duckdb

_UNLINKED = "FROM unlinked_cohorts ORDER BY split, cohort, training_cohort"
_BASES = """
SELECT split, sum(patients)::BIGINT AS patients,
    coalesce(sum(patients) FILTER (basis = 'call by another rule'), 0)::BIGINT AS others
FROM label_bases WHERE label_rule = $label_rule GROUP BY split HAVING 2 * others > patients ORDER BY split DESC
"""
_SEARCHED = "SELECT sum(scans)::BIGINT AS scans, sum(compared)::BIGINT AS compared FROM duplicate_searches"


def cautions(connection: duckdb.DuckDBPyConnection, label_rules: Iterable[str]) -> tuple[str, ...]:
    """What may be wrong with the splits, beside ``shared_patients``, without anything in the lake showing it.

    Args:
        connection: to the lake.
        label_rules: the rules by which figures call their patients.
    """
    by_rule = [sentence for rule in sorted({*label_rules}) for sentence in _by_another_rule(connection, rule)]
    return (*by_rule, *_unsearched(connection))


def shared_patients(connection: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    """For each two cohorts that hold scans of one public collection and that no declared link joins, what follows."""
    return tuple(
        f"Cohorts {row['cohort']} and {row['training_cohort']} both hold scans of {', '.join(row['collections'])}, and "
        f"no link between them is declared: any of the {row['scans']:,} {row['split']} scans of {row['cohort']} may be "
        f"of a patient who trains in {row['training_cohort']}. Declare the links (a label column, [labels.declared_id] "
        "in the cohort's TOML), or leave one of the two cohorts out."
        for row in _rows(connection, _UNLINKED)
    )


def _by_another_rule(connection: duckdb.DuckDBPyConnection, rule: str) -> Iterator[str]:
    for row in _rows(connection, _BASES, {"label_rule": rule}):
        yield (
            f"Most {row['split']} labels do not follow the rule {rule}: {row['others']:,} of {row['patients']:,} "
            "patients have a call that was made by another rule, and no index by which to call them anew."
        )


def _unsearched(connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
    (found,) = _rows(connection, _SEARCHED)
    missing = (found["scans"] or 0) - (found["compared"] or 0)
    if missing:
        yield (
            f"{missing:,} of {found['scans']:,} scans of the splits were not searched for duplicates: a patient whose "
            "scans stand under two names that nothing links may be on both sides. `gliolake suspects` searches."
        )


def _rows(
    connection: duckdb.DuckDBPyConnection, statement: str, values: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    return connection.sql(statement, params=values).to_arrow_table().to_pylist()
