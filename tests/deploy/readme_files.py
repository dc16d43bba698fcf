"""The files that README.md's commands name, under the names that it prints: synthetic scans and made-up numbers.

`python -m tests.deploy.readme_files`, in the project's folder; /data has to be writable.
"""

from __future__ import annotations

import csv
import shutil
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np

from gliolake.ingest.synthetic.cohort import SyntheticCohorts, write_cohorts
from tests.support.tfrecords import TfRecords

DATA = Path("/data")

PATIENTS, EXTERNAL = 10, 4
RELEASED = 40
"""Records of made-up vectors, half of them methylated."""

THINNED = {"FLAIR": 2, "T1": 2, "T1c": 1, "T2": 3}
"""Of a clinic's scan, each modality keeps every so many-th slice: grids of their own, as raw images have them."""


def main() -> None:
    """Write everything."""
    with tempfile.TemporaryDirectory(dir=DATA) as folder:
        place_cohorts(write_cohorts(folder, patients=PATIENTS, external=EXTERNAL, workers=2))
    write_released(Path("released.tfrecords"))
    write_weights(Path("pytorch_model.bin"))


def place_cohorts(cohorts: SyntheticCohorts) -> None:
    """The two cohorts, a clinic of two raw scans without a mask, a single case, and the files that describe them."""
    (DATA / "labels").mkdir()
    for file in (cohorts.brats21_labels, cohorts.ucsf_labels):
        shutil.copy(file, DATA / "labels")
        shutil.copy(file, ".")
    case, *clinic = (cohorts.ucsf_images / f"{name}_nifti" for name in cohorts.truth["scans"]["ucsf_pdgm"][-3:])
    case.rename(DATA / "case")
    write_clinic(clinic)
    for name in (*cohorts.truth["overlap"], *cohorts.truth["kept_out_by_follow_up"]):
        shutil.rmtree(cohorts.ucsf_images / f"{name}_nifti")
    cohorts.brats21_images.rename(DATA / "BraTS21")
    cohorts.ucsf_images.rename(DATA / "UCSF-PDGM")
    shutil.copy("deploy/schedule/cohorts.toml", ".")


def write_clinic(scans: list[Path]) -> None:
    """Raw scans of these, their tumours' boxes, and a description of the cohort; the scans are used up."""
    boxes = []
    for number, scan in enumerate(scans, 1):
        scan_id = f"clinic-{number}"
        folder = DATA / "clinic" / scan_id
        folder.mkdir(parents=True)
        for role, step in THINNED.items():
            (file,) = scan.glob(f"*_{role}.nii.gz")
            nib.load(file).slicer[:, :, ::step].to_filename(folder / f"{scan_id}_{role}.nii.gz")
        (mask,) = scan.glob("*_tumor_segmentation.nii.gz")
        inside = np.nonzero(np.asarray(nib.load(mask).dataobj))
        shutil.rmtree(scan)
        boxes.append([scan_id, *(int(edge) for axis in inside for edge in (axis.min(), axis.max() + 1))])
    with Path("boxes.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["scan_id", "x0", "x1", "y0", "y1", "z0", "z1"], *boxes])
    Path("clinic.toml").write_text(CLINIC, encoding="utf-8")


CLINIC = """
name = "clinic"
role = "external"
label_rule = "ucsf"

[ids]
pattern = 'clinic-(?P<number>\\d+)'
form = "clinic-{number}"
subject = "clinic-{number}"

[preprocessing]
done = []

[images]
patterns = ["{scan_id}/{scan_id}_{role}.nii.gz"]

[images.roles]
FLAIR = "FLAIR"
T1 = "T1"
T1wCE = "T1c"
T2 = "T2"
"""


def write_released(file: Path) -> None:
    """Vectors as the study released them, by the writer of the tests."""
    records = TfRecords()
    records.file(file, *(records.vectors(number, number % 2) for number in range(RELEASED)))


def write_weights(file: Path) -> None:
    """ViViT's checkpoint, of a network that was never trained."""
    import torch

    from gliolake.features.networks.registry import empty_network
    from gliolake.features.weights.untrained import untrained_state

    torch.save(untrained_state(empty_network("vivit_b_16x2"), 0), file)


if __name__ == "__main__":
    main()
