"""Runs: which command wrote a row, with what arguments, by what code, and how it ended.

A run's row appears together with its first change. A run that changes nothing leaves no trace in the lake, so a
scheduled ingest of an unchanged folder does not make the lake grow.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import platform
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from gliolake.log.journal import bind_run, logger
from gliolake.log.plain_text import without_passwords
from gliolake.storage.lake import Lake
from gliolake.storage.snapshot import Commit
from gliolake.storage.transaction import Transaction


class Run:
    """A command at work on a lake. Its commits go through ``transact``."""

    def __init__(self, lake: Lake, command: str, arguments: Mapping[str, Any], *, recorded: bool = False) -> None:
        self.lake, self.recorded = lake, recorded
        self.started = datetime.now(UTC)
        # The time first, so that runs sort by when they began.
        self.run_id = f"{self.started:%Y%m%dT%H%M%S}-{command}-{uuid.uuid4().hex[:8]}"
        self._row = {
            "run_id": self.run_id,
            "command": command,
            "arguments": _as_json(arguments),
            "code_version": code_version(),
            "host": f"{platform.platform(terse=True)}, Python {platform.python_version()}, {os.cpu_count()} cores",
            "started": self.started,
        }
        self.commits: list[int] = []
        self.outcome = "unfinished"

    def transact(self, build: Callable[[Transaction], None]) -> Commit | None:
        """As ``Lake.transact``, with this run's id; the first change brings the run's own row with it."""

        def with_run(transaction: Transaction) -> None:
            build(transaction)
            if transaction.changes() and not self.commits:
                transaction.upsert("runs", [self._row | {"outcome": "unfinished"}])

        record = self._commit(with_run)
        if record:
            self.commits.append(record.version)
        return record

    def finish(self, outcome: str) -> None:
        """Record how the run ended, if it changed anything or is recorded in any case."""
        self.outcome = outcome
        if self.commits or self.recorded:
            row = self._row | {"outcome": _text(outcome), "ended": datetime.now(UTC)}
            self._commit(lambda transaction: transaction.upsert("runs", [row]))

    def tell(self, arguments: Mapping[str, Any]) -> None:
        """Write the row of a run whose changes other runs made, once it is known what it has to say of them."""
        row = self._row | {"arguments": _as_json(arguments)}
        row |= {"outcome": self.outcome, "ended": datetime.now(UTC)}
        self._commit(lambda transaction: transaction.upsert("runs", [row]))

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Inside, the journal tells of this run; in the end it tells the outcome."""
        begun = time.monotonic()
        with bind_run(self.run_id):
            fields: dict[str, Any] = {"lake": self.lake.root, "code_version": self._row["code_version"]}
            logger.info("run started", extra={"fields": fields})
            try:
                yield
            finally:
                level = logging.INFO if self.outcome == "done" else logging.ERROR
                fields = {"outcome": self.outcome, "commits": self.commits}
                fields["seconds"] = round(time.monotonic() - begun, 3)
                logger.log(level, "run ended", extra={"fields": fields})

    def _commit(self, build: Callable[[Transaction], None]) -> Commit | None:
        record = self.lake.transact(build, run_id=self.run_id)
        if record:
            rows: Counter[str] = Counter()
            for file in record.added:
                rows[file.table] += file.rows
            files = {"files_added": len(record.added), "files_removed": len(record.removed)}
            fields = {"version": record.version, **files, "rows_written": dict(rows)}
            logger.info("commit", extra={"fields": fields})
        return record


@contextmanager
def start_run(lake: Lake, command: str, arguments: Mapping[str, Any], *, recorded: bool = False) -> Iterator[Run]:
    """A run of ``command``; its outcome is recorded also when it fails.

    recorded: also if it changes nothing, since that it was made says something.
    """
    run = Run(lake, command, arguments, recorded=recorded)
    with run.under_way():
        try:
            yield run
        except BaseException as error:
            run.finish(f"{type(error).__name__}: {error}"[:500])
            raise
        run.finish("done")


def _as_json(arguments: Mapping[str, Any]) -> str:
    return _text(json.dumps(arguments, sort_keys=True, default=str, ensure_ascii=False))


def _text(written: str) -> str:
    """The text as others may read it: without passwords of addresses, and with question marks for what is no UTF-8."""
    return without_passwords(written.encode(errors="replace").decode())


@cache
def code_version() -> str:
    """Version of gliolake and, in a checkout, its git commit, with ``+`` for uncommitted changes."""
    version = importlib.metadata.version("gliolake")
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():  # git would go on looking above, and a repository's settings name programs
        return version
    elsewhere = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
            cwd=root, env=elsewhere, capture_output=True, encoding="utf-8", timeout=5, check=True,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return version
    return f"{version} ({described})"
