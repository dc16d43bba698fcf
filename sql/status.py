"""The state of the lake: its contents, and problems that need manual action."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb

from gliolake.schema.vocabulary import BRANCHES
from gliolake.sql.catalog import connect
from gliolake.sql.next_step import next_step
from gliolake.sql.statements import statement
from gliolake.storage.lake import Lake

SPLITS = ("training_scans", "training", "overlap", "external", "external_strict", "external_listed")

_COHORTS = """
SELECT cohorts.cohort, cohorts.role,
    (SELECT count(*) FROM scans WHERE scans.cohort = cohorts.cohort) AS scans,
    (SELECT count(*) FROM labelled WHERE labelled.cohort = cohorts.cohort) AS labelled,
    (SELECT count(*) FROM labelled WHERE labelled.cohort = cohorts.cohort AND known) AS with_mgmt_call,
    (SELECT count(DISTINCT nullif(scan_id, '')) FROM exclusions WHERE exclusions.cohort = cohorts.cohort) AS excluded
FROM cohorts ORDER BY cohort
"""
# From the commit log, of the branch that has most scans: a large lake's vectors are gigabytes to read.
_FEATURE_SETS = """
SELECT feature_set, weights, cohort, max(scans) AS scans, count(*) AS branches
FROM vectors JOIN feature_sets USING (feature_set) GROUP BY ALL ORDER BY ALL
"""
# Counted in the log, too: of scans with images, how many lack a branch's vector.
_MISSING = """
SELECT feature_set, cohort, modality, images.scans - coalesce(vectors.scans, 0) AS missing
FROM (SELECT DISTINCT feature_set, cohort FROM vectors)
JOIN (SELECT cohort, count(*) AS scans FROM scans GROUP BY cohort) AS images USING (cohort)
CROSS JOIN (SELECT unnest($branches) AS modality)
LEFT JOIN vectors USING (feature_set, cohort, modality)
WHERE missing > 0 ORDER BY ALL
"""
_EXPERIMENTS = """
SELECT experiment, model, feature_set, weights, label_rule, metrics.split, round(avg(value), 3) AS auc,
    round(avg(optimism), 3) AS optimism
FROM experiments JOIN metrics USING (experiment) WHERE metric = 'auc'
GROUP BY experiment, model, feature_set, weights, label_rule, metrics.split ORDER BY ALL
"""
_RUNS = "SELECT run_id, command, outcome FROM runs ORDER BY started DESC LIMIT 5"
_LAST_RUNS = """
SELECT command, run_id, started, ended, outcome,
    outcome = 'done' OR (outcome = 'unfinished' AND started >= $long_ago) AS good
FROM runs QUALIFY row_number() OVER (PARTITION BY command ORDER BY started DESC, run_id DESC) = 1
ORDER BY command
"""
# A row keeps its run while the files that it is about stay as they are, so that those of the last run are news. The
# first ingest of a cohort's images, or of its labels, has nothing that it could be compared with.
_NEWLY_EXCLUDED = """
WITH ingests AS (
    SELECT arguments->>'$.cohort' AS cohort, run_id, started, unnest(
        CASE WHEN arguments->>'$.images' IS NULL THEN [] ELSE ['images'] END
        || CASE WHEN json_array_length(arguments, '$.labels') > 0 THEN ['labels'] ELSE [] END
    ) AS step
    FROM runs WHERE command = 'ingest'
), newest AS (
    FROM ingests QUALIFY row_number() OVER (PARTITION BY cohort, step ORDER BY started DESC, run_id DESC) = 1
        AND count(*) OVER (PARTITION BY cohort, step) > 1
)
SELECT cohort, run_id, count(DISTINCT scan_id) AS scans, list_sort(list(DISTINCT reason)) AS reasons
FROM exclusions JOIN newest USING (cohort, step, run_id)
WHERE started >= $lately AND scan_id <> '' GROUP BY ALL ORDER BY ALL
"""
# Rows that name no scan are about a folder as a whole, and stay until an ingest finds it mended.
_FOLDERS = """
SELECT cohort, reason, count(*) AS folders, min(source) AS first
FROM exclusions WHERE step = 'images' AND scan_id = '' GROUP BY ALL ORDER BY ALL
"""
_TABLES = """
SELECT "table", count(*) AS files, sum("rows")::BIGINT AS "rows", sum(bytes)::BIGINT AS bytes
FROM data_files GROUP BY ALL ORDER BY ALL
"""

LONG = timedelta(days=1)
"""A run that is unfinished for so long was killed, or hangs."""

LATELY = timedelta(days=3)
"""For so long it is news that an ingest left out scans which none had before: over a weekend, and not for ever."""


@dataclass(frozen=True)
class Status:
    """Counts by cohort, split, feature set, table and experiment, the latest runs, and the command that comes next.

    last_runs: of each command. newly_excluded: what the last ingest of a cohort left out and had not before, or left
    out again though its files have changed; for ``LATELY``. problems: what a person ought to look at.
    """

    root: str
    version: int
    cohorts: list[dict[str, Any]]
    splits: dict[str, int]
    audit_violations: int
    leaks_avoided: int
    feature_sets: list[dict[str, Any]]
    missing: list[dict[str, Any]]
    experiments: list[dict[str, Any]]
    runs: list[dict[str, Any]]
    last_runs: list[dict[str, Any]]
    newly_excluded: list[dict[str, Any]]
    tables: list[dict[str, Any]]
    next_step: str
    problems: list[str]


def status(lake: Lake, now: datetime | None = None) -> Status:
    """The state of the lake as of its newest commit; what is lately and what is overdue is reckoned from ``now``."""
    now = now or datetime.now(UTC)
    with connect(lake) as connection:
        last_runs = _rows(connection, _LAST_RUNS, {"long_ago": now - LONG})
        newly_excluded = _rows(connection, _NEWLY_EXCLUDED, {"lately": now - LATELY})
        cohorts = _rows(connection, _COHORTS)
        splits = _split_sizes(connection)
        leaks_avoided = _count(connection, "leaks_avoided")
        violations = _rows(connection, "SELECT sum(violations)::BIGINT AS n FROM split_audit")[0]["n"]
        problems = [f"the split audit finds {violations} violations (split_audit)"] if violations else []
        problems += [
            f"the last run of {run['command']} ended so: {run['outcome']} ({run['run_id']})"
            for run in last_runs
            if not run["good"]
        ]
        problems += [
            f"scans of {one['cohort']} newly left out by {one['run_id']}: {one['scans']} ({', '.join(one['reasons'])})"
            for one in newly_excluded
        ]
        problems += [
            f"{one['reason']} ({one['cohort']}): {one['folders']}, first {one['first']} (exclusions)"
            for one in _rows(connection, _FOLDERS)
        ]
        return Status(
            root=lake.root,
            version=lake.version,
            cohorts=cohorts,
            splits=splits,
            audit_violations=violations,
            leaks_avoided=leaks_avoided,
            feature_sets=_rows(connection, _FEATURE_SETS),
            missing=_rows(connection, _MISSING, {"branches": list(BRANCHES)}),
            experiments=_rows(connection, _EXPERIMENTS),
            runs=_rows(connection, _RUNS),
            last_runs=last_runs,
            newly_excluded=newly_excluded,
            tables=_rows(connection, _TABLES),
            next_step=next_step({file.table for file in lake.state().files.values()}),
            problems=problems,
        )


def split_sizes(lake: Lake) -> dict[str, int]:
    """Rows of the views of splits, as of the newest commit."""
    with connect(lake) as connection:
        return _split_sizes(connection)


def _split_sizes(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    return {name: _count(connection, name) for name in SPLITS}


def _count(connection: duckdb.DuckDBPyConnection, relation: str) -> int:
    return int(_rows(connection, statement("SELECT count(*) AS n FROM {relation}", relation=relation))[0]["n"])


def _rows(
    connection: duckdb.DuckDBPyConnection, query: str, values: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    return connection.sql(query, params=values).to_arrow_table().to_pylist()
