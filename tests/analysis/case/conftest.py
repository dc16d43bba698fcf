"""Cases as files, and models of made-up vectors by a real recipe to ask about them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from gliolake.analysis.case.images import read_case
from gliolake.features.backbones.registry import BackboneOptions, open_backbone
from gliolake.features.clips import ClipSettings
from gliolake.features.extraction.preflight import expect
from gliolake.features.extraction.recipe import Choice, make_recipe
from gliolake.features.extraction.scan_task import ScanFile, ScanTask, Wanted, compute
from gliolake.features.preprocessing.settings import PreprocessSettings
from gliolake.features.preprocessing.volumes import volume_set_of
from gliolake.modeling.export.command import export_model
from gliolake.modeling.train import train
from gliolake.schema.vocabulary import BRANCHES
from gliolake.storage.lake import Lake

SMALL = ClipSettings(box=40, slices=36)
SHAPE = (44, 48, 22)
ENDINGS = {"FLAIR": "flair", "T1": "t1", "T1wCE": "t1ce", "T2": "t2", "mask": "seg"}
PATIENTS = 24

MakeCase = Callable[..., Path]
MakeModel = Callable[..., Path]


@pytest.fixture
def make_case(tmp_path: Path) -> MakeCase:
    """Writes a small case: a head with a tumour in it. ``without`` leaves roles out, ``descrip`` is the headers'."""

    def make(name: str = "case", without: tuple[str, ...] = (), seed: int = 0, descrip: str = "") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        stream = np.random.default_rng(seed)
        for role, ending in ENDINGS.items():
            voxels = stream.integers(50, 1000, SHAPE).astype(np.int16)
            if role == "mask":
                voxels = np.zeros(SHAPE, np.uint8)
                voxels[10:20, 12:24, 6:14] = 2
            if role not in without:
                write_image(folder / f"x_{ending}.nii.gz", voxels, descrip)
        return folder

    return make


def write_image(path: Path, voxels: np.ndarray, descrip: str = "", spacing: float = 1.0) -> None:
    """A NIfTI file whose axes run LPS."""
    image = nib.Nifti1Image(voxels, np.diag([-spacing, -spacing, spacing, 1.0]))
    image.header["descrip"] = descrip.encode()
    nib.save(image, path)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> MakeModel:
    """Exports a model of made vectors, once for each choice. ``own`` is a case that is its first training scan,
    ``volumes`` how its raw scans are said to have been preprocessed."""
    shelf = tmp_path_factory.mktemp("models")

    @cache
    def make(
        model: str = "logistic", settings: ClipSettings = SMALL, own: Path | None = None,
        volumes: PreprocessSettings | None = None,
    ) -> Path:  # fmt: skip
        target = shelf / f"{model}-{len(list(shelf.iterdir()))}"
        lake = Lake(shelf / f"lake-{target.name}", create=True)
        feature_set = fill(lake, settings, own, volumes)
        report = train(lake, feature_set, model, repeats=2, folds=2, epochs=3, progress=False)
        return export_model(lake, report.experiment, target, progress=False).folder

    return make


@pytest.fixture
def model(models: MakeModel, tmp_path: Path) -> Path:
    """A copy of a logistic regression on small clips."""
    return Path(shutil.copytree(models(), tmp_path / "model"))


def fill(lake: Lake, settings: ClipSettings, own: Path | None, volumes: PreprocessSettings | None) -> str:
    """A training cohort with a signal in its vectors, which are said to be random_conv's; the name of their set."""
    volume_set, steps = volume_set_of(volumes) if volumes else ("", "")
    described = make_recipe(open_backbone("random_conv"), settings, volume_set).row()
    stream = np.random.default_rng(0)
    centre = vectors_of(own, settings) if own else dict.fromkeys(BRANCHES, np.zeros(400))
    features, labels = [], []
    for number in range(PATIENTS):
        scan = {"cohort": "made", "scan_id": f"scan-{number:04d}"}
        labels.append(
            {**scan, "source": "made", "source_id": str(number), "source_row": number + 2, "source_sha256": "0" * 64,
             "mgmt_status": "unmethylated" if number % 2 else "methylated", "label_rule": "brats21"}
        )  # fmt: skip
        for branch in BRANCHES:
            moved = stream.standard_normal(400) + (0.3 if number % 2 == 0 else -0.3)
            if own:
                moved *= (0.1 * np.abs(centre[branch]) + 0.01) * (number > 0)
            values = (centre[branch] + moved).astype(np.float32)
            named = {**scan, "feature_set": described["feature_set"], "modality": branch, "input_sha256": "0" * 64}
            features.append(named | {"values": values.tolist()})
    cohort = {"cohort": "made", "role": "training", "label_rule": "brats21", "description": ""}

    def write(transaction: Any) -> None:
        transaction.upsert("cohorts", [cohort | {"description_sha256": "0" * 64}])
        transaction.upsert("labels", labels)
        transaction.upsert("feature_sets", [described])
        if volumes:
            transaction.upsert("volume_sets", [{"volume_set": volume_set, "recipe": steps}])
        transaction.upsert("features", features)

    lake.transact(write, run_id="made")
    return described["feature_set"]


def vectors_of(folder: Path, settings: ClipSettings) -> dict[str, np.ndarray]:
    """A case's vectors, as extraction computes a scan's."""
    case = read_case(folder)
    files = tuple(ScanFile(file["role"], file["uri"], file["sha256"]) for file in case.files)
    choice = Choice("random_conv", BackboneOptions())
    task = ScanTask("made", case.name, files, case.tumour_box, (Wanted("set", choice, BRANCHES),))
    return dict(compute(task, expect((choice,), settings)).vectors["set"])


@pytest.fixture(name="write_image")
def image_writer() -> Any:
    """The function that writes an image."""
    return write_image
