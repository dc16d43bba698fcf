"""The commands as a person meets them: what they print, what they say of mistakes, and how fast help comes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gliolake.runs import Run
from gliolake.storage import commit_log as log
from gliolake.storage.lake import Lake
from tests.support.rows import label


@pytest.fixture
def command(command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command line on a lake in a new folder."""
    monkeypatch.setenv("GLIOLAKE_LAKE", str(tmp_path / "lake"))
    return command


@pytest.fixture
def labelled(command: Any, tmp_path: Path) -> Any:
    """The command, on a lake with three BraTS21 labels."""
    file = tmp_path / "train_labels.csv"
    file.write_text("BraTS21ID,MGMT_value\n00000,1\n00002,0\n00003,1\n")
    assert command("ingest", "--cohort", "brats21", "--labels", file).code == 0
    return command


def test_help_answers_in_half_a_second_and_imports_nothing_heavy() -> None:
    begun = time.perf_counter()
    helped = subprocess.run(
        [sys.executable, "-X", "utf8", "-X", "importtime", "-m", "gliolake", "--help"],
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    seconds = time.perf_counter() - begun
    imported = {line.rsplit("|", 1)[-1].strip() for line in helped.stderr.splitlines()}
    assert not imported & {"torch", "dask", "distributed", "duckdb", "pyarrow", "numpy", "pandas", "sklearn"}
    assert "ingest-features" in helped.stdout
    assert seconds < 2.0  # half a second on an idle machine; this one may be busy


def test_the_version_is_the_one_that_runs_record(labelled: Any) -> None:
    (run,) = labelled("sql", "SELECT DISTINCT code_version FROM runs", "--format", "csv").rows()
    assert labelled("--version").out == f"gliolake {run['code_version']}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sql", "SELECT * FROM trainig"], "training"),
        (["sql", "SELECT 1", "--format", "xml"], "csv"),
        (["sql", "CREATE TABLE mine (a INTEGER)"], "read-only"),
        (["ingest", "--cohort", "brats12"], "brats21"),
        (["ingest", "--cohort", "brats21"], "--images"),
        (["ingest", "--cohort", "brats21", "--images", "nowhere"], "nowhere"),
        (["train", "--feature-set", "nothing"], "nothing"),
        (["extract", "--backbone", "random_cov"], "random_conv"),
        (["preview", "BraTS2021_00000"], "no scan named"),
        (["ingest-features", "nowhere.tfrecords"], "nowhere.tfrecords"),
        (["status", "--lake", "gs://somewhere"], "s3://"),
    ],
)
def test_a_mistake_is_answered_in_words_that_help_and_without_a_traceback(
    labelled: Any, arguments: list[str], said: str
) -> None:
    answer = labelled(*arguments)
    assert answer.code == 2
    assert said in answer.err
    assert "Traceback" not in answer.err


def test_asking_a_lake_that_is_not_there_says_how_to_begin_one(command: Any) -> None:
    answer = command("status")
    assert answer.code == 2
    assert "gliolake ingest" in answer.err


def test_verify_fails_on_damage_and_passes_after_repair(labelled: Any, tmp_path: Path) -> None:
    assert labelled("verify").code == 0
    victim = next((tmp_path / "lake" / "labels").rglob("*.parquet"))
    victim.write_bytes(victim.read_bytes()[:-50])
    broken = labelled("verify")
    assert broken.code == 1
    assert "truncated file" in broken.out
    assert victim.name in broken.out
    query = labelled("sql", "SELECT * FROM labels")
    assert query.code == 2
    assert victim.name in query.err
    repaired = labelled("verify", "--repair", "--json")
    assert repaired.code == 0
    assert repaired.json()["findings"][0]["kind"] == "truncated file"
    assert labelled("verify").code == 0
    assert labelled("sql", "SELECT count(*) AS n FROM labels", "--format", "csv").rows() == [{"n": "0"}]


def test_compact_and_repair_and_purge_every_night_lose_nothing_and_say_what_they_did(
    labelled: Any, tmp_path: Path
) -> None:
    kept = "3"
    for _ in range(2):
        assert labelled("compact").code == 0
        assert labelled("verify", "--repair").code == 0
        assert labelled("purge", "--json").json()["removed"] == 0  # nothing has lain for a day
    victim = next((tmp_path / "lake" / "labels").rglob("*.parquet"))
    victim.with_name(f"{'0' * 32}.parquet").write_bytes(b"of a command that was killed")
    repaired = labelled("verify", "--repair", "--grace", "-1")
    assert (repaired.code, "moved into _quarantine" in repaired.out) == (0, True)
    told = labelled("purge")
    assert told.code == 0
    assert "0 files, 0 bytes, removed from _quarantine" in told.out
    assert "been there for less than a day" in told.out
    assert labelled("sql", "SELECT count(*) AS n FROM labels", "--format", "csv").rows() == [{"n": kept}]


def test_a_lake_whose_newest_record_is_damaged_is_closed_and_no_repair_touches_it(
    labelled: Any, tmp_path: Path
) -> None:
    record = max((tmp_path / "lake" / "_log").glob("*.json"))
    record.write_bytes(b"{}")
    (tmp_path / "lake" / "labels" / "cohort=brats21" / f"{'0' * 32}.parquet").write_bytes(b"may be that commit's")
    before = contents(tmp_path)
    closed = labelled("status")
    assert (closed.code, record.name in closed.err, "gliolake verify" in closed.err) == (2, True, True)
    for options in ((), ("--repair",), ("--repair", "--grace", "-1")):
        told = labelled("verify", *options)
        assert told.code == 1
        assert f"damaged record: _log/{record.name}: restore it from a backup" in told.out
    assert contents(tmp_path) == before


def test_a_catalog_is_written_once_and_replaced_only_when_told(labelled: Any, tmp_path: Path) -> None:
    file = tmp_path / "study.duckdb"
    assert labelled("catalog", file, "--json").json()["rows"]["training"] == 3
    assert labelled("catalog", file).code == 2
    assert labelled("catalog", file, "--overwrite").code == 0


def test_compact_merges_what_many_commits_left(command: Any, tmp_path: Path) -> None:
    for number in range(5):
        file = tmp_path / f"labels_{number}.csv"
        file.write_text(f"BraTS21ID,MGMT_value\n{number:05d},1\n")
        assert command("ingest", "--cohort", "brats21", "--labels", file).code == 0
    assert command("compact", "--json").json()["labels"] == 4
    assert command("sql", "SELECT count(*) AS n FROM labels", "--format", "csv").rows() == [{"n": "5"}]


@pytest.mark.parametrize(
    ("number", "age"), [(1, "an older"), (log.FORMAT - 1, "an older"), (log.FORMAT + 1, "a newer")]
)
def test_a_lake_of_another_format_is_refused_by_every_command_and_left_alone(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, number: int, age: str
) -> None:
    file = tmp_path / "train_labels.csv"
    file.write_text("BraTS21ID,MGMT_value\n00000,1\n00002,0\n00003,1\n")
    with monkeypatch.context() as then:
        then.setattr(log, "FORMAT", number)
        Lake(tmp_path / "lake", create=True).transact(lambda tx: tx.append("labels", [label(1)]), run_id="r")
    before = contents(tmp_path)
    advice = {
        "an older": "Ingest again into a new folder. Nothing was changed here; "
        "the version that wrote the lake reads it.",
        "a newer": "Update gliolake, or open the lake with the version that wrote it.",
    }
    for asked in (
        ("ingest", "--cohort", "brats21", "--labels", file), ("extract",), ("train", "--feature-set", "x"), ("status",),
        ("sql", "FROM labels"), ("export", "labels", "--format", "csv"), ("catalog", tmp_path / "file.duckdb"),
        ("report",), ("verify",), ("verify", "--repair", "--grace", "0"), ("compact",),
    ):  # fmt: skip
        answer = command(*asked)
        assert (answer.code, answer.out) == (2, "")
        assert answer.err.splitlines() == [
            f"gliolake: The lake at {tmp_path / 'lake'} was written by {age} gliolake, in format {number}; "
            f"this one reads {log.FORMAT}.",
            f"  {advice[age]}",
        ]
    assert contents(tmp_path) == before


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_preprocessing_says_what_it_needs_and_what_there_is_nothing_to_do_for(
    labelled: Any, tmp_path: Path, reference: Path
) -> None:
    answer = labelled("preprocess")
    assert (answer.code, answer.out) == (2, "")
    assert "The lake has no scans" in answer.err
    answer = labelled("preprocess", "--skip", "bais")
    assert "'bais' is not one of 'bias'" in answer.err
    assert labelled("preprocess", "--template", tmp_path / "none.nii.gz").code == 2
    images = reference / "scans" / "BraTS21"
    assert labelled("ingest", "--cohort", "brats21", "--images", images, "--workers", "1").code == 0
    told = labelled("preprocess", "--json").json()
    assert [(one["cohort"], one["steps"], one["scans"]) for one in told["cohorts"]] == [("brats21", [], 2)]
    assert "nothing to do  clips are cut from the files of its 2 scans" in labelled("preprocess").out
    answer = labelled("preview", "BraTS2021_00000", "--stage", "after", "--output", tmp_path / "a.png")
    assert answer.code == 2
    assert "No preprocessed volumes of scan BraTS2021_00000 are kept" in answer.err


def test_links_in_the_path_of_a_lake_are_gone_through_when_the_user_says_so(labelled: Any, tmp_path: Path) -> None:
    lake, link = tmp_path / "lake", tmp_path / "link"
    link.symlink_to(lake)
    refused = labelled("status", "--lake", link)
    assert (refused.code, "Traceback" in refused.err) == (2, False)
    assert f"{link} is a symbolic link" in refused.err
    assert "--linked-lake" in refused.err
    assert labelled("--linked-lake", "status", "--lake", link).code == 0
    del os.environ["GLIOLAKE_LINKED_LAKE"]
    (lake / "labels").rename(tmp_path / "elsewhere")
    (lake / "labels").symlink_to(tmp_path / "elsewhere")
    question = ("sql", "--lake", lake, "SELECT count(*) FROM labels", "--format", "csv")
    refused = labelled(*question)
    assert (refused.code, "Traceback" in refused.err) == (2, False)
    assert f"{lake / 'labels'} is a symbolic link" in refused.err
    for asked in (["status"], ["export", "labels", "--format", "csv", "--output", tmp_path / "a.csv"]):
        refused = labelled(*asked)
        assert (refused.code, "Traceback" in refused.err) == (2, False), asked
        assert f"{lake / 'labels'} is a symbolic link" in refused.err
        assert "--linked-lake" in refused.err
    assert labelled("--linked-lake", *question).out.split()[-1] == "3"
    del os.environ["GLIOLAKE_LINKED_LAKE"]


@pytest.mark.parametrize("journal", ["", "json"])
def test_a_password_in_the_address_of_a_lake_is_shown_nowhere(
    command: Any, monkeypatch: pytest.MonkeyPatch, journal: str
) -> None:
    monkeypatch.setenv("GLIOLAKE_LOG", journal)
    for address in ("s3://ann:hunter2@bucket/lake", "https://ann:hunter2@host/lake"):
        refused = command("status", "--lake", address)
        assert refused.code == 2
        assert "s3://bucket/prefix" in refused.err
        assert "hunter2" not in refused.out + refused.err
    monkeypatch.setenv("GLIOLAKE_CONFIG", "")  # which --config sets, as this process
    for misplaced in (
        [f"--lake={address}", "status"], [address], ["status", address], ["ingest", "--lake", address],
        ["ingest", "--lake", "new", "--cohort", "brats21", "--images", address],
        ["extract", "--lake", "new", "--backbone", "random_conv", "--scheduler", "tls://ann:hunter2@host:1"],
        ["predict", "--model", address], ["study", "run", "--lake", "new", address], ["--config", address, "status"],
    ):  # fmt: skip
        refused = command(*misplaced)
        assert refused.code == 2, misplaced
        assert "hunter2" not in refused.out + refused.err, misplaced


def test_a_run_keeps_no_password_of_an_address(lake: Lake) -> None:
    arguments = {"images": "https://ann:hunter2@host/a", "labels": ["s3:/ann:hunter2@b"]}
    run = Run(lake, "ingest", arguments)
    run.transact(lambda tx: tx.append("labels", [label(1)]))
    run.finish("OSError: tls://ann:hunter2@host is gone")
    (row,) = lake.read("runs").to_pylist()
    assert "hunter2" not in str(row)
    assert ("https://…@host/a" in row["arguments"], "tls://…@host is gone" in row["outcome"]) == (True, True)
