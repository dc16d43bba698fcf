"""The synthetic cohorts: they look like the real ones on disk, and an ingest finds in them what they say is true."""

from __future__ import annotations

import csv
import gzip
import hashlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gliolake.errors import InputError
from gliolake.ingest.pipeline import ingest
from gliolake.ingest.synthetic.brain import SHAPE, Anatomy, make_scan
from gliolake.ingest.synthetic.cohort import BRATS_HEADER, UCSF_HEADER, SyntheticCohorts, write_cohorts
from gliolake.sql.catalog import connect
from gliolake.storage.lake import Lake


def test_an_ingest_finds_what_is_true_of_them(synthetic: SyntheticCohorts, tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake", create=True)
    ingest(lake, "brats21", images=synthetic.brats21_images, labels=synthetic.brats21_labels, workers=2)
    ingest(lake, "ucsf_pdgm", images=synthetic.ucsf_images, labels=synthetic.ucsf_labels, workers=2)
    truth, con = synthetic.truth, connect(lake)

    def scans(sql: str) -> list[str]:
        return sorted(row[0] for row in con.sql(sql).select("scan_id").fetchall())

    for cohort, sound in truth["scans"].items():
        rows = lake.read("scans", {"cohort": cohort}).to_pylist()
        assert sorted(row["scan_id"] for row in rows) == sorted(sound)
        assert all("synthetic" in row["warnings"] for row in rows)
    excluded = con.sql("select cohort, scan_id, step, reason from exclusions").fetchall()
    assert sorted(excluded) == sorted(truth["exclusions"])
    assert scans("from training_scans") == sorted(truth["training_scans"])
    assert len(scans("from training")) == truth["training_patients"]
    for view in ("overlap", "external", "external_strict"):
        assert scans(f"from {view}") == sorted(truth[view])
    assert scans("from leaks_avoided") == sorted(truth["kept_out_by_follow_up"])
    assert con.sql("select scan_a, scan_b from label_conflicts").fetchall() == truth["label_conflicts"]
    same = "select distinct scan_b from links where kind = 'same content'"
    assert sorted(row[0] for row in con.sql(same).fetchall()) == truth["same_content"]
    assert con.sql("select sum(violations) from split_audit").fetchall() == [(0,)]
    planted = con.sql("select scan_id, methylated_brats21 from training union all from "
                      "(select scan_id, methylated_brats21 from external)").fetchall()  # fmt: skip
    known = {scan: call for scan, call in planted if scan in truth["methylated"]}
    assert len(known) > 12
    assert known == {scan: truth["methylated"][scan] for scan in known}


def test_files_are_laid_out_and_named_as_the_real_ones_and_say_that_they_are_synthetic(
    synthetic: SyntheticCohorts,
) -> None:
    brats = synthetic.brats21_images / "BraTS2021_00001"
    ucsf = synthetic.ucsf_images / "UCSF-PDGM-0005_nifti"
    assert {path.name.removeprefix("BraTS2021_00001") for path in brats.iterdir()} == {
        f"_{role}.nii.gz" for role in ("flair", "t1", "t1ce", "t2", "seg")
    }
    assert {path.name.removeprefix("UCSF-PDGM-0005") for path in ucsf.iterdir()} == {
        f"_{role}.nii.gz" for role in ("FLAIR", "T1", "T1c", "T2", "tumor_segmentation")
    }
    image = nib.load(brats / "BraTS2021_00001_t1.nii.gz")
    assert image.header["descrip"].item() == b"gliolake synthetic"
    assert image.get_data_dtype() == np.int16
    assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
    assert image.header["sform_code"] > 0
    mask = np.asanyarray(nib.load(brats / "BraTS2021_00001_seg.nii.gz").dataobj)
    assert np.unique(mask).tolist() == [0, 1, 2, 4]
    assert "SYNTHETIC" in (synthetic.folder / "README.txt").read_text(encoding="utf-8")
    with pytest.raises(EOFError):
        gzip.decompress((synthetic.brats21_images / "BraTS2021_00009" / "BraTS2021_00009_flair.nii.gz").read_bytes())


def test_label_files_have_the_public_headers(synthetic: SyntheticCohorts, reference: Path) -> None:
    real = reference / "ucsf_pdgm" / "UCSF-PDGM-metadata_v5.csv", reference / "brats21" / "train_labels.csv"
    made = synthetic.ucsf_labels, synthetic.brats21_labels
    for ours, theirs, header in zip(made, real, (UCSF_HEADER, BRATS_HEADER), strict=True):
        lines = [path.read_text(encoding="utf-8").splitlines()[:1] for path in (ours, theirs)]
        assert lines[0] == lines[1]
        assert next(csv.reader(lines[0])) == list(header)


def test_a_seed_gives_the_same_bytes_from_one_process_or_two_and_another_seed_gives_others(
    synthetic: SyntheticCohorts, tmp_path: Path
) -> None:
    def digests(folder: Path) -> dict[str, str]:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    def written(name: str, **options: int) -> dict[str, str]:
        return digests(write_cohorts(tmp_path / name, patients=8, external=4, **options).folder)

    one, two, other = digests(synthetic.folder), written("two", seed=1, workers=2), written("other")
    assert one == two
    assert one.keys() == other.keys()
    same = {name for name in one if one[name] == other[name]}
    empty_mask = {name for name in same if name.endswith("_tumor_segmentation.nii.gz")}
    assert len(empty_mask) == 1
    assert same - empty_mask == {"README.txt", "brats21/train_labels.csv"}


def test_the_signal_is_in_the_tumour_alone_and_without_it_the_call_does_not_show() -> None:
    def scan(methylated: bool, signal: float) -> tuple[dict[str, np.ndarray], np.ndarray]:
        images, mask = make_scan(Anatomy((5, 2), methylated, signal), (5, 2, 0))
        return dict(images), mask

    (strong, mask), (weak, other) = scan(True, 1.0), scan(False, 1.0)
    assert np.array_equal(mask, other)
    tumour = (mask == 2) | (mask == 4)
    for modality, image in strong.items():
        assert image.shape == SHAPE
        assert np.array_equal(image[~tumour], weak[modality][~tumour])
        assert image[mask == 2].std() > 1.2 * weak[modality][mask == 2].std()
    (one, _), (two, _) = scan(True, 0.0), scan(False, 0.0)
    assert all(np.array_equal(one[modality], two[modality]) for modality in one)


def test_cohorts_too_small_for_their_oddities_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 8 patients"):
        write_cohorts(tmp_path, patients=7, external=4)
