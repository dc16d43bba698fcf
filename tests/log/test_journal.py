"""The journal of a command that nobody watches: every line of standard error is JSON, and says which run it is of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

AT_WORK = """
import logging, warnings
from gliolake.log import progress
from gliolake.cluster.client import open_cluster
from gliolake.cluster.tasks import map_tasks
from gliolake.log.journal import begin_journal, bind_run, logger
from gliolake.log.progress import track

def work(number):
    warnings.warn("two\\nlines")
    logging.getLogger("distributed.worker").info("not worth a line")
    raise ValueError("bad \\x1b[31m item")

if __name__ == "__main__":
    begin_journal("made")
    progress.INTERVAL = 0.0
    with bind_run("outer"):
        for run in ("first", "second"):
            with bind_run(run), open_cluster(workers=1) as client:
                list(map_tasks(client, work, [0], description="failing", retries=0))
        with track("counting", 3) as advance:
            for _ in range(3):
                advance()
        logger.info("nearly over")
    raise RuntimeError("unforeseen")
"""


def lines_of(told: str) -> list[dict[str, Any]]:
    """Every line of standard error, which is JSON and has what all lines have."""
    lines = [json.loads(line) for line in told.splitlines()]
    for line in lines:
        assert list(line)[:5] == ["time", "level", "event", "command", "run_id"]
        assert datetime.fromisoformat(line["time"]).utcoffset() == timedelta(0)
    return lines


def journal_of(command: list[str], folder: Path, form: str = "json", **variables: str) -> tuple[int, str]:
    """Exit code and standard error."""
    environment = {**os.environ, "GLIOLAKE_LOG": form, "GLIOLAKE_LAKE": str(folder / "lake"), **variables}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False
    )
    return done.returncode, done.stderr


def test_a_scheduled_ingest_tells_its_runs_commits_and_failures_and_no_secret(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("BraTS21ID,MGMT_value\n1,1\n2,x\n")
    (tmp_path / "cohorts.toml").write_text("""
[[cohort]]
cohort = "brats21"
labels = "labels.csv"
[[cohort]]
cohort = "ucsf_pdgm"
images = "absent"
""")
    arguments = ["-m", "gliolake", "ingest", "--config", "cohorts.toml"]
    code, told = journal_of(arguments, tmp_path, AWS_SECRET_ACCESS_KEY="hush-key")  # noqa: S106
    assert code == 1
    assert "hush" not in told
    lines = lines_of(told)
    assert {line["command"] for line in lines} == {"ingest"}
    events = {line["event"]: line for line in lines}
    runs = [line["run_id"] for line in lines if line["event"] == "run started"]
    assert [run.split("-")[1] for run in runs] == ["schedule", "ingest"]
    ended = {line["run_id"]: (line["level"], line["outcome"]) for line in lines if line["event"] == "run ended"}
    assert ended == {runs[0]: ("error", "failed: ucsf_pdgm"), runs[1]: ("info", "done")}
    commits = [line for line in lines if line["event"] == "commit"]
    assert [line["version"] for line in commits] == [1, 2, 3]
    assert commits[0]["run_id"] == runs[1]
    assert commits[0]["rows_written"] == {"cohorts": 1, "exclusions": 1, "labels": 1, "runs": 1}
    assert events["cohort ingested"]["excluded"] == {"unreadable value": 1}
    assert (events["step failed"]["step"], events["step failed"]["run_id"]) == ("ucsf_pdgm", runs[0])
    assert events["step failed"]["hint"] == "Check --images."
    assert (lines[-1]["event"], lines[-1]["exit_code"], lines[-1]["level"]) == ("command ended", 1, "error")


def test_dask_its_workers_warnings_progress_and_a_crash_are_lines_too(tmp_path: Path) -> None:
    (tmp_path / "at_work.py").write_text(AT_WORK)
    code, told = journal_of(["at_work.py"], tmp_path)
    assert code == 1
    lines = lines_of(told)
    of_workers = [line for line in lines if "worker" in line]
    assert {(line["run_id"], line["logger"]) for line in of_workers} == {
        (run, logger) for run in ("first", "second") for logger in ("py.warnings", "distributed.worker")
    }
    assert all("bad" in line["message"] for line in of_workers if line["logger"] == "distributed.worker")
    counted = [line["done"] for line in lines if line.get("doing") == "counting"]
    assert counted == [1, 2, 3]
    assert lines[-2]["event"] == "note"
    assert (lines[-2]["run_id"], lines[-2]["message"]) == ("outer", "nearly over")
    assert lines[-1]["event"] == "crashed"
    assert lines[-1]["message"] == "RuntimeError: unforeseen"
    assert "at_work.py" in lines[-1]["traceback"]


@pytest.mark.parametrize(("form", "said"), [("", "gliolake: There is no lake"), ("jason", "Did you mean json?")])
def test_people_are_told_as_ever_and_a_form_that_nobody_knows_is_refused(tmp_path: Path, form: str, said: str) -> None:
    code, told = journal_of(["-m", "gliolake", "status"], tmp_path, form)
    assert code == 2
    assert said in told
    assert "{" not in told


def test_what_ends_a_command_is_a_line_with_its_hint(tmp_path: Path) -> None:
    code, told = journal_of(["-m", "gliolake", "status"], tmp_path)
    error, ended = lines_of(told)
    assert code == ended["exit_code"] == 2
    assert error["level"] == "error"
    assert "There is no lake" in error["message"]
    assert "gliolake ingest" in error["hint"]
