"""Scheduled ingests: all cohorts of a file, one run at a time, and what is told of it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from gliolake.errors import ClusterError, InputError
from gliolake.ingest.schedule import ExtractJob, Schedule, ScheduleReport, Steps, notice, read_schedule, run_schedule
from gliolake.ingest.webhook import is_safe, post
from gliolake.sql.status import status
from gliolake.storage.lake import Lake


class Extraction:
    """Stands for `gliolake extract`: notes what it is asked, and fails if told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[ExtractJob] = []
        self.error = error

    def __call__(self, job: ExtractJob) -> dict[str, int]:
        self.asked.append(job)
        if self.error:
            raise self.error
        return {"random_conv-1": 2}


def steps(lake: Lake, extraction: Extraction | None = None) -> Steps:
    return Steps(extraction or Extraction(), lambda: status(lake).splits)


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
    lake: Lake, cohorts: Path, scheduler: str, files_of: Callable[[Lake], dict[str, bytes]]
) -> None:
    schedule, extraction = read_schedule(cohorts), Extraction()
    assert [job.encoding for job in schedule.cohorts] == ["", "cp1252"]
    first = run_schedule(lake, schedule, steps(lake, extraction), scheduler=scheduler)
    assert first.failed == ("ucsf_pdgm",)
    assert first.exit_code == 1
    assert first.views["training"] == (0, 1)
    assert extraction.asked == [ExtractJob(("random_conv",), (), {"box": 48})]
    assert "ucsf_pdgm failed; brats21 1 of 1 scans read; random_conv-1 2 scans computed" in first.summary
    assert "training 0 to 1" in first.summary
    (row,) = lake.read("runs", {"command": "schedule"}).to_pylist()
    told = json.loads(row["arguments"])
    assert row["outcome"] == "failed: ucsf_pdgm"
    assert told["views"]["training"] == [0, 1]
    assert "absent is not a folder" in told["cohorts"]["ucsf_pdgm"]["error"]

    before = files_of(lake)
    second = run_schedule(lake, schedule, steps(lake), scheduler=scheduler)
    assert files_of(lake) == before
    assert (second.exit_code, second.changed) == (1, False)
    assert "nothing new" in second.summary


def test_an_extraction_that_fails_is_told_and_what_was_ingested_stays(
    lake: Lake, cohorts: Path, scheduler: str
) -> None:
    failing = Extraction(ClusterError("No worker.", hint="Start one."))
    report = run_schedule(lake, read_schedule(cohorts), steps(lake, failing), scheduler=scheduler)
    assert report.failed == ("ucsf_pdgm", "extract")
    assert report.extract_error == "No worker. Start one."
    assert len(lake.read("scans")) == 1


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "cohort is missing", r"\[\[cohort\]\]"),
        ("[[cohort]]\ncohort = 'brats21'\nimage = 'x'", "cohort 1.image is a key", "Did you mean images"),
        ("[[cohort]]\ncohort = 'a'\n[extract]\nbackbones = 'x'", "extract.backbones is a key", "Did you mean backbone"),
        ("[[cohort]]\ncohort = 'a'\n[notify]\nwebhook = 'http://example.org/secret'", "no https", "127.0.0.1"),
        (
            "[[cohort]]\ncohort = 'a'\n[notify]\nwebhook_variable = 'GLIOLAKE_NONE'",
            "webhook_variable gives no https",
            "",
        ),
        ("[[cohort]]\ncohort = 'a'\n[notify]\n", "not both", ""),
    ],
)
def test_a_faulty_schedule_is_refused_with_the_nearest_key(tmp_path: Path, text: str, message: str, hint: str) -> None:
    file = tmp_path / "cohorts.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_schedule(file)
    assert "secret" not in str(caught.value)
    assert re.search(hint, caught.value.hint)


@contextmanager
def listener(status_code: int, headers: Mapping[str, str] | None = None) -> Iterator[tuple[str, list[bytes]]]:
    """A web server on this machine; yields an address of it, and what was posted there."""
    heard: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status_code)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/secret", heard
        server.shutdown()
        thread.join()


def test_a_web_address_is_told_and_its_trouble_is_a_warning_that_keeps_it_secret(
    lake: Lake, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with listener(204) as (address, heard):
        report = run_schedule(lake, Schedule("cohorts.toml", (), None, address), steps(lake))
        assert json.loads(heard[0]) == json.loads(json.dumps(notice(report)))
    with listener(302, {"Location": "http://127.0.0.1:9/"}) as (address, heard):
        assert post(address, {}) == "The webhook at 127.0.0.1 answered 302."
        run_schedule(lake, Schedule("cohorts.toml", (), None, address), steps(lake))
    assert post(address, {}) == "The webhook at 127.0.0.1 could not be told (ConnectionRefusedError)."
    assert "The webhook at 127.0.0.1 answered 302." in caplog.messages
    assert "secret" not in caplog.text + repr(Schedule("cohorts.toml", (), None, address))


@pytest.mark.parametrize(
    ("address", "safe"),
    [
        ("https://hooks.example.org/x", True),
        ("http://127.0.0.1:8080/x", True),
        ("http://[::1]/x", True),
        ("http://localhost/x", True),
        ("http://localhost.example.org/x", False),
        ("http://127.0.0.1@example.org/x", False),
        ("http://10.0.0.1/x", False),
        ("file:///etc/passwd", False),
        ("https://", False),
        ("http://[", False),
    ],
)
def test_only_https_and_this_machine_are_told(address: str, safe: bool) -> None:
    assert is_safe(address) is safe


def test_the_summary_is_one_line() -> None:
    assert "\n" not in ScheduleReport(seconds=1.0).summary
