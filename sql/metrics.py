"""Metrics of the lake for Prometheus: a file for the textfile collector of node_exporter.

Labels name cohorts, feature sets, branches, views, tables and commands; no scan, no person and no path. A collector
takes one lake: the metrics of two would have the same names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from gliolake.atomic import replaced_path
from gliolake.errors import InputError
from gliolake.schema.vocabulary import BRANCHES
from gliolake.sql.status import Status
from gliolake.target import Own

ENDING = ".prom"

Values: TypeAlias = Mapping[tuple[str, ...], float]
"""The values of a gauge, by those of its labels."""


def write_metrics(status: Status, target: Path, now: datetime | None = None) -> None:
    """Write the file, in the place of an earlier one of ours: who reads it sees the whole of one or of the other.

    A timer writes it again and again, so it is replaced without being asked.

    Everybody may read it, whatever the umask: the collector is another user.

    Raises:
        InputError: its name does not end in .prom, by which the collector knows such files, or it may not be written.
        StorageFull: no space is left.
    """
    if target.suffix != ENDING:
        raise InputError(f"{target} does not end in {ENDING}.", hint="The collector reads no other files.")
    registry = CollectorRegistry()
    for name, doc, labels, values in _gauges(status, now or datetime.now(UTC)):
        gauge = Gauge(f"gliolake_{name}", doc, labels, registry=registry)
        for key, value in values.items():
            (gauge.labels(*key) if labels else gauge).set(value)
    with replaced_path(target, overwrite=True, own=METRICS) as part:
        part.write_bytes(generate_latest(registry))
        part.chmod(0o644)


def _is_ours(file: Path) -> bool:
    return all(re.match(rb"(# (HELP|TYPE) )?gliolake_|$", line) for line in file.read_bytes().split(b"\n"))


METRICS = Own(kind="a file of metrics", recognises=_is_ours)


def _gauges(status: Status, now: datetime) -> Iterator[tuple[str, str, tuple[str, ...], Values]]:
    """Name, description, labels and values of each. What can be counted and is not there stands at 0."""
    yield "lake_commits", "Commits made to the lake.", (), {(): status.version}

    cohort = ("cohort",)
    yield "scans", "Scans whose images are sound.", cohort, _by(status.cohorts, "cohort", "scans")
    yield "labelled_scans", "Scans that have a label.", cohort, _by(status.cohorts, "cohort", "labelled")
    yield "mgmt_scans", "Scans with an MGMT call.", cohort, _by(status.cohorts, "cohort", "with_mgmt_call")
    yield "excluded_scans", "Scans that some step left out.", cohort, _by(status.cohorts, "cohort", "excluded")
    new = {(row["cohort"],): 0 for row in status.cohorts} | _by(status.newly_excluded, "cohort", "scans")
    yield "newly_excluded_scans", "Scans that the last ingest left out anew, if it was lately.", cohort, new

    yield "split_scans", "Rows of a view of splits.", ("view",), {(view,): rows for view, rows in status.splits.items()}
    yield "audit_violations", "Violations that the split audit finds.", (), {(): status.audit_violations}
    branch = ("feature_set", "cohort", "modality")
    yield "vectors_missing", "Scans with images that lack this vector.", branch, _missing(status)

    table = ("table",)
    yield "table_files", "Parquet files of a table.", table, _by(status.tables, "table", "files")
    yield "table_rows", "Rows of a table.", table, _by(status.tables, "table", "rows")
    yield "table_bytes", "Bytes of a table's files.", table, _by(status.tables, "table", "bytes")

    command = ("command",)
    began: Values = {(row["command"],): row["started"].timestamp() for row in status.last_runs}
    ended: Values = {(row["command"],): row["ended"].timestamp() for row in status.last_runs if row["ended"]}
    took: Values = {key: end - began[key] for key, end in ended.items()}
    yield "last_run_start_timestamp_seconds", "Start of the last run that changed the lake.", command, began
    yield "last_run_end_timestamp_seconds", "Its end, where it has one.", command, ended
    yield "last_run_duration_seconds", "How long it took.", command, took
    good = _by(status.last_runs, "command", "good")
    yield "last_run_good", "1 if it went well or is under way, 0 if it failed or hangs.", command, good

    yield "problems", "Problems that gliolake status tells.", (), {(): len(status.problems)}
    yield "metrics_timestamp_seconds", "When these metrics were written.", (), {(): now.timestamp()}


def _by(rows: list[dict[str, Any]], label: str, value: str) -> dict[tuple[str, ...], float]:
    return {(row[label],): row[value] for row in rows}


def _missing(status: Status) -> Values:
    with_images = {row["cohort"] for row in status.cohorts if row["scans"]}
    pairs = [(row["feature_set"], row["cohort"]) for row in status.feature_sets if row["cohort"] in with_images]
    none = {(*pair, branch): 0 for pair in pairs for branch in BRANCHES}
    return none | {(row["feature_set"], row["cohort"], row["modality"]): row["missing"] for row in status.missing}
