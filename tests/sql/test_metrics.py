"""What node_exporter is given to read: the status, in Prometheus' own format, whole at every moment."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from gliolake.cli.app import app
from gliolake.errors import InputError
from gliolake.schema.vocabulary import BRANCHES
from gliolake.sql.metrics import write_metrics
from gliolake.sql.status import Status, status
from gliolake.storage.lake import Lake
from gliolake.storage.transaction import Transaction

NOW = datetime(2026, 1, 5, tzinfo=UTC)
LABELS = {"cohort", "feature_set", "modality", "view", "table", "command"}
HOSTILE = 'a "set"\\n\\ of\ntwo lines} 1'

Samples = dict[tuple[str, tuple[str, ...]], float]


def samples(file: Path) -> Samples:
    """Values by name and labels, these in the order of their names, read by Prometheus' parser."""
    found: Samples = {}
    for family in text_string_to_metric_families(file.read_text("utf-8")):
        assert family.documentation
        assert family.type == "gauge"
        for sample in family.samples:
            assert set(sample.labels) <= LABELS
            found[sample.name.removeprefix("gliolake_"), tuple(sample.labels.values())] = sample.value
    return found


def test_metrics_say_what_status_says(answering: Lake, tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake", create=True)
    rows = [
        {
            "run_id": command, "command": command, "arguments": "{}", "code_version": "0", "host": "", "started": NOW,
            "ended": None if outcome == "unfinished" else NOW + timedelta(seconds=90), "outcome": outcome,
        }
        for command, outcome in [("ingest", "done"), (HOSTILE, "OSError: x"), ("ccc", "unfinished")]
    ]  # fmt: skip
    vectors = answering.read("features", {"feature_set": "alpha-1"}).to_pylist()
    kept = [row for row in vectors if (row["cohort"], row["modality"]) != ("ucsf_pdgm", "T2")]
    same = {name: answering.read(name).to_pylist() for name in ("cohorts", "scans", "labels", "feature_sets")}

    def write(transaction: Transaction) -> None:
        for table, content in {**same, "features": kept, "runs": rows}.items():
            transaction.append(table, content)

    lake.transact(write, run_id="r")
    told = status(lake, NOW + timedelta(hours=1))
    write_metrics(told, tmp_path / "gliolake.prom", NOW)
    found = samples(tmp_path / "gliolake.prom")

    assert found["scans", ("brats21",)] == 12
    assert found["labelled_scans", ("ucsf_pdgm",)] == 6
    assert found["split_scans", ("training",)] == told.splits["training"] == 12
    assert found["lake_commits", ()] == lake.version
    for cohort, scans in (("brats21", 0), ("ucsf_pdgm", 6)):
        for branch in BRANCHES:
            missing = scans if branch == "T2" else 0
            assert found["vectors_missing", (cohort, "alpha-1", branch)] == missing
    files = list((tmp_path / "lake" / "features").rglob("*.parquet"))
    assert found["table_files", ("features",)] == len(files)
    assert found["table_bytes", ("features",)] == sum(file.stat().st_size for file in files)
    assert found["table_rows", ("features",)] == len(kept)
    good = {key: value for (name, key), value in found.items() if name == "last_run_good"}
    assert good == {("ingest",): 1, (HOSTILE,): 0, ("ccc",): 1}
    assert found["last_run_duration_seconds", ("ingest",)] == 90
    assert found["last_run_start_timestamp_seconds", ("ccc",)] == NOW.timestamp()
    assert ("last_run_end_timestamp_seconds", ("ccc",)) not in found
    assert found["problems", ()] == len(told.problems) == 1
    assert found["metrics_timestamp_seconds", ()] == NOW.timestamp()


@pytest.fixture
def empty(tmp_path: Path) -> Status:
    """The status of a lake with a cohort and nothing else."""
    lake = Lake(tmp_path / "lake", create=True)
    cohort = {"cohort": "c", "role": "training", "label_rule": "ucsf", "description": "", "description_sha256": ""}
    lake.transact(lambda tx: tx.append("cohorts", [cohort]), run_id="r")
    return status(lake)


def test_the_collector_never_sees_half_a_file_and_may_read_it(empty: Status, tmp_path: Path) -> None:
    large = replace(empty, feature_sets=[{"feature_set": f"s-{n}", "cohort": "c"} for n in range(400)],
                    cohorts=[{**empty.cohorts[0], "scans": 1}])  # fmt: skip
    file, over = tmp_path / "gliolake.prom", threading.Event()
    write_metrics(empty, file)
    sizes = {file.stat().st_size}
    write_metrics(large, file)
    sizes.add(file.stat().st_size)
    seen: set[int] = set()

    def collect() -> None:
        while not over.is_set():
            seen.update(len(found.read_bytes()) for found in tmp_path.glob("*.prom"))

    collector = threading.Thread(target=collect)
    collector.start()
    mask = os.umask(0o077)
    try:
        for _ in range(20):
            write_metrics(large, file)
            write_metrics(empty, file)
    finally:
        os.umask(mask)
        over.set()
        collector.join()
    assert {size // 100 for size in seen} <= {size // 100 for size in sizes}  # a time's digits may be fewer
    assert file.stat().st_mode & 0o777 == 0o644
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["gliolake.prom"]


def test_a_file_that_no_collector_would_read_is_refused(empty: Status, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"does not end in \.prom"):
        write_metrics(empty, tmp_path / "gliolake.txt")
    with pytest.raises(InputError, match="does not exist"):
        write_metrics(empty, tmp_path / "absent" / "gliolake.prom")


def test_status_writes_them_beside_what_it_says(empty: Status, tmp_path: Path) -> None:
    file = tmp_path / "gliolake.prom"
    result = CliRunner().invoke(app, ["status", "--lake", empty.root, "--prometheus", str(file), "--json"])
    assert result.exit_code == 0
    assert json.loads(result.output)["version"] == samples(file)["lake_commits", ()] == 1
