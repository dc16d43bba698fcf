"""What commands leave in a lake does not show whose cluster they ran on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gliolake.schema.registry import TABLES
from gliolake.storage.lake import Lake
from tests.support.dask_processes import cluster, until
from tests.support.full import FULL

pytestmark = pytest.mark.long

DESCRIPTION = """
name = "clinic"
role = "training"
label_rule = "ucsf"
[ids]
pattern = '(?P<id>C-\\d{2})'
form = "{id}"
[preprocessing]
done = []
[images]
patterns = ["{scan_id}_{role}.nii.gz"]
[images.roles]
FLAIR = "flair"
T1 = "t1"
T1wCE = "t1c"
T2 = "t2"
mask = "seg"
[images.mask_labels]
1 = "tumour"
[labels]
id = "ID"
missing = [""]
[labels.mgmt_status]
column = "MGMT"
values = { 0 = "unmethylated", 1 = "methylated" }
"""

STUDY = """
study = "small"
[defaults]
features = "ours"
label_rule = "ucsf"
repeats = 2
folds = 3
epochs = 3
[features]
ours = "random_conv"
[[experiment]]
name = "snn"
table = "table_1"
model = "snn"
[[experiment]]
name = "mlp"
table = "table_1"
model = "mlp"
compared_with = "snn"
[[experiment]]
name = "lines"
table = "table_1"
model = "logistic"
"""

SCANS = 12
SUFFIXES = ("flair", "t1", "t1c", "t2", "seg")


def write_cohort(folder: Path) -> None:
    """Raw scans of ellipsoid heads, each image turned and shifted a little, with labels and a study."""
    (folder / "images").mkdir(parents=True)
    (folder / "clinic.toml").write_text(DESCRIPTION)
    (folder / "study.toml").write_text(STUDY)
    labels = [f"C-{number:02d},{number % 2}" for number in range(SCANS)]
    (folder / "labels.csv").write_text("\n".join(["ID,MGMT", *labels]) + "\n")
    x, y, z = np.indices((36, 32, 12), float) - np.array([17.5, 15.5, 5.5]).reshape(3, 1, 1, 1)
    brain, tumour = (x / 14) ** 2 + (y / 12) ** 2 + (z / 5) ** 2 < 1, (x - 4) ** 2 + y**2 + (2 * z) ** 2 < 16
    for number in range(SCANS):
        noise = np.random.default_rng(number)
        for place, suffix in enumerate(SUFFIXES):
            voxels = np.where(brain, 400 + 100 * place * tumour + noise.normal(0, 20, brain.shape), 0).astype(np.int16)
            affine = np.diag([-2.0, -2.0, 4.0, 1.0])
            if suffix == "seg":
                voxels = tumour.astype(np.uint8)
            elif suffix != "t1c":
                affine[:3, 3] = noise.normal(0, 1, 3)
            nib.Nifti1Image(voxels, affine).to_filename(folder / "images" / f"C-{number:02d}_{suffix}.nii.gz")


COMMANDS = (
    "ingest --cohort clinic.toml --images images --labels labels.csv",
    "preprocess --skip fit",
    "extract --crop-size 36 --slices 36",
    "study run study.toml --features ours={feature_set}",
)
FURTHER = (
    "extract --crop-size 36 --slices 36 --seed 1",
    "ccc",
)
"""What only the full length runs: `ccc` compares two feature sets."""


def filled_in(command: str, lake: Path) -> str:
    """The command, with the name of the lake's one feature set where it asks for that."""
    if "{" not in command:
        return command
    (feature_set,) = Lake(lake).read("feature_sets")["feature_set"].to_pylist()
    return command.format(feature_set=feature_set)


def run(folder: Path, lake: str, *options: str) -> None:
    """Every command as a user gives it, one after the other, from the folder of the cohort."""
    for command in (*COMMANDS, *(FURTHER if FULL else ())):
        words = filled_in(command, folder / lake).split()
        done = subprocess.run(
            [sys.executable, "-m", "gliolake", *words, "--lake", lake, *options],
            cwd=folder, capture_output=True, encoding="utf-8", check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stderr}"


def rows(lake: Lake) -> dict[str, list[str]]:
    """The rows of every table but `runs`, without the run that wrote them, and without what names data files that hold
    it: the agreements' digest of the files that they were computed from."""
    apart = {"ccc_means": ["run_id", "input_sha256"]}
    return {
        name: sorted(map(repr, lake.read(name).drop(apart.get(name, ["run_id"])).to_pylist()))
        for name in TABLES
        if name != "runs"
    }


@pytest.mark.faults
def test_all_commands_leave_the_same_rows_on_a_foreign_cluster_as_on_their_own(tmp_path: Path) -> None:
    work, away = tmp_path / "work", tmp_path / "away"
    write_cohort(work)
    run(work, "own")
    away.mkdir()
    roles = {"scheduler": ["--no-dashboard"], "worker": ["--no-dashboard", "--nthreads", "2"]}
    with cluster(away, roles, workers=2) as address:
        until(lambda: all("Registered" in (away / f"worker{number}.log").read_text() for number in (0, 1)))
        run(work, "foreign", "--scheduler", address)
    own, foreign = rows(Lake(work / "own")), rows(Lake(work / "foreign"))
    filled = {name for name, some in own.items() if some}
    assert {"scans", "volumes", "voxels", "features", "predictions", "metrics", "study_rows", "comparisons"} <= filled
    assert [name for name in own if own[name] != foreign[name]] == []
