"""Damage and litter: found, named, and put right."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lake import log
from lake.errors import DamagedFile
from lake.log import record_path
from lake.state import State
from lake.store import Lake
from lake.verify import verify


@pytest.fixture
def filled(lake: Lake, label: Any) -> Lake:
    """A lake of three commits to three partitions."""
    for cohort in ("brats21", "ucsf_pdgm", "third"):
        lake.transact(lambda tx, c=cohort: tx.append("labels", [label(n, cohort=c) for n in range(50)]), run_id="r")  # type: ignore[misc]
    return lake


def committed_file(lake: Lake, cohort: str) -> Path:
    (file,) = lake.state().of_table("labels", {"cohort": cohort})
    return Path(lake.root, file.path)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x40
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("harm", "kind"),
    [(truncate, "truncated file"), (flip_a_byte, "altered file"), (Path.unlink, "missing file")],
)
def test_a_damaged_file_is_named_and_taken_out_and_the_rest_stays(filled: Lake, harm: Any, kind: str) -> None:
    victim = committed_file(filled, "ucsf_pdgm")
    harm(victim)
    found = verify(filled)
    assert not found.sound
    (finding,) = found.findings
    assert (finding.kind, finding.table, finding.rows) == (kind, "labels", 50)
    assert victim.name in finding.path
    with pytest.raises(DamagedFile):
        filled.read("labels")

    repaired = verify(filled, repair=True)
    assert repaired.sound
    assert repaired.restore_commands() == ["gliolake ingest"]
    reopened = Lake(filled.root)
    assert {row["cohort"] for row in reopened.read("labels").to_pylist()} == {"brats21", "third"}
    assert [finding for finding in verify(reopened).findings if finding.is_damage] == []
    if kind != "missing file":
        assert list(Path(filled.root, "_quarantine").rglob(victim.name))


def test_litter_is_found_left_alone_while_young_and_cleared_on_repair(filled: Lake, label: Any) -> None:
    temporary = Path(filled.root, "_tmp", "4711-half-written")
    temporary.parent.mkdir(exist_ok=True)
    temporary.write_bytes(b"PAR1 and then the power went")
    filled.stage("labels", [label(7, cohort="fourth")], run_id="killed")
    filled.transact(lambda tx: tx.upsert("labels", [label(0, age=1.0)]), run_id="r")

    young = verify(filled)
    assert young.sound
    assert {finding.kind for finding in young.findings} == {"temporary file", "uncommitted file", "replaced file"}
    verify(filled, repair=True)
    assert temporary.exists()

    assert not verify(filled, grace=0).sound
    temporary.unlink()
    for path in Path(filled.root, "labels", "cohort=fourth").iterdir():
        path.unlink()
    only_replaced = verify(filled, grace=0)
    assert only_replaced.sound
    assert {finding.kind for finding in only_replaced.findings} == {"replaced file"}
    temporary.write_bytes(b"PAR1 again")
    assert verify(filled, repair=True, grace=0).sound
    assert verify(filled, grace=0).findings == ()
    assert not temporary.exists()
    assert Lake(filled.root).read("labels").num_rows == 150


@pytest.fixture
def long(lake: Lake, label: Any, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake of eleven commits and checkpoints at the fourth and eighth; some of its files come, go and come back."""
    monkeypatch.setattr(log, "CHECKPOINT_EVERY", 4)
    for number in range(11):
        rows = [label(0, age=float(number % 2)), label(number, cohort=f"cohort{number}")]
        lake.transact(lambda tx, rows=rows: tx.upsert("labels", rows), run_id="r")  # type: ignore[misc]
    return lake


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nowhere/at/all")


def another_commit(path: Path) -> None:
    shutil.copy(path.parent / Path(record_path(2)).name, path)


HARMS = (truncate, flip_a_byte, Path.unlink, pipe, folder, dangling_link)
VICTIMS = {
    "data": "labels/cohort=cohort5", "record": record_path(6), "record of the checkpoint": record_path(8),
    "checkpoint": log.checkpoint_path(8), "older checkpoint": log.checkpoint_path(4), "newest": log.NEWEST,
}  # fmt: skip


@pytest.mark.parametrize("victim", VICTIMS)
def test_whatever_happens_to_a_file_it_is_named_and_mended_and_what_others_hold_stays(
    long: Lake, victim: str, tmp_path: Path
) -> None:
    before = long.state().files
    for harm in (*HARMS, *((another_commit,) if "record" in victim else ())):
        root = tmp_path / harm.__name__
        shutil.copytree(long.root, root)
        path = root / VICTIMS[victim]
        if path.is_dir():
            (path,) = path.iterdir()
        harm(path)
        found = verify(Lake(root))
        if victim not in ("older checkpoint", "newest") or harm in (truncate, flip_a_byte, pipe):  # they may be missing
            assert [f.path for f in found.findings if f.is_damage] == [path.relative_to(root).as_posix()], harm
            assert not found.sound
        assert verify(Lake(root), repair=True).sound
        mended = Lake(root)
        assert not [finding for finding in verify(mended).findings if finding.is_damage]
        assert mended.read("labels").num_rows == 12 - (victim == "data")
        kept = {name for name in before if victim != "data" or not path.match(f"*/{Path(name).name}")}
        assert kept == {name for name in mended.state().files if not name.startswith("runs/")}
        assert log.latest_state(mended.files, State())[0].files == mended.state().files, "the records tell the same"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lost=st.sets(st.integers(1, 8), min_size=1))
def test_any_records_before_a_sound_checkpoint_can_be_written_anew(long: Lake, lost: set[int]) -> None:
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(long.root, copy, dirs_exist_ok=True)
        for number in lost:
            Path(copy, record_path(number)).unlink()
        assert verify(Lake(copy), repair=True).sound
        assert log.latest_state(Lake(copy).files, State())[0].files == long.state().files


def test_what_cannot_be_mended_stays_unsound_and_what_is_foreign_is_left_alone(
    long: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    (victim,) = Path(long.root, "labels", "cohort=cohort5").iterdir()
    real = long.files.get

    def forbidden(path: str) -> bytes | None:
        if path.endswith(victim.name):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(long.files, "get", forbidden)
    found = verify(long, repair=True)
    assert [(f.kind, f.lasting) for f in found.findings if f.is_damage] == [("unreadable file", True)]
    assert not found.sound
    assert victim.exists()
    monkeypatch.undo()

    foreign = Path(long.root, "notes", "mine.txt")
    foreign.parent.mkdir()
    foreign.write_text("Of somebody else.")
    lock = Path(long.root, "_tmp", "locks", "schedule-dead.json")
    lock.parent.mkdir(parents=True)
    lock.write_text("{}")
    found = verify(long, repair=True, grace=0)
    assert found.sound
    assert {finding.kind for finding in found.findings} == {"temporary file", "replaced file", "foreign file"}
    assert foreign.exists()
    assert not lock.exists()

    Path(long.root, record_path(10)).unlink()
    found = verify(Lake(long.root), repair=True)
    assert not found.sound
    (finding,) = (finding for finding in found.findings if finding.is_damage)
    assert (finding.kind, finding.path) == ("record behind a gap", record_path(11))
    assert Path(record_path(10)).name in finding.detail


def test_a_damaged_commit_record_is_named(filled: Lake) -> None:
    record = Path(filled.root, record_path(2))
    record.write_bytes(record.read_bytes().replace(b'"rows":50', b'"rows":51'))
    with pytest.raises(DamagedFile, match=record.name):
        Lake(filled.root)
