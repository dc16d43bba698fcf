"""What a repair moves, what it leaves, what comes back from quarantine, and what is removed for good."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from gliolake.errors import DamagedFile, NotALake, StagedFileGone, StaleSnapshot, StorageUnreachable
from gliolake.maintenance.compaction import compact
from gliolake.maintenance.purge import purge
from gliolake.maintenance.verify import verify
from gliolake.sql.catalog import connect, damage_named
from gliolake.storage import commit_log as log
from gliolake.storage.backend.files import Files
from gliolake.storage.lake import Lake
from gliolake.storage.quarantine import DAY
from gliolake.storage.transaction import Transaction
from tests.support.full import FULL
from tests.support.rows import label

DATA = f"{'0123456789abcdef' * 2}.parquet"
"""The name of a data file as gliolake gives them."""

FOREIGN = (
    "labels/train_labels.csv", "labels/cohort=brats21/thesis.docx", "labels/cohort=brats21/deeper/" + DATA,
    "labels/" + DATA, "labels/cohort=brats21/" + DATA.upper(), f"labels/cohort=brats21/{DATA}.bak",
    "labels/cohort=brats21/part-0.parquet", "scans/BraTS2021_00000/BraTS2021_00000_t1.nii.gz", "_tmp/draft.txt",
    "_quarantine/letter.pdf", "_quarantine/labels/cohort=brats21/photo.jpg", "_quarantine/.ssh/id_rsa", "_log/notes.md",
    "_delta_log/00000000000000000000.json", f"labels/cohort=a%2/{DATA}", "id_rsa", f"labels/cohort=x/../{DATA[:32]}",
)  # fmt: skip


def made(lake: Lake, commits: int = 5) -> Lake:
    for number in range(commits):
        lake.transact(lambda tx, n=number: tx.append("labels", [label(n)]), run_id="r")  # type: ignore[misc]
    return lake


def rows(root: str) -> int:
    return Lake(root).read("labels").num_rows


def contents(folder: Path) -> dict[str, bytes | None]:
    paths = (path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())
    return {str(path): path.read_bytes() if path.is_file() else None for path in paths}


def age(root: str, seconds: float) -> None:
    """As if the lake had lain there for so long."""
    then = time.time() - seconds
    for path in Path(root).rglob("*"):
        os.utime(path, (then, then), follow_symlinks=False)


def test_what_gliolake_did_not_make_is_called_foreign_and_left_wherever_it_lies(lake: Lake, tmp_path: Path) -> None:
    made(lake)
    secret = tmp_path / "secret"
    secret.write_text("of mine")
    root = Path(lake.root)
    mine = [root / name for name in FOREIGN if ".." not in name]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("of mine")
    taken = f"_quarantine/labels/cohort=brats21/{DATA}"
    (root / "labels" / "cohort=brats21" / DATA).symlink_to(secret)
    (root / taken).symlink_to(secret)
    os.mkfifo(root / "_tmp" / f"1-{'0' * 32}-0")
    (root / "curves").symlink_to(tmp_path, target_is_directory=True)
    age(lake.root, 9 * DAY)
    before = contents(root)
    found = verify(lake, repair=True, grace=-1)
    assert {finding.kind for finding in found.findings} == {"foreign file"}
    named = {finding.path for finding in found.findings}
    assert {str(path.relative_to(root)) for path in mine if "_quarantine" not in path.parts} < named
    assert purge(lake, lain=-1).removed == 0
    assert contents(root) == before
    assert secret.read_text() == "of mine"


def test_a_folder_that_is_no_lake_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "labels" / "cohort=brats21").mkdir(parents=True)
    (tmp_path / "labels" / "cohort=brats21" / DATA).write_text("of mine")
    (tmp_path / "_quarantine" / "labels" / "cohort=brats21").mkdir(parents=True)
    (tmp_path / "_quarantine" / "labels" / "cohort=brats21" / DATA).write_text("of mine")
    age(str(tmp_path), 9 * DAY)
    before = contents(tmp_path)
    for work in (lambda: verify(str(tmp_path), repair=True, grace=-1), lambda: purge(Lake(tmp_path), lain=-1)):
        with pytest.raises(NotALake):
            work()
    assert contents(tmp_path) == before


def test_files_that_a_commit_has_just_replaced_stay_for_readers_however_old_they_are(lake: Lake) -> None:
    made(lake)
    age(lake.root, 30 * DAY)
    con = connect(lake)
    assert compact(lake)["labels"] == 4
    found = verify(lake, repair=True)
    assert [finding.kind for finding in found.findings] == ["replaced file"] * 6  # one is of table runs
    assert con.sql("FROM labels").fetchall()
    age(lake.root, 2 * DAY)  # the commit too, by now
    assert all(not finding.young for finding in verify(lake, repair=True).findings)
    assert verify(lake).quarantined[0] == 6
    assert len(con.sql("SELECT scan_id FROM labels").fetchall()) == 5  # found where the repair put them
    assert purge(lake).removed == 0
    assert purge(lake, lain=-1).removed == 6


def test_readers_whose_files_are_gone_for_good_are_told_apart_from_damage(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gliolake.sql.committed_files.KEPT_BYTES", 0)
    made(lake)
    con, late, snapshot = connect(lake), Lake(lake.root), lake.state()
    builds = 0

    def count(tx: Transaction) -> None:
        nonlocal builds
        builds += 1
        if builds == 1:
            compact(Lake(lake.root))
            verify(lake, repair=True, grace=-1)
            purge(lake, lain=-1)
        tx.upsert("labels", [label(0, age=float(tx.read("labels").num_rows))])

    late.transact(count, run_id="r")  # built again on what is there now
    assert builds > 1
    assert {row["age"] for row in late.read("labels").to_pylist()} == {5.0, None}
    (gone, *_) = snapshot.of_table("labels")
    with pytest.raises(StaleSnapshot, match="merged or replaced"):
        lake.data.load(gone)
    with pytest.raises(StaleSnapshot, match="merged or replaced"), damage_named():
        con.sql("SELECT age FROM labels").fetchall()
    there = lake.state().of_table("labels")[0]
    lake.files.delete(there.path)
    with pytest.raises(DamagedFile, match="is missing"):
        lake.data.load(there)
    with pytest.raises(DamagedFile, match="is missing"):
        Lake(lake.root).read("labels")


def test_what_a_run_staged_stays_for_a_day_and_comes_back_when_it_is_committed_later(root: str) -> None:
    lake = made(Lake(root, create=True))
    staged = lake.stage("labels", [label(9), label(9, cohort="ucsf_pdgm")], run_id="suspended")
    assert verify(root, repair=True).sound
    assert all(lake.files.size(file.path) for file in staged)
    assert verify(root, repair=True, grace=-1).quarantined == (0, 0)
    assert not any(lake.files.size(file.path) for file in staged)
    lake.transact(lambda tx: tx.add(staged), run_id="suspended")
    assert rows(root) == 7
    assert verify(root).findings == ()


@pytest.mark.parametrize("loss", ["purged", "deleted by somebody", "truncated"])
def test_a_commit_of_staged_files_that_are_gone_is_not_made_and_says_so(lake: Lake, loss: str) -> None:
    made(lake)
    staged = lake.stage("labels", [label(9)], run_id="suspended")
    if loss == "purged":
        verify(lake, repair=True, grace=-1)
        purge(lake, lain=-1)
    elif loss == "truncated":
        lake.files.put(staged[0].path, b"PAR1")
    else:
        lake.files.delete(staged[0].path)
    with pytest.raises(StagedFileGone, match="no longer there") as caught:
        lake.transact(lambda tx: tx.add(staged), run_id="suspended")
    assert "same command again" in caught.value.hint
    assert (rows(lake.root), Lake(lake.root).version) == (5, 5)


def repaired_before_the_record(lake: Lake, rival: Lake, patch: pytest.MonkeyPatch) -> None:
    write = log.write_commit

    def late(*given: Any) -> Any:
        patch.setattr(log, "write_commit", write)
        verify(rival, repair=True, grace=-1)
        return write(*given)

    patch.setattr(log, "write_commit", late)


def committed_before_the_move(lake: Lake, rival: Lake, patch: pytest.MonkeyPatch) -> None:
    interrupt(rival.files, "move", patch, before=lake.commit_staged)  # type: ignore[attr-defined]


def committed_after_the_move(lake: Lake, rival: Lake, patch: pytest.MonkeyPatch) -> None:
    interrupt(rival.files, "move", patch, after=lake.commit_staged)  # type: ignore[attr-defined]


def nothing() -> None:
    pass


def interrupt(
    files: Files, verb: str, patch: pytest.MonkeyPatch, before: Callable[[], Any] = nothing, after: Any = nothing
) -> None:
    """Have something done around the first use of a verb."""
    real, uses = getattr(files, verb), iter([True])

    def around(*given: Any) -> Any:
        first = next(uses, False)
        if first:
            before()
        answer = real(*given)
        if first:
            after()
        return answer

    patch.setattr(files, verb, around)


@pytest.mark.parametrize("order", [repaired_before_the_record, committed_before_the_move, committed_after_the_move])
def test_repair_and_commit_at_once_leave_every_file_in_its_place(
    root: str, order: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, rival = made(Lake(root, create=True)), Lake(root)
    staged = lake.stage("labels", [label(9)], run_id="r")
    lake.commit_staged = lambda: lake.transact(lambda tx: tx.add(staged), run_id="r")  # type: ignore[attr-defined]
    order(lake, rival, monkeypatch)
    if order is repaired_before_the_record:
        lake.commit_staged()  # type: ignore[attr-defined]
    else:
        verify(rival, repair=True, grace=-1)
    assert all(lake.files.size(path) == file.bytes for path, file in Lake(root).state().files.items())
    assert rows(root) == 6


def test_a_commit_that_dies_as_a_repair_has_moved_its_file_loses_nothing(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, rival = made(Lake(root, create=True)), Lake(root)
    staged = lake.stage("labels", [label(9)], run_id="r")
    repaired_before_the_record(lake, rival, monkeypatch)
    real, looked = lake.data.make_sure_of, iter([True])

    def dies(added: Any) -> None:
        if not next(looked, False):
            raise KeyboardInterrupt
        real(added)

    monkeypatch.setattr(lake.data, "make_sure_of", dies)
    with pytest.raises(KeyboardInterrupt):
        lake.transact(lambda tx: tx.add(staged), run_id="r")
    assert rows(root) == 6  # read from where it lies
    assert connect(Lake(root)).sql("SELECT count(*) FROM labels").fetchall() == [(6,)]
    assert purge(Lake(root), lain=-1).removed == 0
    found = verify(root)
    assert [(finding.path, finding.kind) for finding in found.findings] == [(staged[0].path, "displaced file")]
    assert verify(root, repair=True).sound
    assert verify(root).findings == ()
    assert (lake.files.size(staged[0].path), rows(root)) == (staged[0].bytes, 6)


class Turns:
    """Threads that take turns at each use of their storage, in an order that a seed chooses."""

    def __init__(self, seed: int) -> None:
        self.choice, self.condition = random.Random(seed), threading.Condition()
        self.waiting: set[str] = set()
        self.alive: set[str] = set()
        self.turn = ""
        self.errors: list[BaseException] = []

    def step(self, name: str) -> None:
        with self.condition:
            self.waiting.add(name)
            self._next()
            self.condition.wait_for(lambda: self.turn == name, timeout=30)
            self.turn = ""
            self.waiting.discard(name)

    def _next(self) -> None:
        if not self.turn and self.waiting == self.alive and self.waiting:
            self.turn = self.choice.choice(sorted(self.waiting))
            self.condition.notify_all()

    def watched(self, name: str, lake: Lake) -> Lake:
        for verb in ("put_all", "create", "get", "size", "list", "move"):
            real = getattr(lake.files, verb)

            def around(*given: Any, real: Any = real) -> Any:
                if threading.current_thread().name == name:
                    self.step(name)
                return real(*given)

            setattr(lake.files, verb, around)
        return lake

    def run(self, works: dict[str, Callable[[], Any]]) -> None:
        def work(name: str) -> None:
            try:
                self.step(name)
                while True:
                    with suppress(StorageUnreachable):  # its temporary file was moved: run the same command again
                        works[name]()
                        break
            except BaseException as error:  # shown by the test
                self.errors.append(error)
            with self.condition:
                self.alive.discard(name)
                self._next()

        self.alive = {*works}
        threads = [threading.Thread(target=work, args=(name,), name=name) for name in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("seed", range(100 if FULL else 4))
def test_commits_and_repairs_in_any_order_of_their_steps_leave_every_committed_file_in_its_place(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gliolake.storage.data_files.ThreadPoolExecutor", Serial)
    root = str(tmp_path / "lake")
    lake = made(Lake(root, create=True), 2)
    staged = lake.stage("labels", [label(9), label(9, cohort="ucsf_pdgm")], run_id="r")
    turns = Turns(seed)
    writer, changer = turns.watched("writer", Lake(root)), turns.watched("changer", Lake(root))
    first, second = turns.watched("first", Lake(root)), turns.watched("second", Lake(root))

    def change_and_back() -> None:  # the file of the first row is let go of, and the same is written again
        for value in (1.0, None):
            changer.transact(lambda tx, value=value: tx.upsert("labels", [label(0, age=value)]), run_id="r")

    turns.run({
        "writer": lambda: writer.transact(lambda tx: tx.add(staged), run_id="r"),
        "changer": change_and_back,
        "first": lambda: verify(first, repair=True, grace=-1),
        "second": lambda: verify(second, repair=True, grace=-1),
    })  # fmt: skip
    for error in turns.errors:
        raise error
    state = Lake(root).state()
    assert all(lake.files.size(path) == file.bytes for path, file in state.files.items())
    assert sorted(row["scan_id"] for row in lake.read("labels").to_pylist()) == [
        "scan-0000", "scan-0001", "scan-0009", "scan-0009",
    ]  # fmt: skip


class Serial:
    """A pool without threads."""

    def __init__(self, _: int) -> None: ...

    def __enter__(self) -> Serial:
        return self

    def __exit__(self, *_: object) -> None: ...

    def map(self, *given: Any) -> Any:
        return map(*given)


@pytest.mark.parametrize("ahead", [400 * DAY, 3600.0, -400 * DAY], ids=["400 days ahead", "an hour ahead", "behind"])
def test_a_machine_whose_clock_is_wrong_moves_and_removes_no_more_than_another(
    root: str, ahead: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = made(Lake(root, create=True))
    lake.stage("labels", [label(9)], run_id="r")
    lake.transact(lambda tx: tx.upsert("labels", [label(0, age=1.0)]), run_id="r")
    (aside,) = lake.stage("labels", [label(10)], run_id="r")
    lake.files.move(aside.path, [f"_quarantine/{aside.path}"])
    usual, before = time.time, {entry.path for entry in lake.files.list()}
    with monkeypatch.context() as wrong:
        wrong.setattr(time, "time", lambda: usual() + ahead)
        assert all(finding.young for finding in verify(root, repair=True).findings)
        assert purge(lake).removed == 0
    assert {entry.path for entry in lake.files.list()} == before


def test_a_file_is_as_old_in_quarantine_as_it_has_lain_there(lake: Lake) -> None:
    made(lake)
    (file,) = lake.stage("labels", [label(9)], run_id="killed")
    age(lake.root, 30 * DAY)
    assert verify(lake, repair=True).quarantined[0] == 0
    assert verify(lake).quarantined[0] == 1
    assert asdict(purge(lake)) == {"removed": 0, "bytes": 0, "waiting": 1, "foreign": 0}
    age(lake.root, DAY + 60)
    assert asdict(purge(lake)) == {"removed": 1, "bytes": file.bytes, "waiting": 0, "foreign": 0}
    assert verify(lake).findings == ()
