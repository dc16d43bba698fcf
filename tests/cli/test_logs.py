"""What is said on the way: in a pipe by the command line, and in a script by whatever handler it has."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from gliolake.cli import logs
from gliolake.cli.logs import begin_logging
from gliolake.log import progress
from gliolake.log.journal import bind_run, logger
from gliolake.log.progress import track


def test_a_pipe_gets_a_line_of_progress_now_and_then_and_none_of_short_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("GLIOLAKE_LOG", raising=False)
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    begin_logging("made")
    for short, said in ((3600.0, []), (0.0, ["counting\\x1b: 1 of 2 in 0 s", "counting\\x1b: 2 of 2 in 0 s"])):
        monkeypatch.setattr(logs, "SHORT", short)
        with track("counting\x1b", 2) as advance:
            advance()
            advance()
        assert capsys.readouterr().err.splitlines() == said


def test_people_read_messages_and_no_events(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("GLIOLAKE_LOG", raising=False)
    begin_logging("made")
    logger.info("run started", extra={"fields": {"lake": "lake"}})
    logger.info("50 % done")
    logger.warning("a file is gone")
    logger.error("It ends.\nWarning: forged", extra={"hint": "Do\x1b this."})
    assert capsys.readouterr().err.splitlines() == [
        "50 % done", "Warning: a file is gone", "gliolake: It ends.", "  Warning: forged", "  Do\\x1b this.",
    ]  # fmt: skip


def test_a_script_has_messages_and_events_by_its_own_handlers_with_run_and_without_passwords(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO), bind_run("r-1"):
        logger.warning("s3://ann:hunter2@bucket is \u202egone")
        logger.info("commit", extra={"fields": {"version": 3, "lake": "s3://ann:hunter2@bucket"}})
    assert caplog.messages == ["s3://…@bucket is \\u202egone", "commit version=3 lake=s3://…@bucket"]
    assert {record.__dict__["run_id"] for record in caplog.records} == {"r-1"}


def test_a_script_that_configures_nothing_reads_warnings_alone() -> None:
    code = "from gliolake.log.journal import logger; logger.info('a'); logger.warning('b\\x1b'); logger.error('c')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert (ended.stdout, ended.stderr) == ("", "b\\x1b\nc\n")
