"""The contact sheet: what is drawn where, which slices are shown, and what is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image, ImageDraw

from gliolake.errors import InputError
from gliolake.features.clips import ClipSettings
from gliolake.features.preview.command import preview, shown_slices
from gliolake.features.preview.sheet import FRAME, GAP, HEADER, MARGIN, OUTLINE, TILE_WIDTH, SheetRow, contact_sheet
from gliolake.ingest.readers.nifti import read_volume, turn_to_lps
from gliolake.runs import start_run
from gliolake.schema.vocabulary import MODALITIES
from gliolake.storage.lake import Lake

SHAPE = (60, 50, 12)
RAS = np.diag([1.0, 1.0, 1.0, 1.0])
SMALL = ClipSettings(box=20, slices=12)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that is written on a sheet."""
    texts: list[str] = []
    written = ImageDraw.ImageDraw.text

    def note(self: ImageDraw.ImageDraw, xy: Any, text: str, *args: Any, **options: Any) -> None:
        texts.append(text)
        written(self, xy, text, *args, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", note)
    return texts


def head() -> np.ndarray:
    """In RAS: grey 100 with one bright block at the left (high i) and front (high j), and dark surroundings."""
    image = np.zeros(SHAPE, np.int16)
    image[5:55, 5:45, 1:11] = 100
    image[40:52, 30:42, 1:11] = 900
    return image


def put(lake: Lake, folder: Path, scan: str, *, cohort: str = "made", masked: bool = True, **values: Any) -> None:
    """A scan in the lake, its files stored RAS so that the preview has to turn them."""
    images = {modality: head() for modality in MODALITIES}
    if masked:
        images["mask"] = np.zeros(SHAPE, np.uint8)
        images["mask"][40:50, 30:40, 4:8] = 1
    files = []
    for role, voxels in images.items():
        path = folder / f"{cohort}_{scan}_{role}.nii"
        nib.Nifti1Image(voxels, RAS).to_filename(path)
        volume = read_volume(str(path))
        files.append(
            {"role": role, "uri": str(path), "bytes": 1, "mtime_ns": 1, "sha256": volume.sha256}
            | {"dtype": voxels.dtype.name, "content": []}
        )
    row = {
        "cohort": cohort, "scan_id": scan, "source_id": scan, "subject_id": scan, "visit_day": 0, "files": files,
        "shape": list(SHAPE), "spacing_mm": [1.0] * 3, "affine": RAS.ravel().tolist(), "orientation": "RAS",
        "tumour_box": [10, 20, 10, 20, 4, 8], "tumour_voxels": 400, "mask_labels": [], "warnings": [],
        "fingerprint": "x",
    }  # fmt: skip
    with start_run(lake, "test", {}) as run:
        run.transact(lambda transaction: transaction.upsert("scans", [row | values]))


def test_tumour_box_and_image_stand_where_a_radiologist_looks_for_them(
    lake: Lake, tmp_path: Path, drawn: list[str]
) -> None:
    put(lake, tmp_path, "scan-1")
    before = lake.version
    out = preview(lake, "scan-1", tmp_path / "scan-1.png", columns=2, settings=SMALL)
    assert lake.version == before
    sheet = np.asarray(Image.open(out).convert("RGB")).astype(int)
    scale = TILE_WIDTH / SHAPE[0]
    for column in range(2):
        left = MARGIN + column * (TILE_WIDTH + GAP)
        tile = sheet[HEADER : HEADER + round(SHAPE[1] * scale), left : left + TILE_WIDTH]
        # RAS index i becomes column 59 - i, j becomes row 49 - j: the block lies upper left of the middle.
        assert tile[round(10.5 * scale), round(12.5 * scale)].tolist() == [255, 255, 255]
        assert tile[round(10.5 * scale), round(45.5 * scale)].max() < 60
        assert tile[2, 2].max() == 0
        box = np.argwhere((tile == FRAME).all(axis=2))
        assert [box.min(0).tolist(), box.max(0).tolist()] == [[40, 40], [119, 119]]
        rim = np.argwhere((tile == OUTLINE).all(axis=2))
        assert rim.size
        assert (rim.max(0) <= 80).all()
        assert (rim.min(0) >= 39).all()
    assert {"scan-1  (made)", *MODALITIES, "slice 5", "slice 7", "tumour mask", "box 20 by 20"} <= set(drawn)
    assert "SYNTHETIC" not in drawn
    assert "beyond the image" not in drawn


def test_a_synthetic_scan_says_so_on_its_sheet(lake: Lake, tmp_path: Path, drawn: list[str]) -> None:
    put(lake, tmp_path, "scan-1", warnings=["synthetic"])
    preview(lake, "scan-1", tmp_path / "sheet.PNG", settings=SMALL)
    assert "SYNTHETIC" in drawn


def test_a_scan_without_a_mask_shows_the_box_that_was_given_for_it(
    lake: Lake, tmp_path: Path, drawn: list[str]
) -> None:
    put(lake, tmp_path, "scan-1", masked=False, tumour_box=[10, 30, 10, 20, 4, 8], warnings=["box given by hand"])
    out = preview(lake, "scan-1", tmp_path / "sheet.png", columns=1, box=(50, 10), settings=SMALL)
    assert "beyond the image" in drawn
    assert "tumour mask" not in drawn
    assert "tumour box" in drawn
    sheet = np.asarray(Image.open(out).convert("RGB")).astype(int)
    scale = TILE_WIDTH / 70  # the networks' box reaches ten voxels beyond the image
    outline = np.argwhere((sheet[HEADER : HEADER + round(50 * scale)] == OUTLINE).all(axis=2)) - [0, MARGIN]
    assert outline.min(0) == pytest.approx([10 * scale, 10 * scale], abs=1)
    assert outline.max(0) == pytest.approx([20 * scale - 1, 30 * scale - 1], abs=1)
    with pytest.raises(InputError, match="begins at x 60, y 10, outside"):
        preview(lake, "scan-1", tmp_path / "other.png", box=(60, 10), settings=SMALL)
    assert not (tmp_path / "other.png").exists()
    with pytest.raises(InputError, match="No preprocessed volumes of scan scan-1 are kept") as refused:
        preview(lake, "scan-1", tmp_path / "other.png", volumes="after")
    assert "gliolake preprocess" in refused.value.hint


def test_what_cannot_be_shown_is_refused_with_the_way_out(lake: Lake, tmp_path: Path) -> None:
    put(lake, tmp_path, "scan-1")
    put(lake, tmp_path, "scan-1", cohort="other")
    put(lake, tmp_path, "scan-2")
    left_out = {"cohort": "made", "scan_id": "scan-9", "step": "images", "reason": "missing mask"}
    left_out |= {"detail": "No file ending in _seg.nii.gz.", "source": "x", "fingerprint": ""}
    with start_run(lake, "test", {}) as run:
        run.transact(lambda transaction: transaction.upsert("exclusions", [left_out]))
    nib.Nifti1Image(head() + 1, RAS).to_filename(tmp_path / "made_scan-2_T2.nii")
    refusals = {
        ("scan-11", None, "s.png"): ("no scan named 'scan-11'", "Did you mean scan-1"),
        ("scan-9", None, "s.png"): (r"left out of the lake \(missing mask: No file", "ingest again"),
        ("scan-1", None, "s.png"): ("made and other each have", "--cohort"),
        ("scan-2", None, "s.png"): ("made_scan-2_T2.nii of scan scan-2 was changed", "ingest"),
        ("scan-1", "made", "s.jpg"): ("s.jpg does not end in .png", ""),
    }
    for (scan, cohort, name), (fact, hint) in refusals.items():
        with pytest.raises(InputError, match=fact) as refused:
            preview(lake, scan, tmp_path / name, cohort=cohort, settings=SMALL)
        assert hint in refused.value.hint
        assert not (tmp_path / name).exists()
    assert preview(lake, "scan-1", tmp_path / "s.png", cohort="other", settings=SMALL).exists()


def test_slices_are_spread_over_what_holds_something_and_none_is_shown_twice() -> None:
    mask = np.zeros((4, 4, 40), np.uint8)
    mask[1, 1, 10:30] = 1
    assert shown_slices(mask, 5) == (12, 16, 20, 24, 28)
    mask[1, 1] = 0
    mask[1, 1, [3, 9]] = 1
    assert shown_slices(mask, 5) == (3, 9)


def test_images_of_different_grids_stand_on_one_sheet_in_one_scale() -> None:
    fine = SheetRow("fine", np.arange(40 * 40 * 3).reshape(40, 40, 3), (1.0, 1.0, 1.0), (0, 2))
    coarse = SheetRow("coarse", np.arange(20 * 10 * 3).reshape(20, 10, 3), (2.0, 2.0, 5.0), (1,))
    sheet = np.asarray(contact_sheet([fine, coarse], "two grids"))
    caption = sheet.shape[0] - HEADER - TILE_WIDTH - TILE_WIDTH // 2
    assert 0 < caption < 60
    with pytest.raises(InputError, match="at least one image"):
        contact_sheet([], "nothing")


def test_a_real_case_with_all_its_tumour_is_drawn(reference: Path, tmp_path: Path) -> None:
    folder = reference / "scans" / "BraTS21" / "BraTS2021_00000"
    flair, mask = (
        turn_to_lps((v := read_volume(str(folder / f"BraTS2021_00000_{name}.nii.gz"))).voxels, v.affine)[0]
        for name in ("flair", "seg")
    )
    slices = shown_slices(mask, 3)
    sheet = contact_sheet([SheetRow("FLAIR", flair, (1.0, 1.0, 1.0), slices, mask, (118, 44))], "real")
    pixels = np.asarray(sheet)
    for column in range(3):
        left = MARGIN + column * (TILE_WIDTH + GAP)
        tile = pixels[HEADER : HEADER + 230, left : left + TILE_WIDTH]
        rim = (tile == OUTLINE).all(axis=2)
        assert rim.sum() > 50
        # FLAIR is bright where the annotators saw tumour.
        rows, columns = np.nonzero(rim)
        inside = tile[rows.min() : rows.max(), columns.min() : columns.max()].mean()
        assert inside > 1.5 * tile.mean()
