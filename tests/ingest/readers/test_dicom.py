"""DICOM series, written here slice by slice: the volume that comes back, and what is refused by name."""

from __future__ import annotations

import pickle
import shutil
import time
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from gliolake import limits
from gliolake.ingest.pipeline import ingest
from gliolake.ingest.readers import dicom
from gliolake.ingest.readers.dicom import read_dicom_series
from gliolake.ingest.readers.dicom_header import HEADER, BadSlice, place_of, read_texts
from gliolake.ingest.readers.nifti import BadImage, read_volume, turn_to_lps
from gliolake.ingest.scans.fingerprint import content_of
from gliolake.ingest.scans.images import read_image
from gliolake.storage.lake import Lake
from tests.support.dicom import COHORT, PATIENT, SERIES, image, turned, write


@pytest.mark.parametrize(
    "direction", [np.eye(3), turned(), np.eye(3)[:, [1, 2, 0]]], ids=["axial", "oblique", "sagittal"]
)
def test_a_series_is_the_same_volume_as_its_nifti(tmp_path: Path, direction: np.ndarray) -> None:
    write(tmp_path / "series", image(), direction=direction)
    (tmp_path / "series" / "notes.txt").write_text("not a slice")
    volume = read_dicom_series(tmp_path / "series")
    affine = np.eye(4)
    affine[:3, :3] = np.diag([-1, -1, 1]) @ direction @ np.diag([0.9, 1.1, 5.5])
    affine[:3, 3] = [90, 70, 12]
    nib.Nifti1Image(image(), affine).to_filename(tmp_path / "same.nii.gz")
    same = read_volume(str(tmp_path / "same.nii.gz"))
    np.testing.assert_allclose(volume.affine, same.affine, atol=1e-4)
    assert content_of(volume.voxels) == content_of(same.voxels)
    ours, theirs = (turn_to_lps(one.voxels, one.affine) for one in (volume, same))
    np.testing.assert_array_equal(ours[0], theirs[0])
    np.testing.assert_allclose(ours[1], theirs[1], atol=1e-4)


def test_the_digest_is_that_of_the_slices_whatever_their_names_and_nothing_names_the_patient(tmp_path: Path) -> None:
    paths = write(tmp_path / "series", image())
    assert PATIENT.encode() in paths[0].read_bytes()
    volume = read_dicom_series(tmp_path / "series")
    for path in paths:
        path.rename(path.with_name(f"{int(path.stem[2:]) - 60}"))
    assert read_dicom_series(tmp_path / "series").sha256 == volume.sha256
    kept = repr([getattr(volume, field.name) for field in fields(volume)])
    assert all(word not in kept for word in ("Meier", "Anna", "4711", "1950"))
    again = image()
    again[0, 0, 0] = 7
    write(tmp_path / "other", again)
    assert read_dicom_series(tmp_path / "other").sha256 != volume.sha256


def test_voxels_are_rescaled_as_the_header_says(tmp_path: Path) -> None:
    intercept, slope = b"\x28\0\x52\x10\x02\0\0\0", b"\x28\0\x53\x10\x02\0\0\0"
    for path in write(tmp_path / "series", image()):
        stored = path.read_bytes()
        assert stored.count(intercept + b"0 " + slope + b"1 ") == 1  # implicit VR; GDCM writes no others for integers
        path.write_bytes(stored.replace(intercept + b"0 " + slope + b"1 ", intercept + b"7 " + slope + b".5"))
    np.testing.assert_allclose(read_dicom_series(tmp_path / "series").voxels, image() * 0.5 + 7)


def refusal(folder: Path) -> BadImage:
    with pytest.raises(BadImage) as refused:
        read_dicom_series(folder)
    assert str(folder) in str(refused.value)
    assert PATIENT not in str(refused.value)
    assert refused.value.reason in dicom.DICOM_REASONS
    returned = pickle.loads(pickle.dumps(refused.value))  # noqa: S301 - as Dask sends it from a worker
    assert (returned.reason, str(returned)) == (refused.value.reason, str(refused.value))
    return refused.value


def test_a_missing_or_doubled_slice_is_found_and_its_place_named(tmp_path: Path) -> None:
    paths = write(tmp_path / "series", image())
    shutil.copy(paths[1], tmp_path / "series" / "twice.dcm")
    assert refusal(tmp_path / "series").reason == dicom.MISSING_SLICES
    (tmp_path / "series" / "twice.dcm").unlink()
    paths[2].unlink()
    error = refusal(tmp_path / "series")
    assert error.reason == dicom.MISSING_SLICES
    assert "between im98.dcm and im96.dcm lie 11 mm, between most of its 4 slices 5.5 mm" in str(error)


def test_several_series_are_named_and_none_is_chosen(tmp_path: Path) -> None:
    write(tmp_path / "series", image())
    write(tmp_path / "series", image()[:, :, :3], series="1.2.840.99", prefix="scout")
    error = refusal(tmp_path / "series")
    assert error.reason == dicom.SEVERAL_SERIES
    assert "that of im95.dcm (5 slices), that of file 6 by name (3 slices)" in str(error)
    assert SERIES not in str(error)


def test_slices_of_another_size_or_direction_are_not_stacked(tmp_path: Path) -> None:
    write(tmp_path / "sizes", image())
    write(tmp_path / "sizes", image()[:8, :, :1], prefix="ex")
    assert refusal(tmp_path / "sizes").reason == dicom.MIXED_SLICES
    write(tmp_path / "turns", image())
    write(tmp_path / "turns", image()[:, :, :1], direction=turned(), prefix="ex")
    assert refusal(tmp_path / "turns").reason == dicom.MIXED_SLICES


def test_what_cannot_be_read_is_refused_and_not_left_out(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nowhere").reason == dicom.UNREADABLE
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "readme.txt").write_text("no slice")
    assert refusal(tmp_path / "empty").reason == dicom.NO_SERIES
    for kept in (200, 500, -40):
        folder = tmp_path / f"cut{kept}"
        cut = write(folder, image())[4]  # the outermost, whose loss leaves no gap
        cut.write_bytes(cut.read_bytes()[:kept])
        assert refusal(folder).reason == dicom.UNREADABLE
    write(tmp_path / "one", image()[:, :, :1])
    assert refusal(tmp_path / "one").reason == dicom.NOT_3D
    write(tmp_path / "constant", np.full((9, 7, 5), 3, np.int16))
    assert refusal(tmp_path / "constant").reason == dicom.EMPTY


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda _: b"", "it is empty"),
        (lambda _: b"<html><body>502 Bad Gateway</body></html>" * 9, "it is no DICOM"),
        (lambda stored: stored[:100], "it is no DICOM"),
        (lambda stored: stored[128:], "it is no DICOM"),
        (lambda stored: b"\x1f\x8b\x08" + stored, "it is no DICOM"),
        (lambda stored: stored[:160], "damaged"),
        (lambda stored: stored[:-60], "damaged"),
    ],
    ids=["empty", "a page of an error", "100 bytes", "from the mark on", "packed", "the beginning alone", "cut short"],
)
@pytest.mark.parametrize("name", ["im95.dcm", "im97.dcm"], ids=["at an end", "in the middle"])
def test_a_slice_that_cannot_be_read_costs_the_series_and_is_named(
    tmp_path: Path, content: Callable[[bytes], bytes], said: str, name: str
) -> None:
    write(tmp_path / "series", image())
    path = tmp_path / "series" / name
    path.write_bytes(content(path.read_bytes()))
    error = refusal(tmp_path / "series")
    assert error.reason == dicom.UNREADABLE
    assert said in str(error)
    assert name in str(error)


def test_all_slices_that_cannot_be_read_are_named_at_once(tmp_path: Path) -> None:
    paths = write(tmp_path / "series", image())
    for path, content in zip(paths, (b"", b"", b"nothing"), strict=False):
        path.write_bytes(content)
    told = str(refusal(tmp_path / "series"))
    assert "im98.dcm, im99.dcm: it is empty" in told
    assert "im97.dcm: it is no DICOM" in told


@pytest.mark.parametrize("kept", ["all but the preamble", "the data set alone"])
@pytest.mark.parametrize("which", [slice(None), slice(4, 5)], ids=["all slices", "the last"])
def test_slices_without_a_preamble_are_read(tmp_path: Path, kept: str, which: slice) -> None:
    paths = write(tmp_path / "series", image())
    whole = read_dicom_series(tmp_path / "series")
    for path in paths[which]:
        stored = path.read_bytes()
        meta = 144 + int.from_bytes(stored[140:144], "little")
        path.write_bytes(stored[132:] if kept == "all but the preamble" else stored[meta:])
    volume = read_dicom_series(tmp_path / "series")
    np.testing.assert_array_equal(volume.voxels, whole.voxels)
    np.testing.assert_array_equal(volume.affine, whole.affine)


DEFLATED_SYNTAX = b"\x02\0\x10\0UI\x16\x001.2.840.10008.1.2.1.99"
SEQUENCE, ITEM, UNDEFINED = b"\x08\0\x15\x11", b"\xfe\xff\0\xe0", b"\xff" * 4


@pytest.mark.parametrize(
    "inserted",
    [
        (SEQUENCE + UNDEFINED + ITEM + UNDEFINED) * 1_000,
        SEQUENCE + UNDEFINED + (ITEM + b"\0" * 4) * 100_000,
        SEQUENCE + b"\xf0\xff\xff\xff",
        b"\x08\0\0\0" + b"\0" * 4 * 100_000,
    ],
    ids=["sequences in sequences", "a sequence of 100,000 items", "an element of 4 GB", "100,000 empty elements"],
)
def test_a_hostile_header_is_refused_soon_and_with_little_memory(inserted: bytes) -> None:
    start = (Path(__file__).parents[2] / "fuzz/corpus/dicom_meta/sound").read_bytes()
    end_of_meta = 144 + int.from_bytes(start[140:144], "little")
    assert place_of(read_texts(start)).position.tolist() == [-90, -70, 12]
    tracemalloc.start()
    began = time.process_time()
    with pytest.raises(BadSlice):
        place_of(read_texts((start[:end_of_meta] + inserted + start[end_of_meta:])[:HEADER]))
    assert time.process_time() - began < 20
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()


def test_a_deflated_series_is_refused_before_anything_is_inflated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in write(tmp_path / "series", image()):
        stored = path.read_bytes()
        meta = 144 + int.from_bytes(stored[140:144], "little")
        named = stored[:meta].replace(b"\x02\0\x10\0UI\x12\x001.2.840.10008.1.2\0", DEFLATED_SYNTAX)
        assert named != stored[:meta]
        path.write_bytes(named + zlib.compress(stored[meta:], wbits=-15))
    monkeypatch.setattr("gliolake.ingest.readers.dicom_header.sitk", None)
    error = refusal(tmp_path / "series")
    assert error.reason == dicom.UNREADABLE
    assert "im95.dcm" in str(error)
    assert "it is deflated, or of a transfer syntax that is not read" in str(error)


def test_documents_beside_slices_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "series", image())
    for name in (
        "README",
        "LICENSE.txt",
        "im95.json",
        "view.jpg",
        "SHA256SUMS",
        "DICOMDIR",
        "im95.nii.gz",
        "._im95.dcm",
    ):
        (tmp_path / "series" / name).write_text("no slice")
    assert read_dicom_series(tmp_path / "series").voxels.shape == (9, 7, 5)


def test_an_enhanced_file_of_many_frames_is_refused_by_its_kind(tmp_path: Path) -> None:
    (tmp_path / "series").mkdir()
    frames = sitk.GetImageFromArray(np.ascontiguousarray(image().transpose(2, 1, 0)))
    frames.SetMetaData("0008|0060", "MR")
    sitk.WriteImage(frames, str(tmp_path / "series" / "im1.dcm"))
    error = refusal(tmp_path / "series")
    assert error.reason == dicom.MANY_FRAMES
    assert "convert it to NIfTI" in str(error)


@pytest.mark.parametrize(
    ("first", "announced", "note"),
    [
        (0, "", None), (1, "5", None), (5, "", "numbered from 5"), (1, "16", "speak of 16 images, and 5 are here"),
    ],
)  # fmt: skip
def test_numbers_that_speak_of_more_slices_are_a_note(
    tmp_path: Path, first: int, announced: str, note: str | None
) -> None:
    write(tmp_path / "series", image(), first=first, announced=announced)
    notes = read_dicom_series(tmp_path / "series").notes
    assert bool(notes) is (note is not None)
    assert note is None or note in notes[0]


def test_every_second_slice_missing_leaves_no_gap_but_a_note(tmp_path: Path) -> None:
    for path in write(tmp_path / "series", image(), first=1)[1::2]:
        path.unlink()
    volume = read_dicom_series(tmp_path / "series")
    assert volume.notes == ("its 3 slices are numbered from 1 to 5: some may be missing",)


@pytest.mark.parametrize("name", ["im95.dcm.part", "im94.dcm.crdownload", "IM0007.tmp"])
def test_a_slice_whose_download_broke_off_costs_the_series_whichever_it_is(tmp_path: Path, name: str) -> None:
    *_, last = write(tmp_path / "series", image())
    last.rename(last.with_name(name))
    (last.parent / ".im95.dcm.part").write_bytes(b"of a system")
    error = refusal(tmp_path / "series")
    assert error.reason == dicom.UNREADABLE
    assert "half of a download" in str(error)


def test_a_raw_cohort_of_series_is_ingested_with_boxes_and_a_lost_slice_is_noticed(
    lake: Lake, tmp_path: Path, scheduler: str
) -> None:
    (tmp_path / "clinic.toml").write_text(COHORT, encoding="utf-8")
    (tmp_path / "boxes.csv").write_text("scan_id,x0,x1,y0,y1,z0,z1\nS001,1,4,2,5,0,3\nS002,1,4,2,5,0,3\n")
    paths = {}
    for scan in ("S001", "S002"):
        for number, role in enumerate(("flair", "t1", "t1 gad", "t2")):
            direction = turned() if role == "t2" else None
            paths[scan, role] = write(tmp_path / "images" / scan / role, image() + number, direction=direction)
    paths["S002", "t1"][2].unlink()

    def again() -> tuple[int, list[tuple[str, str]]]:
        boxes = tmp_path / "boxes.csv"
        report = ingest(lake, tmp_path / "clinic.toml", tmp_path / "images", boxes=boxes, scheduler=scheduler)
        return report.read, [(row["scan_id"], row["reason"]) for row in lake.read("exclusions").to_pylist()]

    assert again() == (2, [("S002", dicom.MISSING_SLICES)])
    (row,) = lake.read("scans").to_pylist()
    assert (row["tumour_box"], row["warnings"]) == ([1, 4, 2, 5, 0, 3], ["box given by hand"])
    assert (row["shape"], row["orientation"]) == ([9, 7, 5], "LPS")
    for file in row["files"]:
        assert file["uri"].endswith("/")
        assert read_image(file["uri"]).sha256 == file["sha256"]
    assert PATIENT not in str(row)
    assert again()[0] == 0
    paths["S001", "t2"][4].unlink()
    paths["S001", "t2"][3].unlink()  # what is left is a sound series of three
    assert again() == (1, [("S002", dicom.MISSING_SLICES)])


def test_a_series_that_announces_too_much_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "series", image())
    size = sum(path.stat().st_size for path in (tmp_path / "series").iterdir())
    monkeypatch.setattr(limits, "IMAGE", size)
    monkeypatch.setattr(dicom, "_WIDEST", size)
    monkeypatch.setattr(dicom.sitk, "ImageSeriesReader", None)  # a reader would fail
    assert refusal(tmp_path / "series").reason == dicom.TOO_LARGE
