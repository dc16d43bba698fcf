"""Disks filled or closed in the middle of commits: the old state or the new one, and nothing between."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import time
from collections.abc import Callable
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import pytest

from gliolake.errors import ReadOnlyLake, StorageFull
from gliolake.maintenance.verify import verify
from gliolake.storage import commit_log as log
from gliolake.storage.lake import Lake
from gliolake.storage.snapshot import Snapshot
from gliolake.storage.transaction import Transaction


@pytest.mark.faults
@pytest.mark.parametrize("failing", range(4))
def test_a_disk_that_fills_up_at_any_write_of_a_commit_leaves_the_old_state_or_the_new(
    lake: Lake, label: Any, failing: int, monkeypatch: pytest.MonkeyPatch, record_property: Any
) -> None:
    lake.transact(lambda tx: tx.append("labels", [label(1)]), run_id="r")
    writes = iter(range(100))
    real = os.fsync

    def full(handle: int) -> None:
        if next(writes) == failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    def build(tx: Transaction) -> None:
        tx.upsert("labels", [label(1, age=60.0), label(2)])

    with monkeypatch.context() as filling:
        filling.setattr(os, "fsync", full)
        try:
            lake.transact(build, run_id="r")
            expected = [2]
        except StorageFull:
            expected = [1]
        except OSError:  # the commit was made, only its folder could not be synced: either state may survive a crash
            expected = [1, 2]
    reopened = Lake(lake.root)
    assert reopened.read("labels").num_rows in expected
    assert not any(finding.is_damage for finding in verify(reopened, grace=0).findings)
    reopened.transact(build, run_id="r")  # and the same command goes on from there
    assert sorted(row["age"] or 0 for row in reopened.read("labels").to_pylist()) == [0, 60.0]
    record_property("faults: full disk", 1)


@pytest.mark.faults
def test_a_really_full_disk_is_named_and_the_lake_still_reads(
    small_disk: Path, label: Any, record_property: Any
) -> None:
    lake = Lake(small_disk / "lake", create=True)
    with pytest.raises(StorageFull, match="No space is left") as caught:  # noqa: PT012
        for batch in range(10_000):
            noise = random.Random(batch).randbytes(4000).hex()
            lake.transact(lambda tx, n=batch, x=noise: tx.append("labels", [label(n, diagnosis=x)]), run_id="r")  # type: ignore[misc]
    assert "Nothing was committed" in caught.value.hint
    reopened = Lake(lake.root)
    assert reopened.read("labels").num_rows == reopened.version > 0
    assert verify(reopened, repair=True, grace=0).sound
    record_property("faults: full disk", 1)


@pytest.mark.faults
def test_a_lake_that_cannot_be_written_to_says_so_and_still_reads(
    small_disk: Path, label: Any, record_property: Any
) -> None:
    root = small_disk / "lake"
    Lake(root, create=True).transact(lambda tx: tx.append("labels", [label(1)]), run_id="r")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    lake = Lake(root)
    with pytest.raises(ReadOnlyLake, match=f"{root} cannot be written to: Read-only file system") as caught:
        lake.transact(lambda tx: tx.append("labels", [label(2)]), run_id="r")
    assert "mount it writable" in caught.value.hint
    with pytest.raises(ReadOnlyLake):
        Lake(small_disk / "other", create=True).transact(lambda tx: tx.append("labels", [label(2)]), run_id="r")
    assert Lake(root).read("labels").num_rows == 1
    assert verify(lake).sound
    record_property("faults: read-only lake", 2)


@pytest.mark.faults
def test_a_clock_set_back_changes_neither_the_order_of_commits_nor_what_is_cleared_away(
    tmp_path: Path, label: Any, monkeypatch: pytest.MonkeyPatch, record_property: Any
) -> None:
    """The log's numbers order commits, and nothing else does; what seems to come from the future is young."""
    lake = Lake(tmp_path / "lake", create=True)
    usual = time.time
    for number in range(3):
        monkeypatch.setattr(time, "time", lambda back=number * 86_400.0: usual() - back)
        monkeypatch.setattr("gliolake.storage.lake.datetime", _clock(time.time))
        rows = [label(0, age=float(number)), label(number + 1)]
        lake.transact(lambda tx, rows=rows: tx.upsert("labels", rows), run_id=f"r{number}")
    lake.stage("labels", [label(9, cohort="staged")], run_id="r")  # a file of tomorrow, as this clock has it
    found = verify(lake, repair=True)
    assert {finding.kind for finding in found.findings} == {"uncommitted file", "replaced file"}
    assert all(finding.young for finding in found.findings)
    assert len(list(Path(lake.root, "labels", "cohort=staged").iterdir())) == 1
    _, records = log.latest_snapshot(lake.files, Snapshot())
    assert [record.run_id for record in records] == ["r0", "r1", "r2"]
    assert [record.committed for record in records] == sorted((r.committed for r in records), reverse=True)
    rows = Lake(lake.root).read("labels").to_pylist()
    assert sorted((row["scan_id"], row["age"]) for row in rows) == [
        ("scan-0000", 2.0), ("scan-0001", None), ("scan-0002", None), ("scan-0003", None),
    ]  # fmt: skip
    record_property("faults: clock set back", 2)


def _clock(now: Callable[[], float]) -> type[datetime]:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.fromtimestamp(now(), tz)

    return Clock
