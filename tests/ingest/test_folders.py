"""Which files belong to which scan: the same whoever lists the folders, and whatever is known of them before."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import folders, listing
from ingest.cohort import load_cohort
from ingest.folders import FoundFile, _fingerprint, find_scans, listed_ahead
from ingest.listing import Ahead, entries_of
from lake.errors import InputError

BRATS = load_cohort("brats21")
NOTHING_STARTS = "/nowhere/python"

NAMES = ("BraTS2021_00001", "BraTS2021_00002", "00002", "BraTS2021_x", "more", "äußerst", "\udcff", "a\nb")
ENDINGS = ("_t1.nii.gz", "_t1.nii", "_flair.nii.gz", "_seg.nii.gz", "_t9.nii.gz", "\udcfe")
THINGS = ("file", "folder", "link to the folder", "link to a sibling", "link outside", "dangling link", "pipe")

trees = st.recursive(
    st.dictionaries(st.tuples(st.sampled_from(NAMES), st.sampled_from(ENDINGS)), st.sampled_from(THINGS), max_size=4),
    lambda inner: st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=8,
)


def grow(folder: Path, tree: dict[Any, Any]) -> None:
    """Make files, folders, and what is neither."""
    folder.mkdir(exist_ok=True)
    for key, thing in tree.items():
        path = folder / (key if isinstance(key, str) else "".join(key))
        if isinstance(thing, dict):
            grow(path, thing)
        elif thing == "file":
            path.write_bytes(b"x" * len(key[0]))
        elif thing == "folder":
            path.mkdir()
        elif thing == "pipe":
            os.mkfifo(path)
        else:
            to = {"link to the folder": ".", "link to a sibling": "more", "link outside": "/etc", "dangling link": "no"}
            path.symlink_to(to[thing])


@contextmanager
def grown(tree: dict[Any, Any]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        grow(Path(folder, "images"), tree)
        yield Path(folder, "images")


def found(root: Path, python: str = sys.executable) -> dict[str, Any]:
    """What is found below a folder, where this is the Python of the second process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing.sys, "executable", python)
        return asdict(find_scans(BRATS, root))


@given(trees)
@settings(max_examples=60, deadline=None)
def test_a_second_process_finds_what_one_alone_finds(tree: dict[Any, Any]) -> None:
    with grown(tree) as root:
        assert found(root) == found(root, NOTHING_STARTS)


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Forty scans of five files, eight to a folder."""
    for number in range(40):
        name = f"BraTS2021_{number:05d}"
        folder = tmp_path / "images" / f"site-{number // 8}" / name
        folder.mkdir(parents=True)
        for role in ("t1", "t2", "t1ce", "flair", "seg"):
            (folder / f"{name}_{role}.nii.gz").write_bytes(bytes(number))
    return tmp_path / "images"


def test_folders_are_listed_by_the_second_process(cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here: list[str] = []
    monkeypatch.setattr(listing, "entries_of", lambda folder, *more: here.append(folder) or entries_of(folder, *more))
    assert len(find_scans(BRATS, cohort).scans) == 40
    assert here == []


@pytest.mark.parametrize("folders_told", [0, 1, 20])
def test_a_second_process_that_is_killed_costs_nothing_but_time(
    cohort: Path, monkeypatch: pytest.MonkeyPatch, folders_told: int
) -> None:
    expected = found(cohort, NOTHING_STARTS)
    asked = 0
    entries = Ahead.entries_of

    def killing(ahead: Ahead, *folder: str) -> Any:
        nonlocal asked
        asked += 1
        if asked > folders_told and ahead._process:
            ahead._process.kill()
            ahead._process.wait()
        return entries(ahead, *folder)

    monkeypatch.setattr(Ahead, "entries_of", killing)
    assert found(cohort) == expected
    assert asked == 46


def test_a_second_process_that_ends_at_once_costs_nothing_but_time(cohort: Path) -> None:
    assert found(cohort, "/bin/false") == found(cohort)


def test_no_process_is_left_when_too_much_is_found(cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders.limits, "ENTRIES", 20)
    ahead = listed_ahead(BRATS, cohort)
    with pytest.raises(InputError, match="more than 20"):
        find_scans(BRATS, cohort, ahead=ahead)
    assert ahead._process is not None
    assert ahead._process.poll() is not None


def test_only_what_differs_from_what_is_known_is_told(cohort: Path) -> None:
    scans = find_scans(BRATS, cohort).scans
    known = {scan.scan_id: scan.fingerprint for scan in scans[5:]}
    grown_file, second_folder, lost = scans[10], scans[11], scans[12]
    Path(grown_file.files[0].uri).write_bytes(b"longer than it was before, whatever its number")
    shutil.copytree(second_folder.folder, cohort / "again" / second_folder.scan_id)
    Path(lost.files[0].uri).unlink()
    now = find_scans(BRATS, cohort, known)
    assert [scan.scan_id for scan in now.scans] == [scan.scan_id for scan in (*scans[:5], *scans[10:13])]
    assert now.unchanged == [scan.scan_id for scan in (*scans[5:10], *scans[13:])]
    everything = {scan.scan_id: scan for scan in find_scans(BRATS, cohort).scans}
    assert all(everything[scan.scan_id] == scan for scan in now.scans)
    assert len(everything[second_folder.scan_id].files) == 10
    known |= {scan.scan_id: scan.fingerprint for scan in now.scans}
    assert find_scans(BRATS, cohort, known).scans == []


files = st.builds(
    FoundFile,
    st.sampled_from(["T1", "", "mask"]),
    st.text(),
    st.integers(0, 2**62),
    st.integers(-(2**62), 2**62),
    st.sampled_from(["", 'it is "refused"']),
)


@given(st.text(), st.lists(files, max_size=4))
def test_a_fingerprint_is_the_digest_of_json(folder: str, several: list[FoundFile]) -> None:
    seen: list[object] = [folder, [file[:4] for file in several]]
    seen += [[file.uri, file.refused] for file in several if file.refused]
    expected = f"<{json.dumps(seen)[1:-1]}>"
    assert _fingerprint(("<", ">"), folder, several) == hashlib.sha256(expected.encode()).hexdigest()


def test_a_cohort_of_series_alone_is_listed_by_the_second_process_too(
    cohort: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert BRATS.images is not None
    series = replace(BRATS, images=replace(BRATS.images, patterns=("{scan_id}/{role}/",)))
    (cohort / "site-0" / "BraTS2021_00000" / "t1").mkdir()
    (cohort / "site-0" / "BraTS2021_00000" / "t1" / "slice").write_bytes(b"1234")
    monkeypatch.setattr(listing, "entries_of", None)
    (file,) = find_scans(series, cohort).scans[0].files
    assert (file.role, file.bytes) == ("T1", 4)
