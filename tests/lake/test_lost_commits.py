"""Commits whose record is lost: named, nothing touched until they are given up, then what others prove is kept."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from lake import log
from lake.errors import CommitConflict, DamagedFile
from lake.files import Files
from lake.history import LOST
from lake.log import record_path
from lake.store import Lake
from lake.transaction import Transaction
from lake.verify import Verification, verify
from tests.conftest import label
from tests.lake.test_verify import FOLDER_HARMS, HARMS, another_commit, copied, delete, empty, truncate

Change = Mapping[int, int | None]
"""By scan the age that a commit gives it; None where it takes the scan out."""


def commit(lake: Lake, change: Change) -> None:
    def build(tx: Transaction) -> None:
        tx.upsert("labels", [label(scan, age=float(age)) for scan, age in change.items() if age is not None])
        gone = [label(scan) for scan, age in change.items() if age is None]
        tx.delete_keys("labels", gone)

    lake.transact(build, run_id="r")


def ages(root: str) -> list[tuple[int, float]]:
    """Scan and age of every row, a scan as often as it is there."""
    rows = Lake(root).read("labels", columns=["source_id", "age"]).to_pylist()
    return sorted((int(row["source_id"]), row["age"]) for row in rows)


def data_files(files: Files) -> dict[str, bytes | None]:
    return {entry.path: files.get(entry.path) for entry in files.list() if "_log/" not in entry.path}


def lost(found: Verification) -> list[str]:
    return [finding.path for finding in found.findings if finding.kind == "lost commit"]


FIVE: tuple[Change, ...] = (
    {1: 10, 2: 10, 3: 10, 4: 10, 5: 10},
    {6: 10},
    {1: 20, 2: 20, 3: 20, 4: None, 7: 20},  # will be lost
    {1: 30, 2: None, 8: 30},
    {6: 30},
)
KEPT = [(1, 30), (3, 20), (4, 10), (5, 10), (6, 30), (7, 20), (8, 30)]
"""Without the third. The fourth wrote scans 3 and 7 anew, as they had been in one file with 1 and 2."""


def test_a_lost_commit_is_named_and_nothing_touched_until_it_is_given_up_for_what_later_ones_prove(root: str) -> None:
    whole = Lake(root, create=True)
    for change in FIVE:
        commit(whole, change)
    record, number = whole.files.get(record_path(3)) or b"", len(whole.state().files)
    harms = (empty, another_commit, delete) if root.startswith("s3://") else (*HARMS, *FOLDER_HARMS, another_commit)
    for harm in harms:
        files = copied(whole.files, f"{root}-{harm.__name__}")
        harm(files, record_path(3))
        before = data_files(files)
        with pytest.raises(DamagedFile, match=record_path(3)) as caught:
            Lake(files.root, create=True)
        assert "gliolake verify" in caught.value.hint
        for repair in (False, True):
            found = verify(files.root, repair=repair, grace=-1)
            assert (lost(found), found.sound) == ([record_path(3)], False)
            (finding,) = (finding for finding in found.findings if finding.is_damage and finding.kind != "older rows")
            assert "2 sound commits, up to number 5" in finding.detail
            assert {f.path for f in found.findings if f.kind == "unclaimed file"} <= before.keys()
        assert data_files(files) == before, "nothing is touched while a commit is lost"

        restored = copied(files, f"{root}-{harm.__name__}-restored", record_path(3))
        restored.put(record_path(3), record)
        assert ages(restored.root) == ages(root)

        assert verify(files.root, repair=True, give_up=True, grace=-1).sound
        assert ages(files.root) == KEPT, harm
        again = verify(files.root, repair=True, grace=-1)
        assert not [finding for finding in again.findings if finding.is_damage]
        assert ages(files.root) == KEPT
        assert log.read_record(files, 3).run_id == LOST
        commit(Lake(files.root), {9: 40})
        assert ages(files.root) == [*KEPT, (9, 40)]
    assert len(Lake(root).state().files) == number


changes = st.dictionaries(st.integers(0, 4), st.none() | st.integers(0, 2), min_size=1, max_size=4)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    history=st.lists(changes, min_size=2, max_size=9),
    victims=st.sets(st.integers(1, 9), min_size=1, max_size=3),
    harm=st.sampled_from([truncate, empty, delete]),
)
def test_of_any_history_with_lost_commits_no_row_is_invented_or_there_twice_and_those_left_alone_stay(
    history: list[Change], victims: set[int], harm: Callable[[Files, str], None]
) -> None:
    with tempfile.TemporaryDirectory() as folder, patch.object(log, "CHECKPOINT_EVERY", 4):
        lake = Lake(folder, create=True)
        states = made(lake, history)
        # A last record that is not there is as one that never was.
        victims = {number for number in victims if number < len(states) - (harm is delete)}
        gone = sorted(number for number in victims if number > lake.version // 4 * 4)  # others are in a checkpoint
        assume(victims)
        for number in victims:
            harm(lake.files, record_path(number))
        before = data_files(lake.files)
        assert lost(verify(folder, repair=True, grace=-1)) == [record_path(number) for number in gone]
        assert not gone or data_files(lake.files) == before
        assert verify(folder, repair=True, give_up=True, grace=-1).sound
        assert not [finding for finding in verify(folder).findings if finding.is_damage]
        found = ages(folder)
        assert len(dict(found)) == len(found), "a row is there twice"
        for scan in range(5):
            assert dict(found).get(scan) in possible(scan, states, gone), scan


def made(lake: Lake, history: list[Change]) -> list[dict[int, float]]:
    """The ages of all scans by number of the commit that led to them; a change that changes nothing makes none."""
    states: list[dict[int, float]] = [{}]
    for change in history:
        commit(lake, change)
        if lake.version == len(states):
            states.append(dict(ages(lake.root)))
    return states


def possible(scan: int, states: list[dict[int, float]], gone: list[int]) -> set[float | None]:
    """What an honest lake may say: what it was after the last sound change, or by lost ones since; or nothing."""
    of_scan = [state.get(scan) for state in states]
    changed = [number for number in range(1, len(states)) if of_scan[number] != of_scan[number - 1]]
    last = max((number for number in changed if number not in gone), default=0)
    return {*of_scan[last:]} | ({None} if any(number > last for number in changed) else set())


def test_a_rival_that_takes_the_number_of_a_lost_commit_is_not_overwritten(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for change in FIVE:
        commit(lake, change)
    lake.files.delete(record_path(5))
    lake.files.put(record_path(5), b"")
    taken = b"a rival's"

    def set_aside(files: Files, path: str) -> None:
        files.put(path, taken)

    monkeypatch.setattr("lake.mend.set_aside", set_aside)
    with pytest.raises(CommitConflict, match="number 5") as caught:
        verify(lake.root, repair=True, give_up=True)
    assert "End all commands" in caught.value.hint
    assert lake.files.get(record_path(5)) == taken


def test_a_record_that_is_whole_but_of_another_lake_is_named_and_given_up_too(lake: Lake, tmp_path: Path) -> None:
    other = Lake(tmp_path / "other", create=True)
    for change in FIVE:
        commit(lake, change)
        commit(other, {scan + 100: age for scan, age in change.items()})
    lake.files.put(record_path(4), other.files.get(record_path(4)) or b"")
    with pytest.raises(DamagedFile, match=r"removes .* which no commit before it added") as caught:
        Lake(lake.root)
    assert "gliolake verify" in caught.value.hint
    assert lost(verify(lake.root)) == [record_path(4)]
    assert verify(lake.root, repair=True, give_up=True).sound
    assert ages(lake.root) == [(1, 20), (2, 20), (3, 20), (5, 10), (6, 30), (7, 20)]


def test_what_is_no_record_of_this_log_is_foreign_and_left_alone(lake: Lake) -> None:
    commit(lake, FIVE[0])
    for name in (record_path(10**19), "_log/notes.txt"):
        lake.files.put(name, b"{}")
    found: Any = verify(lake, repair=True, grace=-1)
    assert {finding.path: finding.kind for finding in found.findings} == {
        record_path(10**19): "foreign file",
        "_log/notes.txt": "foreign file",
    }
    assert found.sound
    assert lake.files.get("_log/notes.txt")
