"""Scheduled ingests: all cohorts of a file, one run at a time, and what is told of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gliolake.cli.schedule import run_schedule
from gliolake.errors import ClusterError, InputError
from gliolake.features.clips import ClipSettings
from gliolake.features.extraction.report import ExtractReport, SetReport
from gliolake.ingest.schedule import ScheduleReport, read_schedule
from gliolake.storage.lake import Lake


@dataclass
class Extraction:
    """Stands for `gliolake extract`: notes what it is asked, and fails if told to."""

    error: Exception | None = None
    asked: list[tuple[Any, ...]] = field(default_factory=list)

    def __call__(self, lake: Lake, backbones: tuple[str, ...], **options: Any) -> ExtractReport:
        self.asked.append((backbones, options["cohorts"], options["settings"]))
        if self.error:
            raise self.error
        return ExtractReport((SetReport("random_conv-1", "", 2, 0, ()),), True, 2, 1.0)


@pytest.fixture
def extraction(monkeypatch: pytest.MonkeyPatch) -> Extraction:
    """In place of `gliolake extract`."""
    fake = Extraction()
    monkeypatch.setattr("gliolake.features.extraction.command.extract", fake)
    return fake


@pytest.fixture
def cohorts(tmp_path: Path, writer: Any) -> Path:
    """A schedule of a sound cohort of one scan, and of one whose folder is missing."""
    writer.scan(tmp_path / "brats", "BraTS2021_00001")
    (tmp_path / "train_labels.csv").write_text("BraTS21ID,MGMT_value\n1,1\n")
    file = tmp_path / "cohorts.toml"
    file.write_text("""
[[cohort]]
cohort = "ucsf_pdgm"
images = "absent"
[[cohort]]
cohort = "brats21"
images = "brats"
labels = "train_labels.csv"
encoding = "cp1252"
[extract]
backbone = ["random_conv"]
box = 48
""")
    return file


def test_a_cohort_that_fails_costs_itself_alone_and_a_run_that_finds_nothing_new_writes_nothing(
    lake: Lake, cohorts: Path, scheduler: str, extraction: Extraction, files_of: Callable[[Lake], dict[str, bytes]]
) -> None:
    assert [job.encoding for job in read_schedule(cohorts).cohort] == ["", "cp1252"]
    first = run_schedule(lake, cohorts, scheduler=scheduler)
    assert first.failed == ("ucsf_pdgm",)
    assert first.exit_code == 1
    assert first.views["training"] == (0, 1)
    assert extraction.asked == [(("random_conv",), None, ClipSettings(box=48))]
    assert "ucsf_pdgm failed; brats21 1 of 1 scans read; random_conv-1 2 scans computed" in first.summary
    assert "training 0 to 1" in first.summary
    (row,) = lake.read("runs", {"command": "schedule"}).to_pylist()
    told = json.loads(row["arguments"])
    assert row["outcome"] == "failed: ucsf_pdgm"
    assert told["views"]["training"] == [0, 1]
    assert "absent is not a folder" in told["cohorts"]["ucsf_pdgm"]["error"]

    before = files_of(lake)
    second = run_schedule(lake, cohorts, scheduler=scheduler)
    assert files_of(lake) == before
    assert (second.exit_code, second.changed) == (1, False)
    assert "nothing new" in second.summary


def test_an_extraction_that_fails_is_told_and_what_was_ingested_stays(
    lake: Lake, cohorts: Path, scheduler: str, extraction: Extraction
) -> None:
    extraction.error = ClusterError("No worker.", hint="Start one.")
    report = run_schedule(lake, cohorts, scheduler=scheduler)
    assert report.failed == ("ucsf_pdgm", "extract")
    assert report.extract_error == "No worker. Start one."
    assert len(lake.read("scans")) == 1


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", r"cohort is missing: write a \[\[cohort\]\]", ""),
        ("[[cohort]]\ncohort = 'brats21'\nimage = 'x'", "cohort 1.image is a key", "Did you mean images"),
        ("[[cohort]]\ncohort = 'a'\n[extract]\nbackbones = 'x'", "extract.backbones is a key", "Did you mean backbone"),
        ("cohort = 3\nextrat = 4", r"2 faults:\n  cohort is 3; expected a list\.\n  extrat is a key .* extract\?", ""),
    ],
)
def test_a_faulty_schedule_is_refused_with_the_nearest_key(tmp_path: Path, text: str, message: str, hint: str) -> None:
    file = tmp_path / "cohorts.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_schedule(file)
    assert re.search(hint, caught.value.hint)


def test_the_summary_is_one_line() -> None:
    assert "\n" not in ScheduleReport(seconds=1.0).summary
