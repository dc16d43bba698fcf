"""Which files belong to which scan, whatever lies beside them and whatever is known of them before."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gliolake.errors import InputError
from gliolake.ingest.cohorts import patterns
from gliolake.ingest.cohorts.description import load_cohort, parse_cohort
from gliolake.ingest.scans.discovery import find_scans
from tests.support.full import examples

BRATS = load_cohort("brats21")


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


NAMES = ("BraTS2021_00001", "BraTS2021_00002", "00002", "BraTS2021_x", "more", "äußerst", "\udcff", "a\nb", ".git")
ENDINGS = ("_t1.nii.gz", "_t1.nii", "_flair.nii.gz", "_seg.nii.gz", "_t9.nii.gz", "\udcfe")
THINGS = ("file", "folder", "link to the folder", "link to a sibling", "link outside", "dangling link", "pipe")
LEADS = {"link to the folder": ".", "link to a sibling": "more", "link outside": "/etc", "dangling link": "no"}

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
            path.symlink_to(LEADS[thing])


def expected(root: Path) -> set[str]:
    """Files of BraTS scans, said without patterns; only those that no link leads to."""
    found = set()
    for folder, _, files in os.walk(root):
        scan = Path(folder).name
        for role in ("flair", "t1", "t1ce", "t2", "seg"):
            found |= {f"{folder}/{file}" for file in files if file in (f"{scan}_{role}.nii.gz", f"{scan}_{role}.nii")}
    return {path for path in found if path.isascii() and Path(path).is_file() and not Path(path).is_symlink()}


@given(trees, st.booleans())
@settings(max_examples=examples(60), deadline=None)
def test_files_of_any_tree_are_in_a_scan_or_in_a_row_and_in_none_twice(tree: dict[Any, Any], linked: bool) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch, "images")
        grow(root, tree)
        found = find_scans(BRATS, root, linked=linked)
        real = [os.path.realpath(file.uri) for scan in found.scans for file in scan.files if not file.refused]
        assert len(real) == len({*real}) or any(Path(file.uri).is_symlink() for s in found.scans for file in s.files)
        rows = {row["source"] for row in found.exclusions}
        for path in expected(root):
            inside = path[len(str(root)) :]
            assert path in real or "/.git/" in inside or any(Path(path).is_relative_to(row) for row in rows), path
        assert all(row["source"].encode() and row["detail"].encode() for row in found.exclusions)


def brats_with(patterns_text: str, name: str = "other") -> str:
    text = BRATS.text.replace('name = "brats21"', f'name = "{name}"')
    start, end = text.index("patterns = ["), text.index("]", text.index("patterns = ["))
    return f"{text[:start]}patterns = [{patterns_text}{text[end:]}"


@pytest.mark.parametrize(
    "pattern",
    [
        "{scan_id}*{scan_id}*{scan_id}*{role}*{scan_id}.nii.gz",
        "*{scan_id}*{scan_id}*{scan_id}*{scan_id}{role}.nii.gz",
        "{scan_id}*{scan_id}*{scan_id}*{role}*{scan_id}/",
    ],
)
def test_patterns_and_names_that_take_for_ever_together_are_an_error_that_names_both(
    tmp_path: Path, pattern: str
) -> None:
    slow = parse_cohort(brats_with(f'"{pattern}"'), "slow.toml")
    inner = tmp_path / ("a" * 200)
    inner.mkdir()
    (inner / ("a" * 200 + ("" if pattern.endswith("/") else "t1t1.nii"))).touch()
    for number in range(3):
        (inner / f"{'ab' * 90}{number}t1t1.nii.gz").touch()
    with pytest.raises(InputError, match="takes more than 1 s over names of the form") as caught:
        find_scans(slow, tmp_path)
    assert pattern.rstrip("/") in str(caught.value)
    assert f"They lie in {tmp_path}" in str(caught.value)


def test_many_names_that_take_a_little_too_long_each_are_stopped_all_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = parse_cohort(brats_with('"{scan_id}*{scan_id}*{role}.nii.gz"'), "slow.toml")
    for number in range(300):
        (tmp_path / f"{'ab' * 60}{number:03}x.nii.gz").touch()
    monkeypatch.setattr(patterns, "_SECONDS", 0.05)
    with pytest.raises(InputError, match="takes more than"):
        find_scans(slow, tmp_path)


def test_an_honest_pattern_is_given_time_for_any_number_of_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "_SECONDS", 0.02)
    assert all(BRATS.ids.parse(f"BraTS2021_{number:05d}") for number in range(5000))


@pytest.mark.parametrize("store", ["raw", "zz", ".annex", "a/b"])
@pytest.mark.parametrize("first", [False, True], ids=["", "and by another link that comes first"])
def test_a_scan_whose_name_only_a_link_to_its_folder_bears_is_found_once(
    tmp_path: Path, store: str, first: bool
) -> None:
    images, scan_id = tmp_path / "images", "BraTS2021_00007"
    there = images / store / "session 1"
    there.mkdir(parents=True)
    for role in ("flair", "t1", "t1ce", "t2", "seg"):
        (there / f"{scan_id}_{role}.nii.gz").write_bytes(b"x")
    (images / "site").mkdir()
    (images / "site" / scan_id).symlink_to(there)
    (images / "site" / "loop").symlink_to("..")
    if first:
        (images / "all").symlink_to(there.parent)
    found = find_scans(BRATS, images)
    assert [(scan.scan_id, len(scan.files)) for scan in found.scans] == [(scan_id, 5)]
    assert found.exclusions == []


def test_a_scan_that_links_lead_to_besides_is_found_under_its_own_name_alone(tmp_path: Path) -> None:
    folder = tmp_path / "site b" / "BraTS2021_00007"
    folder.mkdir(parents=True)
    (folder / "BraTS2021_00007_t1.nii").write_bytes(b"x")
    (tmp_path / "latest").symlink_to(folder)
    (tmp_path / "all").symlink_to("site b")
    (tmp_path / "BraTS2021_00007").symlink_to(folder)
    (scan,) = find_scans(BRATS, tmp_path).scans
    assert [file.uri for file in scan.files] == [str(folder / "BraTS2021_00007_t1.nii")]


def test_files_of_a_name_that_is_no_id_are_named_in_each_folder_that_holds_any(tmp_path: Path) -> None:
    for site in ("a", "b", "c"):
        folder = tmp_path / site / "BraTS2021_x"
        folder.mkdir(parents=True)
        if site != "a":
            (folder / "BraTS2021_x_t1.nii").write_bytes(b"x")
    rows = find_scans(BRATS, tmp_path).exclusions
    assert [row["source"] for row in rows] == [str(tmp_path / site / "BraTS2021_x") for site in ("b", "c")]
