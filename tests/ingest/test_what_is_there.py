"""Scans that vanish, move, or cannot be seen; folders of other people; two sites with the same ids."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gliolake.cli.app import app
from gliolake.cli.schedule import run_schedule
from gliolake.errors import InputError
from gliolake.ingest import pipeline as room
from gliolake.ingest.cohorts.description import Cohort, load_cohort
from gliolake.ingest.pipeline import ingest
from gliolake.ingest.scans.images import ReadScan, read_scan
from gliolake.ingest.scans.model import FoundScan
from gliolake.sql.status import status
from gliolake.storage.lake import Lake
from tests.support.nobody import nobody

IDS = [f"BraTS2021_{number:05d}" for number in range(8)]


@pytest.fixture(autouse=True)
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Scans are read in this process; the ids of those that were."""
    read: list[str] = []

    def here(cohort: Cohort, waiting: Sequence[FoundScan], **_: object) -> Iterator[tuple[FoundScan, ReadScan]]:
        assert cohort.images is not None
        for scan in waiting:
            read.append(scan.scan_id)
            yield scan, read_scan(scan, cohort.images)

    monkeypatch.setattr(room, "_outcomes", here)
    return read


@pytest.fixture
def images(tmp_path: Path, writer: Any) -> Path:
    """Eight sound scans."""
    for seed, scan_id in enumerate(IDS):
        writer.scan(tmp_path / "images", scan_id, seed)
    return tmp_path / "images"


def scans(lake: Lake) -> dict[str, str]:
    """Folder of each known scan."""
    return {row["scan_id"]: str(Path(row["files"][0]["uri"]).parent) for row in lake.read("scans").to_pylist()}


def excluded(lake: Lake) -> list[tuple[str, str]]:
    return sorted((row["scan_id"], row["reason"]) for row in lake.read("exclusions").to_pylist())


def problems(lake: Lake) -> list[str]:
    return status(lake).problems


def removed(folder: Path) -> None:
    shutil.rmtree(folder)


def purged(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def dangling(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
        file.symlink_to("../.store/gone")


WAYS = [removed, purged, dangling]


@pytest.mark.parametrize("vanish", WAYS)
def test_a_few_scans_without_a_file_are_named_and_keep_their_rows(
    lake: Lake, images: Path, vanish: Callable[[Path], None]
) -> None:
    ingest(lake, "brats21", images)
    before = scans(lake)
    for scan_id in IDS[:2]:
        vanish(images / scan_id)
    for _ in range(2):
        report = ingest(lake, "brats21", images)
        assert (report.vanished, report.found, report.read, report.exit_code) == ((IDS[0], IDS[1]), 6, 0, 0)
        assert (scans(lake), excluded(lake)) == (before, [])


@pytest.mark.parametrize("vanish", WAYS)
def test_many_scans_without_a_file_are_a_problem_until_they_are_back_or_said_to_be_gone(
    lake: Lake, images: Path, tmp_path: Path, vanish: Callable[[Path], None]
) -> None:
    ingest(lake, "brats21", images)
    before = scans(lake)
    shutil.copytree(images, tmp_path / "kept")
    for scan_id in IDS[:3]:
        vanish(images / scan_id)
    report = ingest(lake, "brats21", images)
    assert report.exit_code == 1
    assert "3 have no file left" in report.problems[0]
    assert "--vanished-are-gone" in report.problems[0]
    assert scans(lake) == before
    assert problems(lake) == [f"many scans lost files (brats21): 1, first {images} (exclusions)"]
    version = lake.version
    assert ingest(lake, "brats21", images).exit_code == 1
    assert lake.version == version
    vector = {"feature_set": "f", "cohort": "brats21", "modality": "T1", "values": [0.0] * 400, "input_sha256": "0"}
    lake.transact(
        lambda tx: tx.upsert("features", [vector | {"scan_id": name} for name in (IDS[0], IDS[7])]), run_id="extract"
    )
    report = ingest(lake, "brats21", images, vanished_are_gone=True)
    assert (report.removed, report.vanished, report.exit_code) == (tuple(IDS[:3]), (), 0)
    assert {*scans(lake)} == {*IDS[3:]}
    assert lake.read("features")["scan_id"].to_pylist() == [IDS[7]], "what was computed from them goes too"
    assert (excluded(lake), problems(lake)) == ([], [])
    shutil.rmtree(images)
    shutil.copytree(tmp_path / "kept", images)
    assert ingest(lake, "brats21", images).vanished == ()
    assert (scans(lake), excluded(lake)) == (before, [])


def test_files_that_are_back_end_the_problem_and_nothing_is_read_again(
    lake: Lake, images: Path, tmp_path: Path, reads: list[str]
) -> None:
    ingest(lake, "brats21", images)
    for scan_id in IDS[:5]:
        (images / scan_id).rename(tmp_path / scan_id)
    assert ingest(lake, "brats21", images).exit_code == 1
    for scan_id in IDS[:5]:
        (tmp_path / scan_id).rename(images / scan_id)
    reads.clear()
    assert ingest(lake, "brats21", images).exit_code == 0
    assert (reads, excluded(lake), problems(lake)) == ([], [], [])


def test_a_modality_gone_from_a_few_scans_excludes_them_and_from_many_changes_nothing(lake: Lake, images: Path) -> None:
    ingest(lake, "brats21", images)
    before = scans(lake)
    (images / IDS[0] / f"{IDS[0]}_t2.nii.gz").unlink()
    assert ingest(lake, "brats21", images).exit_code == 0
    assert excluded(lake) == [(IDS[0], "missing modality")]
    before.pop(IDS[0])
    (images / IDS[1] / f"{IDS[1]}_flair.nii.gz").write_bytes(b"")
    for scan_id in IDS[2:5]:
        (images / scan_id / f"{scan_id}_t2.nii.gz").unlink()
    report = ingest(lake, "brats21", images)
    assert "4 lost some" in report.problems[0]
    assert (report.exit_code, scans(lake)) == (1, before)
    ingest(lake, "brats21", images, vanished_are_gone=True)
    assert {*scans(lake)} == {*IDS[5:]}
    assert {reason for _, reason in excluded(lake)} == {"missing modality", "unreadable file"}


@pytest.mark.parametrize("vanish", WAYS)
def test_exclusions_of_a_scan_that_is_gone_for_good_go_too(
    lake: Lake, images: Path, vanish: Callable[[Path], None]
) -> None:
    for scan_id in IDS[:2]:
        (images / scan_id / f"{scan_id}_t1.nii.gz").write_bytes(b"no image")
    ingest(lake, "brats21", images)
    vanish(images / IDS[0])
    report = ingest(lake, "brats21", images, vanished_are_gone=True)
    assert (excluded(lake), report.found) == ([(IDS[1], "unreadable file")], 7)


def test_unfollowed_links_and_dropped_roles_are_told_from_lost_files(lake: Lake, images: Path, tmp_path: Path) -> None:
    (tmp_path / "cohort").mkdir()
    for scan_id in IDS[:6]:
        (tmp_path / "cohort" / scan_id).symlink_to(images / scan_id)
    ingest(lake, "brats21", tmp_path / "cohort", linked_images=True)
    before = scans(lake)
    report = ingest(lake, "brats21", tmp_path / "cohort")
    assert (report.exit_code, scans(lake)) == (1, before)
    assert "6 lost some (link leaves the images folder)" in report.problems[0]
    text = load_cohort("brats21").text.replace('mask = "seg"', "")
    start, end = text.index("[images.mask_labels]"), text.index("[labels]")
    (tmp_path / "brats21.toml").write_text(text[:start] + text[end:])
    report = ingest(lake, tmp_path / "brats21.toml", tmp_path / "cohort", linked_images=True)
    assert (report.exit_code, report.excluded) == (0, {"missing mask": 6})


def test_an_emptied_folder_or_one_whose_disk_is_not_mounted_changes_nothing(
    lake: Lake, images: Path, files_of: Callable[[Lake], dict[str, bytes]]
) -> None:
    ingest(lake, "brats21", images)
    before = files_of(lake)
    for scan_id in IDS:
        purged(images / scan_id)
    with pytest.raises(InputError, match="knows 8 scans of it") as caught:
        ingest(lake, "brats21", images)
    assert "--vanished-are-gone" in caught.value.hint
    for scan_id in IDS:
        (images / scan_id).rmdir()
    (images / ".DS_Store").touch()
    with pytest.raises(InputError, match="knows 8 scans of it"):
        ingest(lake, "brats21", images)
    shutil.rmtree(images)
    with pytest.raises(InputError, match="not a folder"):
        ingest(lake, "brats21", images)
    with pytest.raises(InputError, match="No scan of brats21 was found"):
        ingest(lake, "brats21", images.with_name("imagse"), vanished_are_gone=True)
    assert files_of(lake) == before
    assert len(ingest(lake, "brats21", images, vanished_are_gone=True).removed) == 8
    assert scans(lake) == {}


def test_two_sites_with_the_same_ids_are_not_mixed(
    lake: Lake, images: Path, tmp_path: Path, writer: Any, reads: list[str]
) -> None:
    for seed, scan_id in enumerate(IDS[:3]):
        writer.scan(tmp_path / "other" / "site", scan_id, 100 + seed)
    ingest(lake, "brats21", images)
    before = scans(lake)
    for _ in range(2):
        report = ingest(lake, "brats21", tmp_path / "other")
        assert report.excluded == {"id of another folder's scan": 3}
        assert ingest(lake, "brats21", images).scans == 8
        assert scans(lake) == before
    row = lake.read("exclusions").to_pylist()[0]
    assert str(images / IDS[0]) in row["detail"]
    assert str(tmp_path / "other" / "site" / IDS[0]) in row["detail"]
    assert len(reads) == 8 + 3, "nothing is read twice"
    ingest(lake, "brats21", tmp_path / "other", moved=True)
    assert scans(lake) == before | {name: str(tmp_path / "other" / "site" / name) for name in IDS[:3]}
    assert excluded(lake) == []


@pytest.mark.parametrize("second", ["site_a/more", "zz"])
def test_a_known_scan_stays_when_a_folder_above_two_sites_is_ingested(
    lake: Lake, tmp_path: Path, writer: Any, reads: list[str], second: str
) -> None:
    above = tmp_path / "sites"
    for seed, scan_id in enumerate(IDS):
        writer.scan(above / "site_b", scan_id, seed)
    ingest(lake, "brats21", above / "site_b")
    before = scans(lake)
    for seed, scan_id in enumerate(IDS[:3]):
        writer.scan(above / second, scan_id, 100 + seed)
    for _ in range(2):
        reads.clear()
        report = ingest(lake, "brats21", above)
        assert (report.excluded, reads) == ({"id of another folder's scan": 3}, [])
        assert scans(lake) == before
    sources = {row["source"] for row in lake.read("exclusions").to_pylist()}
    assert sources == {str(above / second / scan_id) for scan_id in IDS[:3]}
    writer.scan(above / "site_b", IDS[0], 50)  # its own folder changes: the other one stays out
    ingest(lake, "brats21", above)
    assert excluded(lake) == [(name, "id of another folder's scan") for name in IDS[:3]]
    shutil.rmtree(above / second)
    ingest(lake, "brats21", above)
    assert (excluded(lake), scans(lake)) == ([], before)
    writer.scan(above / second, IDS[1], 1)
    (tmp_path / "link").symlink_to(above)
    ingest(lake, "brats21", tmp_path / "link")
    assert {scan_id: os.path.realpath(folder) for scan_id, folder in scans(lake).items()} == before


def test_of_two_sites_with_the_same_ids_ingested_at_once_the_second_to_commit_is_left_out(
    lake: Lake, images: Path, tmp_path: Path, writer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed, scan_id in enumerate(IDS):
        writer.scan(tmp_path / "other", scan_id, 100 + seed)
    commit = room.commit_links
    rival = iter([True])

    def overtaken(tx: Any) -> None:
        commit(tx)
        if tx.read("scans").num_rows and next(rival, False):
            ingest(Lake(lake.root), "brats21", tmp_path / "other")

    monkeypatch.setattr(room, "commit_links", overtaken)
    ingest(lake, "brats21", images)
    assert next(rival, "overtaken") == "overtaken"
    assert scans(lake) == {scan_id: str(tmp_path / "other" / scan_id) for scan_id in IDS}
    assert excluded(lake) == [(scan_id, "id of another folder's scan") for scan_id in IDS]


def test_a_scheduled_run_goes_on_and_ends_with_1_where_a_folder_has_a_problem(
    lake: Lake, images: Path, tmp_path: Path
) -> None:
    (tmp_path / "cohorts.toml").write_text(f'[[cohort]]\ncohort = "brats21"\nimages = "{images}"\n')
    assert run_schedule(lake, tmp_path / "cohorts.toml").exit_code == 0
    for scan_id in IDS[:4]:
        shutil.rmtree(images / scan_id)
    report = run_schedule(lake, tmp_path / "cohorts.toml")
    assert (report.exit_code, report.failed) == (1, ("brats21",))
    assert "--vanished-are-gone" in report.cohorts[0].error
    assert len(scans(lake)) == 8


def test_a_cohort_that_was_moved_is_followed_without_a_word(lake: Lake, images: Path, tmp_path: Path) -> None:
    ingest(lake, "brats21", images)
    images.rename(tmp_path / "archive")
    for scan_id in IDS[:4]:  # and some are packed again, so that their bytes differ
        file = tmp_path / "archive" / scan_id / f"{scan_id}_t1.nii.gz"
        file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()), 1))
    report = ingest(lake, "brats21", tmp_path / "archive")
    assert (report.exit_code, report.excluded, report.vanished) == (0, {}, ())
    assert scans(lake) == {scan_id: str(tmp_path / "archive" / scan_id) for scan_id in IDS}


def test_a_problem_of_a_folder_ends_with_the_folder_once_its_cohort_has_moved(
    lake: Lake, images: Path, tmp_path: Path
) -> None:
    ingest(lake, "brats21", images)
    for scan_id in IDS[:5]:
        (tmp_path / "archive").mkdir(exist_ok=True)
        (images / scan_id).rename(tmp_path / "archive" / scan_id)
    assert ingest(lake, "brats21", images).exit_code == 1
    for scan_id in IDS[5:]:
        (images / scan_id).rename(tmp_path / "archive" / scan_id)
    assert ingest(lake, "brats21", tmp_path / "archive").exit_code == 0
    assert excluded(lake) == [("", "many scans lost files")], "the emptied folder is still there"
    ingest(lake, "brats21", images, vanished_are_gone=True)
    assert (excluded(lake), len(scans(lake))) == ([], 8)


def test_a_file_mended_in_place_is_taken_when_its_folder_is_reached_by_another_way(
    lake: Lake, images: Path, tmp_path: Path, writer: Any
) -> None:
    ingest(lake, "brats21", images)
    (tmp_path / "data").symlink_to(images)
    writer.scan(images, IDS[0], 50)
    report = ingest(lake, "brats21", tmp_path / "data")
    assert (report.excluded, scans(lake)[IDS[0]]) == ({}, str(tmp_path / "data" / IDS[0]))
    file = images / IDS[0] / f"{IDS[0]}_t1.nii.gz"
    whole = file.read_bytes()
    file.write_bytes(b"no image")
    ingest(lake, "brats21", images)
    ingest(lake, "brats21", images)
    file.write_bytes(whole)
    assert ingest(lake, "brats21", tmp_path / "data").excluded == {}


def test_a_damaged_copy_elsewhere_costs_the_sound_scan_nothing(lake: Lake, images: Path, tmp_path: Path) -> None:
    ingest(lake, "brats21", images)
    before = scans(lake)
    shutil.copytree(images / IDS[0], tmp_path / "copy" / IDS[0])
    (tmp_path / "copy" / IDS[0] / f"{IDS[0]}_t1.nii.gz").write_bytes(b"no image")
    ingest(lake, "brats21", tmp_path / "copy")
    assert (scans(lake), excluded(lake)) == (before, [(IDS[0], "unreadable file")])


def test_a_sound_scan_does_not_take_the_id_of_one_that_was_excluded_elsewhere_and_is_still_there(
    lake: Lake, tmp_path: Path, writer: Any
) -> None:
    files = writer.scan(tmp_path / "first", IDS[0], 1)
    writer.scan(tmp_path / "first", IDS[1], 1)
    files["T1"].write_bytes(b"no image")
    ingest(lake, "brats21", tmp_path / "first")
    writer.scan(tmp_path / "second", IDS[0], 2)
    ingest(lake, "brats21", tmp_path / "second")
    assert excluded(lake) == [(IDS[0], "id of another folder's scan"), (IDS[0], "unreadable file")]
    assert {*scans(lake)} == {IDS[1]}
    shutil.rmtree(tmp_path / "first" / IDS[0])
    ingest(lake, "brats21", tmp_path / "first")
    ingest(lake, "brats21", tmp_path / "second")
    assert (excluded(lake), {*scans(lake)}) == ([], {IDS[0], IDS[1]})


def test_one_id_in_two_folders_of_one_ingest_names_both(lake: Lake, images: Path) -> None:
    shutil.copytree(images / IDS[0], images / "second" / IDS[0])
    ingest(lake, "brats21", images)
    row, *more = lake.read("exclusions").to_pylist()
    assert {(one["scan_id"], one["reason"]) for one in (row, *more)} == {(IDS[0], "two files for one modality")}
    assert f"{images}/{IDS[0]}/" in row["detail"]
    assert f"{images}/second/{IDS[0]}/" in row["detail"]


@pytest.fixture
def shared(images: Path) -> Iterator[Path]:
    """The eight scans in two sites, in a folder that everybody reaches."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        for scan_id in IDS:
            shutil.copytree(images / scan_id, Path(folder, f"site-{int(scan_id[-1]) % 2}", scan_id))
        yield Path(folder)
        for path in Path(folder).rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)


@pytest.mark.parametrize("mode", [0o700, 0o704, 0o701])
@pytest.mark.parametrize("place", ["site-1", f"site-1/{IDS[1]}"])
def test_a_folder_that_may_not_be_listed_is_a_row_and_nothing_else_changes(
    lake: Lake, shared: Path, reads: list[str], mode: int, place: str
) -> None:
    if os.geteuid() != 0 and mode != 0o700:
        pytest.skip("the folder's owner is this user")
    shutil.copytree(shared / "site-0" / IDS[0], shared / "new")
    ingest(lake, "brats21", shared)
    before = scans(lake)
    closed = shared / place
    closed.chmod(mode if os.geteuid() == 0 else 0)
    (shared / "new").rename(shared / "site-0" / "BraTS2021_00010")
    for file in (shared / "site-0" / "BraTS2021_00010").iterdir():
        file.rename(str(file).replace(IDS[0], "BraTS2021_00010"))
    for _ in range(2):
        with nobody_finds(shared):
            report = ingest(lake, "brats21", shared)
        assert report.exit_code == 1
        assert str(closed) in report.problems[0]
        assert excluded(lake) == [("", "folder cannot be listed")]
        assert scans(lake) == before | {"BraTS2021_00010": str(shared / "site-0" / "BraTS2021_00010")}
    closed.chmod(0o755)
    reads.clear()
    assert ingest(lake, "brats21", shared).exit_code == 0
    assert (reads, excluded(lake)) == ([], [])


@contextmanager
def nobody_finds(root: Path) -> Iterator[None]:
    """The folder is walked without root's rights; the lake is root's own, and is written with them."""
    from gliolake.ingest.scans import comparison

    find = comparison.find_scans

    def finding(*arguments: Any, **options: Any) -> Any:
        with nobody():
            return find(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "find_scans", finding)
        yield


def test_a_scan_partly_in_a_closed_folder_and_one_behind_a_link_into_it_are_left_as_they_are(
    lake: Lake, shared: Path
) -> None:
    store = shared / "store"
    store.mkdir()
    linked = shared / "site-0" / IDS[0] / f"{IDS[0]}_t2.nii.gz"
    linked.rename(store / "x.nii.gz")
    linked.symlink_to(store / "x.nii.gz")
    ingest(lake, "brats21", shared)
    before = scans(lake)
    store.chmod(0o700 if os.geteuid() == 0 else 0)
    with nobody_finds(shared):
        assert ingest(lake, "brats21", shared).exit_code == 1
    assert scans(lake) == before
    assert {reason for _, reason in excluded(lake)} == {"folder cannot be listed"}


@pytest.mark.parametrize("code", [errno.ENOENT, errno.EIO, errno.ESTALE])
def test_a_folder_that_vanishes_or_fails_while_it_is_listed_is_a_row(
    lake: Lake, images: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    ingest(lake, "brats21", images)
    before = scans(lake)
    listing = os.scandir

    def failing(path: Any) -> Any:
        if str(path) == str(images / IDS[3]):
            raise OSError(code, os.strerror(code), path)
        return listing(path)

    monkeypatch.setattr(os, "scandir", failing)
    report = ingest(lake, "brats21", images)
    monkeypatch.undo()
    assert (report.exit_code, scans(lake)) == (1, before)
    (row,) = lake.read("exclusions").to_pylist()
    assert os.strerror(code) in row["detail"]
    assert row["source"] == str(images / IDS[3])


def test_the_command_says_so_by_its_exit_code_and_a_closed_images_folder_ends_it(shared: Path, lake: Lake) -> None:
    shared.joinpath("site-1").chmod(0o700 if os.geteuid() == 0 else 0)
    arguments = ["ingest", "--lake", lake.root, "--cohort", "brats21", "--images", str(shared)]
    with nobody_finds(shared):
        done = CliRunner().invoke(app, arguments)
    assert (done.exit_code, "Problem: Folders that could not be listed: 1 (" in done.output) == (1, True), done.output
    done = CliRunner().invoke(app, ["status", "--check", "--lake", lake.root])
    assert done.exit_code == 1
    assert f"folder cannot be listed (brats21): 1, first {shared}/site-1" in done.output.replace("\n", " ")
    shared.chmod(0o700 if os.geteuid() == 0 else 0)
    with nobody_finds(shared), pytest.raises(InputError, match="cannot be listed"):
        ingest(lake, "brats21", shared)
    shared.chmod(0o755)


@pytest.mark.parametrize("step", ["features", "preprocess"])
def test_a_file_changed_without_its_size_and_time_is_read_again_once_a_later_step_noticed(
    lake: Lake, images: Path, writer: Any, reads: list[str], step: str
) -> None:
    ingest(lake, "brats21", images)
    row = next(row for row in lake.read("scans").to_pylist() if row["scan_id"] == IDS[0])
    other = writer.scan(images.parent / "other", IDS[0], 77)["T1"].read_bytes()
    file = images / IDS[0] / f"{IDS[0]}_t1.nii.gz"
    seen = file.stat()
    file.write_bytes(other[: seen.st_size].ljust(seen.st_size, b"\0"))
    os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    noticed = {"cohort": "brats21", "scan_id": IDS[0], "step": step, "reason": "changed file", "detail": "sha256",
               "source": "random_conv", "fingerprint": row["fingerprint"]}  # fmt: skip
    lake.transact(lambda tx: tx.append("exclusions", [noticed]), run_id="later")
    reads.clear()
    ingest(lake, "brats21", images)
    assert reads == [IDS[0]]
    assert not [row for row in lake.read("exclusions").to_pylist() if row["step"] == step]
    ingest(lake, "brats21", images)
    assert reads == [IDS[0]], "it is read again once"


def test_everything_is_read_again_when_that_is_asked_for(lake: Lake, images: Path, reads: list[str]) -> None:
    ingest(lake, "brats21", images)
    reads.clear()
    ingest(lake, "brats21", images, reread=True)
    assert reads == IDS
