"""Damage and litter: found, named, and put right."""

from __future__ import annotations

import errno
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from gliolake.errors import DamagedFile
from gliolake.maintenance.purge import purge
from gliolake.maintenance.verify import verify
from gliolake.storage import commit_log as log
from gliolake.storage.backend.files import Files
from gliolake.storage.backend.opening import open_files
from gliolake.storage.commit_log import record_path
from gliolake.storage.lake import Lake
from tests.support.rows import label as label_row


@pytest.fixture
def filled(root: str, label: Any) -> Lake:
    """A lake of three commits to three partitions."""
    lake = Lake(root, create=True)
    for cohort in ("brats21", "ucsf_pdgm", "third"):
        lake.transact(lambda tx, c=cohort: tx.append("labels", [label(n, cohort=c) for n in range(50)]), run_id="r")  # type: ignore[misc]
    return lake


def put(files: Files, path: str, data: bytes) -> None:
    files.delete(path)
    files.put(path, data)


def truncate(files: Files, path: str) -> None:
    put(files, path, (files.get(path) or b"")[:-100])


def flip_a_byte(files: Files, path: str) -> None:
    data = bytearray(files.get(path) or b"")
    data[len(data) // 2] ^= 0x40
    put(files, path, bytes(data))


def empty(files: Files, path: str) -> None:
    put(files, path, b"")


def delete(files: Files, path: str) -> None:
    files.delete(path)


def another_commit(files: Files, path: str) -> None:
    put(files, path, files.get(log.record_path(2)) or b"")


def pipe(files: Files, path: str) -> None:
    files.delete(path)
    os.mkfifo(files.url(path))


def folder(files: Files, path: str) -> None:
    files.delete(path)
    Path(files.url(path)).mkdir()


def dangling_link(files: Files, path: str) -> None:
    files.delete(path)
    Path(files.url(path)).symlink_to("/nowhere/at/all")


HARMS = (truncate, flip_a_byte, empty, delete)
FOLDER_HARMS = (pipe, folder, dangling_link)


@pytest.mark.parametrize(
    ("harm", "kind"),
    [(truncate, "truncated file"), (flip_a_byte, "altered file"), (delete, "missing file")],
)
def test_a_damaged_file_is_named_and_taken_out_and_the_rest_stays(filled: Lake, harm: Any, kind: str) -> None:
    (victim,) = filled.state().of_table("labels", {"cohort": "ucsf_pdgm"})
    harm(filled.files, victim.path)
    found = verify(filled)
    assert not found.sound
    (finding,) = found.findings
    assert (finding.kind, finding.table, finding.rows, finding.path) == (kind, "labels", 50, victim.path)
    with pytest.raises(DamagedFile):
        filled.read("labels")

    repaired = verify(filled, repair=True)
    assert repaired.sound
    assert repaired.restore_commands() == ["gliolake ingest --cohort COHORT --images DIR --labels CSV"]
    reopened = Lake(filled.root)
    assert {row["cohort"] for row in reopened.read("labels").to_pylist()} == {"brats21", "third"}
    assert [finding for finding in verify(reopened).findings if finding.is_damage] == []
    assert (filled.files.get(f"_quarantine/{victim.path}") is None) == (kind == "missing file")


def test_what_is_left_over_stays_for_a_day_then_goes_to_quarantine_and_is_deleted_by_purge_alone(
    filled: Lake, label: Any
) -> None:
    files, temporary = filled.files, f"_tmp/4711-{'0' * 32}-0"
    files.put(temporary, b"PAR1 and then the power went")
    (staged,) = filled.stage("labels", [label(7, cohort="fourth")], run_id="killed")
    (replaced,) = filled.state().of_table("labels", {"cohort": "brats21"})
    filled.transact(lambda tx: tx.upsert("labels", [label(0, age=1.0)]), run_id="r")
    before = {entry.path: files.get(entry.path) for entry in files.list()}
    kinds = {temporary: "temporary file", staged.path: "uncommitted file", replaced.path: "replaced file"}

    for repair in (False, True):
        young = verify(filled, repair=repair)
        assert young.sound
        assert {finding.path: finding.kind for finding in young.findings} == kinds
        assert all(finding.young for finding in young.findings)
    assert {entry.path: files.get(entry.path) for entry in files.list()} == before

    assert not verify(filled, grace=-1).sound
    assert verify(filled, repair=True, grace=-1).sound
    after = {path if path not in kinds else f"_quarantine/{path}": data for path, data in before.items()}
    assert {entry.path: files.get(entry.path) for entry in files.list()} == after
    found = verify(filled)
    assert (found.findings, found.quarantined[0]) == ((), 3)
    assert asdict(purge(filled)) == {"removed": 0, "bytes": 0, "waiting": 3, "foreign": 0}
    assert {entry.path: files.get(entry.path) for entry in files.list()} == after
    assert purge(filled, lain=-1).removed == 3
    assert {entry.path for entry in files.list()} == before.keys() - kinds.keys()
    assert Lake(filled.root).read("labels").num_rows == 150


def eleven_commits(root: str, label: Any, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake with checkpoints at the fourth and eighth commit; some of its files come, go and come back."""
    lake = Lake(root, create=True)
    monkeypatch.setattr(log, "CHECKPOINT_EVERY", 4)
    for number in range(11):
        rows = [label(0, age=float(number % 2)), label(number, cohort=f"cohort{number}")]
        lake.transact(lambda tx, rows=rows: tx.upsert("labels", rows), run_id="r")  # type: ignore[misc]
    return lake


@pytest.fixture
def long(tmp_path: Path, label: Any, monkeypatch: pytest.MonkeyPatch) -> Lake:
    return eleven_commits(str(tmp_path / "lake"), label, monkeypatch)


VICTIMS = {
    "data": "labels/cohort=cohort5/", "record": record_path(6), "record of the checkpoint": record_path(8),
    "checkpoint": log.checkpoint_path(8), "older checkpoint": log.checkpoint_path(4), "newest": log.NEWEST,
}  # fmt: skip


@pytest.mark.parametrize("root", ["folder", pytest.param("S3", marks=pytest.mark.long)], indirect=True)
def test_whatever_happens_to_a_file_it_is_named_and_what_others_hold_stays(
    root: str, label: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = eleven_commits(root, label, monkeypatch)
    before, contents = whole.state().files, {entry.path: whole.files.get(entry.path) for entry in whole.files.list()}
    harms = (truncate, delete) if root.startswith("s3://") else (*HARMS, *FOLDER_HARMS)
    for victim, prefix in VICTIMS.items():
        for harm in (*harms, *((another_commit,) if "record" in victim else ())):
            files = open_files(f"{root}-{victim}-{harm.__name__}")
            files.put_all(contents)
            (path,) = (path for path in contents if path.startswith(prefix))
            harm(files, path)
            found = verify(files.root)
            if victim not in ("older checkpoint", "newest") or harm in (truncate, flip_a_byte, pipe):  # may be missing
                assert [f.path for f in found.findings if f.is_damage] == [path], harm
                assert not found.sound
            assert verify(files.root, repair=True).sound == ("record" not in victim)
            mended = Lake(files.root)
            left = [finding for finding in verify(mended).findings if finding.is_damage]
            assert [(f.path, f.lasting) for f in left] == ([(path, True)] if "record" in victim else [])
            assert mended.read("labels").num_rows == 12 - (victim == "data")
            kept = {name for name in before if name != path}
            assert kept == {name for name in mended.state().files if not name.startswith("runs/")}


@pytest.mark.parametrize("harm", [*HARMS, *FOLDER_HARMS])
def test_a_lake_opens_again_once_its_damaged_records_are_restored(long: Lake, harm: Any) -> None:
    victim = record_path(10)
    record = long.files.get(victim) or b""
    state = long.state()
    long.stage("labels", [{**label_row(99), "cohort": "waiting"}], run_id="r")
    harm(long.files, victim)
    before = {entry.path: entry.size for entry in long.files.list()}
    with pytest.raises(DamagedFile, match=victim) as caught:
        Lake(long.root, create=True)
    assert "backup" in caught.value.hint
    for repair in (False, True):
        found = verify(long.root, repair=repair, grace=-1)
        assert [(f.path, f.lasting) for f in found.findings] == [(victim, True)]
        assert "1 sound commits, up to number 11" in found.findings[0].detail
        assert not found.sound
    assert {entry.path: entry.size for entry in long.files.list()} == before
    place = Path(long.root, victim)
    if place.is_dir():
        place.rmdir()
    else:
        place.unlink(missing_ok=True)
    long.files.put(victim, record)
    assert Lake(long.root).state().files == state.files


def test_a_record_that_is_whole_but_of_another_lake_is_named(lake: Lake, tmp_path: Path) -> None:
    other = Lake(tmp_path / "other", create=True)
    for number in range(4):
        lake.transact(lambda tx, n=number: tx.upsert("labels", [label_row(0, age=float(n))]), run_id="r")  # type: ignore[misc]
        other.transact(lambda tx, n=number: tx.upsert("labels", [label_row(5, age=float(n))]), run_id="r")  # type: ignore[misc]
    lake.files.put(record_path(3), other.files.get(record_path(3)) or b"")
    with pytest.raises(DamagedFile, match=r"removes .* which no commit before it added") as caught:
        Lake(lake.root)
    assert "gliolake verify" in caught.value.hint
    assert [f.path for f in verify(lake.root, repair=True).findings] == [record_path(3)]


def test_what_is_no_record_of_this_log_is_foreign_and_left_alone(lake: Lake) -> None:
    lake.transact(lambda tx: tx.append("labels", [label_row(1)]), run_id="r")
    for name in (record_path(10**19), "_log/notes.txt"):
        lake.files.put(name, b"{}")
    found = verify(lake, repair=True, grace=-1)
    assert {finding.path: finding.kind for finding in found.findings} == {
        record_path(10**19): "foreign file",
        "_log/notes.txt": "foreign file",
    }
    assert found.sound
    assert lake.files.get("_log/notes.txt")


def test_what_cannot_be_mended_stays_unsound_and_what_is_foreign_is_left_alone(
    long: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    (victim,) = Path(long.root, "labels", "cohort=cohort5").iterdir()
    real = long.files.get

    def forbidden(path: str, most: int) -> bytes | None:
        if path.endswith(victim.name):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path, most)

    monkeypatch.setattr(long.files, "get", forbidden)
    found = verify(long, repair=True)
    assert [(f.kind, f.lasting) for f in found.findings if f.is_damage] == [("unreadable file", True)]
    assert not found.sound
    assert victim.exists()
    monkeypatch.undo()

    foreign = Path(long.root, "notes", "mine.txt")
    foreign.parent.mkdir()
    foreign.write_text("Of somebody else.")
    found = verify(long, repair=True, grace=-1)
    assert found.sound
    assert {finding.kind for finding in found.findings} == {"replaced file", "foreign file"}
    assert foreign.exists()
