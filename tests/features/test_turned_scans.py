"""A scan whose files are stored in several orientations gives the clips and volumes of the same scan in one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from gliolake.analysis.case import panels
from gliolake.features.clips import ClipSettings
from gliolake.features.extraction.scan_task import ScanFile, ScanTask, Wanted, cut_clips
from gliolake.features.preprocessing.settings import PreprocessSettings
from gliolake.features.preprocessing.task import SessionTask, preprocess_session
from gliolake.features.preprocessing.volumes import read_unchanged
from gliolake.features.preview.sheet import contact_sheet
from gliolake.ingest.cohorts.description import load_cohort
from gliolake.ingest.readers.nifti import parse_volume
from gliolake.ingest.scans.discovery import find_scans
from gliolake.ingest.scans.images import read_scan
from gliolake.schema.vocabulary import BRANCHES, MODALITIES
from tests.support.scans import ScanWriter

BRATS = load_cohort("brats21")
NAME = "BraTS2021_00001"
TURNS = {"T2": [[1, -1], [2, 1], [0, -1]], "T1": [[0, -1], [1, 1], [2, 1]], "mask": [[2, -1], [0, -1], [1, 1]]}


@pytest.fixture(scope="module", name="scans")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The rows of a scan, as it came and with turned files, whose mask is also stored as numbers that were rounded."""
    writer, rows = ScanWriter(), []
    for turned in (False, True):
        root = tmp_path_factory.mktemp("images")
        files: dict[str, Path] = writer.scan(root, NAME)
        for role, turn in TURNS.items() if turned else ():
            image = nib.load(files[role])
            if role == "mask":
                image = nib.Nifti1Image(image.get_fdata() * 0.9999 + 1e-6, image.affine)
            nib.save(image.as_reoriented(np.array(turn)), files[role])
        assert BRATS.images is not None
        (scan,) = find_scans(BRATS, root).scans
        row = read_scan(scan, BRATS.images).row
        assert row is not None
        rows.append(row)
    return rows


def test_clips_are_equal_to_the_last_bit(scans: list[dict[str, Any]]) -> None:
    made = []
    settings = ClipSettings(box=12, slices=16)
    for row in scans:
        files = tuple(ScanFile(file["role"], file["uri"], file["sha256"]) for file in row["files"])
        wanted = Wanted("set", None, BRANCHES)  # type: ignore[arg-type]
        clips, failures = cut_clips(ScanTask("c", NAME, files, tuple(row["tumour_box"]), (wanted,)), settings)
        assert failures == {}
        made.append({branch: clip.tobytes() for branch, clip in clips.items()})
    assert list(made[0]) == list(BRANCHES)
    assert made[0] == made[1]


@pytest.mark.parametrize("steps", [("denoise", "fit", "normalise"), ("bias", "resample")])
def test_preprocessed_volumes_are_equal_to_the_last_bit(scans: list[dict[str, Any]], steps: tuple[str, ...]) -> None:
    outcomes = []
    for row in scans:
        files = tuple((file["role"], file["uri"], file["sha256"]) for file in row["files"])
        settings = PreprocessSettings(steps=steps, size=(24, 20, 16))
        task = SessionTask("c", NAME, files, tuple(row["tumour_box"]), settings, "", "")
        outcome = preprocess_session(task)
        assert not outcome.detail
        outcomes.append(outcome)
    one, other = outcomes
    assert one.tumour_box == other.tumour_box
    for volumes in zip(one.volumes, other.volumes, strict=True):
        first, second = (parse_volume(volume.nifti, volume.role) for volume in volumes)
        assert first.voxels.astype(np.float32).tobytes() == second.voxels.astype(np.float32).tobytes()
        assert np.array_equal(first.affine, second.affine)


def test_masks_are_read_whole_for_pictures_as_for_boxes(
    scans: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    for row in scans:
        monkeypatch.setattr(panels, "contact_sheet", lambda *a, **k: drawn.append(contact_sheet(*a, **k)))
        case = _Case(NAME, row["files"], tuple(row["tumour_box"]))
        panels.slices(case, ClipSettings(box=12))  # type: ignore[arg-type]
        (mask,) = (file for file in row["files"] if file["role"] == "mask")
        assert {*np.unique(read_unchanged(mask["uri"], mask["sha256"], "look", "mask").voxels)} == {0, 1, 2, 4}
    assert drawn[0].tobytes() == drawn[1].tobytes()
    assert {file["role"] for file in scans[1]["files"]} == {*MODALITIES, "mask"}


class _Case:
    """What a sheet is drawn of."""

    synthetic = False

    def __init__(self, name: str, files: list[dict[str, Any]], tumour_box: tuple[int, ...]) -> None:
        self.name, self.files, self.tumour_box = name, files, tumour_box
