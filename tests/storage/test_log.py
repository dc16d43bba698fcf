"""States of a lake: what remains after records are replayed, and how often it is written out."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from operator import methodcaller
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gliolake.errors import DamagedFile, GliolakeError, NewerLake, StorageUnreachable
from gliolake.maintenance.verify import verify
from gliolake.storage import commit_log as log
from gliolake.storage.backend.files import Entry
from gliolake.storage.backend.local import LocalFiles
from gliolake.storage.lake import Lake
from gliolake.storage.snapshot import Commit, DataFile, Snapshot

FILES = st.builds(
    lambda table, cohort, first, width: DataFile(
        table,
        f"{table}/cohort={cohort}/{first}-{width}",
        {"cohort": cohort},
        1,
        1,
        "0" * 64,
        (first,),
        (first + width,),
    ),
    st.sampled_from(["labels", "scans"]),
    st.sampled_from(["a", "b"]),
    st.integers(0, 20),
    st.integers(0, 5),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Commit]:
    """Records that add files and remove some of those that are there."""
    records: list[Commit] = []
    there: dict[str, DataFile] = {}
    for version in range(1, draw(st.integers(0, 8)) + 1):
        removed = draw(
            st.lists(st.sampled_from([*there.values()]), unique_by=lambda file: file.path) if there else st.just([])
        )
        added = draw(st.lists(FILES, max_size=4, unique_by=lambda file: file.path))
        for file in removed:
            del there[file.path]
        there.update((file.path, file) for file in added)
        records.append(Commit(version, "run", "2026-01-01T00:00:00", tuple(added), tuple(removed)))
    return records


@given(histories(), st.integers(0, 8), st.integers(0, 20), st.integers(0, 20))
def test_a_state_is_what_its_records_left_however_they_are_replayed(
    records: list[Commit], halfway: int, one: int, other: int
) -> None:
    expected: dict[str, DataFile] = {}
    for record in records:
        for file in record.removed:
            del expected[file.path]
        expected.update((file.path, file) for file in record.added)
    half = Snapshot().after(records[:halfway])
    states = [Snapshot().after(records), half.after(records[halfway:]), Snapshot.of(len(records), expected.values())]
    span = (min(one, other),), (max(one, other),)
    for state in states:
        assert (state.version, state.files) == (len(records), expected)
        labels = [file for _, file in sorted(expected.items()) if file.table == "labels"]
        assert state.of_table("labels") == labels
        near = [
            file
            for file in labels
            if file.partition["cohort"] == "a" and file.last >= span[0] and file.first <= span[1]
        ]
        assert state.of_table("labels", {"cohort": "a"}, span) == near
    assert half == Snapshot().after(records[:halfway])  # a snapshot stays as it was


def test_a_record_that_removes_what_is_not_there_is_refused() -> None:
    file = DataFile("labels", "labels/x", {"cohort": "a"}, 1, 1, "0" * 64, ("1",), ("1",))
    with pytest.raises(GliolakeError, match="Commit 7 removes labels/x"):
        Snapshot(6).after([Commit(7, "run", "2026-01-01T00:00:00", (), (file,))])


@pytest.mark.parametrize("files", [1, 1_000, 100_000])
def test_what_a_commit_pays_for_checkpoints_does_not_grow_with_the_lake(files: int) -> None:
    file = DataFile("labels", "labels/x", {}, 1, 1, "0" * 64, ("1",), ("1",))
    parts = {file.part: dict.fromkeys(map(str, range(files)), file)}
    commits = 2_000
    due = [version for version in range(1, commits + 1) if log.checkpoint_due(Snapshot(version, parts))]
    assert due
    assert due[0] >= log.CHECKPOINT_EVERY
    assert len(due) * files / commits <= log.CHECKPOINT_FILES


class Counted(LocalFiles):
    """Files that count what is asked of them."""

    asked = 0

    def get(self, path: str, most: int | None = None) -> bytes | None:
        self.asked += 1
        return super().get(path, most)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        self.asked += 1_000  # a listing's cost grows with the log
        return super().list(prefix)


def test_opening_a_lake_costs_the_commits_since_its_checkpoint_and_no_listing(tmp_path: Path, label: Any) -> None:
    lake = Lake(tmp_path, create=True)
    for number in range(2 * log.CHECKPOINT_EVERY + 3):
        lake.transact(lambda tx, n=number: tx.append("labels", [label(n)]), run_id="r")
    files = Counted(tmp_path)
    state, read = log.latest_snapshot(files)
    assert (state, len(read)) == (lake.state(), 3)
    assert files.asked <= 7
    newest = tmp_path / log.NEWEST
    lying = newest.read_bytes().replace(b'"version":100', b'"version":50')
    for said in (b"", b"{}", lying, None):
        newest.unlink() if said is None else newest.write_bytes(said)
        assert log.latest_snapshot(Counted(tmp_path))[0] == state
    log.write_checkpoint(files, Snapshot().after(log.latest_snapshot(files, Snapshot())[1][:50]))
    assert log.latest_snapshot(Counted(tmp_path))[0] == state  # a slower rival's word for an older checkpoint


def test_no_change_of_a_byte_of_the_log_goes_unseen(tmp_path: Path, label: Any) -> None:
    lake = Lake(tmp_path, create=True)
    lake.transact(lambda tx: tx.append("labels", [label(1), label(2, cohort="ucsf_pdgm")]), run_id='",sha256":"0')
    log.write_checkpoint(lake.files, lake.state())
    record, state = log.read_commit(lake.files, 1), lake.state()
    for path in (log.record_path(1), log.checkpoint_path(1)):
        place = tmp_path / path
        whole = place.read_bytes()
        for changed in changes(whole):
            place.write_bytes(changed)
            try:
                seen = log.read_checkpoint(lake.files, path) if "state" in path else log.read_commit(lake.files, 1)
                assert seen is None
            except (DamagedFile, NewerLake):
                pass
        place.write_bytes(whole)
    assert log.read_commit(lake.files, 1) == record
    assert log.read_checkpoint(lake.files, log.checkpoint_path(1)) == state


def changes(data: bytes) -> Iterator[bytes]:
    """Each byte another, lost, or the last."""
    for place in range(len(data)):
        yield data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :]
    for place in range(len(data) - 1):  # the newline says nothing
        yield data[:place]
        yield data[:place] + data[place + 1 :]


def test_a_missing_record_before_another_is_named_and_its_number_not_taken(root: str, label: Any) -> None:
    lake = Lake(root, create=True)
    for number in range(4):
        lake.transact(methodcaller("append", "labels", [label(number)]), run_id="r")
    lake.files.delete(log.record_path(3))
    with pytest.raises(DamagedFile, match=f"{log.record_path(3)} .*missing") as caught:
        Lake(root, create=True)
    assert "gliolake verify" in caught.value.hint
    lake.files.put(log.record_path(3), lake.files.get(log.record_path(2)) or b"")
    with pytest.raises(DamagedFile, match=f"{log.record_path(3)} .*copy"):
        Lake(root)


def test_a_record_that_this_user_may_not_read_is_not_taken_for_damaged(
    lake: Lake, label: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.transact(lambda tx: tx.append("labels", [label(1)]), run_id="r")

    def forbidden(path: str, most: int) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(lake.files, "get", forbidden)
    with pytest.raises(StorageUnreachable, match="may not be read: Permission denied"):
        verify(lake, repair=True)
