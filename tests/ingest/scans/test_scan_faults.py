"""What is wrong with a scan is said of that scan, with its file, and of no other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from gliolake.ingest.cohorts.description import load_cohort
from gliolake.ingest.scans.discovery import find_scans
from gliolake.ingest.scans.images import read_scan, reading_failed
from gliolake.ingest.scans.masks import measure_mask

BRATS = load_cohort("brats21")
GOOD, BAD = "BraTS2021_00001", "BraTS2021_00002"


def outcomes(root: Path) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """Rows of the sound scans by id, and of the others reason -> detail."""
    assert BRATS.images is not None
    found = find_scans(BRATS, root)
    read = {scan.scan_id: read_scan(scan, BRATS.images) for scan in found.scans}
    left_out = {name: {row["reason"]: row["detail"] for row in scan.exclusions} for name, scan in read.items()}
    for row in found.exclusions:
        left_out[row["scan_id"]] = {row["reason"]: row["detail"]}
    return {name: scan.row for name, scan in read.items() if scan.row}, {k: v for k, v in left_out.items() if v}


def truncated(files: dict[str, Path], _: Any) -> None:
    files["T2"].write_bytes(files["T2"].read_bytes()[:900])


def on_another_grid(files: dict[str, Path], writer: Any) -> None:
    writer.save(files["T1"], writer.image(9)[:-2])


def shifted(files: dict[str, Path], writer: Any) -> None:
    affine = writer.affine.copy()
    affine[0, 3] += 0.2
    writer.save(files["T1"], writer.image(9), affine)


def in_two_formats(files: dict[str, Path], writer: Any) -> None:
    writer.save(files["T1"].with_suffix(""), writer.image(9))


def with_labels(*labels: float) -> Any:
    def spoil(files: dict[str, Path], writer: Any) -> None:
        mask = writer.mask().astype(np.float32)
        mask[0, 0, : len(labels)] = labels
        writer.save(files["mask"], mask)

    return spoil


FAULTS = {
    "truncated gzip": (truncated, "unreadable file", "T2: "),
    "NaN voxels": (
        lambda files, w: w.save(files["T1wCE"], np.where(w.image(1) > 500, np.nan, w.image(1)).astype(np.float32)),
        "voxels not finite",
        "_t1ce.nii.gz",
    ),
    "4-D image": (lambda files, w: w.save(files["FLAIR"], np.stack([w.image(1)] * 2, 3)), "not a 3-D image", "FLAIR: "),
    "empty image": (lambda files, w: w.save(files["T2"], np.zeros_like(w.image(1))), "empty image", "every voxel is 0"),
    "other shape": (on_another_grid, "modalities on different grids", "T1 has 22×20×16 voxels, FLAIR 24×20×16"),
    "other place": (shifted, "modalities on different grids", "T1 lies 0.2 mm from FLAIR"),
    "empty mask": (lambda files, w: w.save(files["mask"], np.zeros_like(w.mask())), "empty mask", "mask: "),
    "mask of rounded zeros": (
        lambda files, w: w.save(files["mask"], w.mask() * np.float32(1e-4)),
        "empty mask",
        "its labels are all 0 but for rounding",
    ),
    "mask label that is near no whole number": (with_labels(1.0081), "unknown mask labels", "labels 1.0081"),
    "unknown mask label": (with_labels(3, 7), "unknown mask labels", "labels 3, 7; accepted are 1, 2, 4"),
    "fractional mask": (with_labels(0.5, 1.00002), "unknown mask labels", "labels 0.5; accepted are 1, 2, 4"),
    "missing modality": (lambda files, w: files["T1"].unlink(), "missing modality", "T1"),
    "missing mask": (lambda files, w: files["mask"].unlink(), "missing mask", "seg"),
    "two files for one modality": (in_two_formats, "two files for one modality", "_t1.nii, "),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_costs_its_own_scan_and_no_other(tmp_path: Path, writer: Any, fault: str) -> None:
    spoil, reason, detail = FAULTS[fault]
    writer.scan(tmp_path, GOOD, 1)
    spoil(writer.scan(tmp_path, BAD, 2), writer)
    sound, left_out = outcomes(tmp_path)
    assert list(sound) == [GOOD]
    assert list(left_out) == [BAD]
    assert list(left_out[BAD]) == [reason]
    assert detail in left_out[BAD][reason]


def test_all_faults_of_a_scan_are_told_at_once(tmp_path: Path, writer: Any) -> None:
    files = writer.scan(tmp_path, BAD)
    truncated(files, writer)
    on_another_grid(files, writer)
    with_labels(9)(files, writer)
    assert set(outcomes(tmp_path)[1][BAD]) == {
        "unreadable file",
        "modalities on different grids",
        "unknown mask labels",
    }


def test_a_scan_folder_with_nothing_in_it_and_a_folder_with_a_strange_name_are_told(
    tmp_path: Path, writer: Any
) -> None:
    (tmp_path / BAD).mkdir()
    (tmp_path / "notes").mkdir()
    writer.scan(tmp_path, "BraTS2021_00001 (copy)")
    sound, left_out = outcomes(tmp_path)
    assert sound == {}
    assert set(left_out) == {BAD, "BraTS2021_00001 (copy)"}
    assert "FLAIR, T1, T1wCE, T2" in left_out[BAD]["missing modality"]
    assert "no scan id" in left_out["BraTS2021_00001 (copy)"]["unreadable id"]


def test_one_scan_in_two_folders_is_two_files_for_each_modality(tmp_path: Path, writer: Any) -> None:
    writer.scan(tmp_path / "first", BAD)
    writer.scan(tmp_path / "second", BAD)
    _, left_out = outcomes(tmp_path)
    assert list(left_out[BAD]) == ["two files for one modality"]


def test_modalities_of_a_raw_cohort_may_have_grids_of_their_own_but_its_mask_may_not(
    tmp_path: Path, writer: Any
) -> None:
    assert BRATS.images is not None
    rules = replace(BRATS.images, several_grids=True)
    files = writer.scan(tmp_path, GOOD)
    on_another_grid(files, writer)
    (scan,) = find_scans(BRATS, tmp_path).scans
    assert read_scan(scan, rules).row is not None
    writer.save(files["T1wCE"], writer.image(8), np.diag([-2.0, -1.0, 1.0, 1.0]))
    (row,) = read_scan(scan, rules).exclusions
    assert row["reason"] == "modalities on different grids"
    assert row["detail"].startswith("mask lies 24 mm from T1wCE")
    (row,) = read_scan(scan, BRATS.images).exclusions
    assert "[preprocessing]" in row["detail"]


def test_tiny_differences_of_place_are_no_other_grid_and_odd_but_sound_scans_carry_warnings(
    tmp_path: Path, writer: Any
) -> None:
    root = tmp_path / "cohort"
    files = writer.scan(root, GOOD)
    writer.save(files["T1"], writer.image(5), writer.affine + 1e-5 * (np.eye(4) - 1))
    mask = writer.mask()
    writer.save(files["mask"], np.where(mask == 4, 1, mask))
    files["T2"].unlink()
    files["T2"].symlink_to(writer.save(root / "kept" / "x.nii.gz", writer.image(5)))
    (root / "loop").symlink_to(root)
    sound, left_out = outcomes(root)
    assert left_out == {}
    assert sound[GOOD]["warnings"] == [
        "no voxel of label 4 (enhancing tumour)",
        "T2 holds the same voxels as T1",
    ]


@pytest.mark.parametrize("turned", [("mask",), ("T1wCE",), ("FLAIR", "mask"), ("T1", "T2")])
def test_files_of_one_space_may_be_stored_in_other_orientations(
    tmp_path: Path, writer: Any, turned: tuple[str, ...]
) -> None:
    before = outcomes_of_one(tmp_path / "before", writer)
    files = writer.scan(tmp_path / "after", GOOD)
    for number, role in enumerate(turned):
        image = nib.load(files[role])
        turn = np.array([[(0, 2, 1)[number], -1], [(2, 1, 0)[number], 1], [(1, 0, 2)[number], -1]])
        nib.save(image.as_reoriented(turn), files[role])
    sound, left_out = outcomes(tmp_path / "after")
    assert left_out == {}
    for column in ("tumour_box", "tumour_voxels", "mask_labels", "warnings"):
        assert sound[GOOD][column] == before[column]
    assert [file["content"] for file in sound[GOOD]["files"]] == [file["content"] for file in before["files"]]
    mirrored = nib.load(files["mask"])
    writer.save(files["mask"], np.asarray(mirrored.dataobj)[::-1], mirrored.affine @ np.diag([1, 1, 1.05, 1]))
    assert set(outcomes(tmp_path / "after")[1][GOOD]) == {"modalities on different grids"}


def outcomes_of_one(root: Path, writer: Any) -> Any:
    writer.scan(root, GOOD)
    return outcomes(root)[0][GOOD]


@pytest.mark.parametrize("error", [-6e-8, 2e-5, -1e-7, 0.0078])
def test_mask_labels_that_are_whole_but_for_rounding_are_whole_with_a_warning(
    tmp_path: Path, writer: Any, error: float
) -> None:
    before = outcomes_of_one(tmp_path / "before", writer)
    files = writer.scan(tmp_path / "after", GOOD)
    mask = writer.mask() * np.float32(1 + error / 5) + np.float32(error / 5)
    writer.save(files["mask"], mask)
    sound, left_out = outcomes(tmp_path / "after")
    assert left_out == {}
    assert sound[GOOD]["warnings"] == ["mask: labels rounded to whole numbers"]
    for column in ("tumour_box", "tumour_voxels", "mask_labels"):
        assert sound[GOOD][column] == before[column]


def test_what_was_guessed_to_read_a_file_is_a_warning_of_its_scan(tmp_path: Path, writer: Any) -> None:
    files = writer.scan(tmp_path, GOOD)
    for path in files.values():
        image = nib.load(path)
        image.set_sform(None, 0)
        image.set_qform(None, 0)
        image.to_filename(path)
    sound, left_out = outcomes(tmp_path)
    assert left_out == {}
    (warning,) = sound[GOOD]["warnings"]
    assert warning.startswith("FLAIR, T1, T1wCE, T2, mask: position guessed")


def test_a_file_that_may_not_be_opened_and_a_failed_reading_are_tried_again_next_time(
    tmp_path: Path, writer: Any
) -> None:
    assert BRATS.images is not None
    files = writer.scan(tmp_path, BAD)
    (scan,) = find_scans(BRATS, tmp_path).scans
    files["T1"].unlink()
    (row,) = read_scan(scan, BRATS.images).exclusions
    assert (row["reason"], row["fingerprint"]) == ("unreadable file", "")
    row = reading_failed(scan, MemoryError("no 8 TiB left"))
    assert (row["reason"], row["fingerprint"]) == ("reading failed", "")
    assert row["detail"] == "MemoryError: no 8 TiB left"


@pytest.mark.parametrize(("signs", "box"), [((-1, -1, 1), [3, 9, 5, 12, 2, 8]), ((1, 1, -1), [15, 21, 8, 15, 8, 14])])
def test_the_tumour_box_is_in_lps_voxels_whichever_way_the_file_is_stored(
    writer: Any, signs: Any, box: list[int]
) -> None:
    found, counts = measure_mask(writer.mask(), np.diag([*signs, 1.0]))
    assert found == box
    assert counts == {label: int((writer.mask() == label).sum()) for label in (1, 2, 4)}
    axes = np.asfortranarray(writer.mask().transpose(2, 0, 1))
    affine = np.diag([*signs, 1.0])[:, [2, 0, 1, 3]]
    assert measure_mask(axes, affine) == (box, counts)


def test_real_scans_give_the_boxes_and_label_counts_that_nibabel_gives(reference: Path) -> None:
    sound, left_out = outcomes(reference / "scans")
    assert left_out == {}
    assert set(sound) == {"BraTS2021_00000", "BraTS2021_01480"}
    for scan_id, row in sound.items():
        image = nib.load(reference / "scans" / "BraTS21" / scan_id / f"{scan_id}_seg.nii.gz")
        assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
        mask = image.get_fdata()
        where = np.argwhere(mask > 0)
        assert row["tumour_box"] == np.stack([where.min(0), where.max(0) + 1], 1).ravel().tolist()
        assert row["tumour_voxels"] == len(where)
        assert row["mask_labels"] == [{"label": int(v), "voxels": int((mask == v).sum())} for v in np.unique(mask) if v]
        assert (row["orientation"], row["shape"], row["spacing_mm"]) == ("LPS", [240, 240, 155], [1.0, 1.0, 1.0])
    counts = {entry["label"]: entry["voxels"] for entry in sound["BraTS2021_00000"]["mask_labels"]}
    assert counts == {1: 11738, 2: 12836, 4: 32731}
    assert sound["BraTS2021_01480"]["warnings"] == ["no voxel of label 4 (enhancing tumour)"]
