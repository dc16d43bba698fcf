"""Vectors of raw scans are computed from kept volumes, and from nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np

from gliolake.features.clips import ClipSettings
from gliolake.features.extraction.command import extract
from gliolake.features.preprocessing.command import preprocess_cohorts
from gliolake.features.preprocessing.settings import PreprocessSettings
from gliolake.ingest.pipeline import ingest
from gliolake.storage.lake import Lake

SMALL = ClipSettings(box=40, slices=40)
FEW = PreprocessSettings(steps=("resample", "fit", "normalise"), spacing_mm=2.0, size=(40, 36, 24))
COHORT = r"""
name = "raw"
role = "external"
label_rule = "ucsf"
[ids]
pattern = '(?P<id>RAWS-\d{4})'
form = "{id}"
[preprocessing]
done = []
[images]
patterns = ["{scan_id}/{role}.nii.gz"]
[images.roles]
FLAIR = "fla"
T1 = "t1"
T1wCE = "t1c"
T2 = "t2"
"""


def test_a_raw_scan_waits_for_its_volumes_and_its_vectors_follow_them(lake: Lake, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y, z = np.indices((30, 28, 10)) - np.array([15, 14, 5]).reshape(3, 1, 1, 1)
    (tmp_path / "images" / "RAWS-0001").mkdir(parents=True)
    for number, name in enumerate(("fla", "t1", "t1c", "t2")):
        image = np.where((x / 11) ** 2 + (y / 10) ** 2 + (z / 4) ** 2 < 1, 300 + rng.normal(0, 50, x.shape), 0)
        affine = np.diag([-2.0, -2.0, 4.0 + number % 2, 1.0])
        path = tmp_path / "images" / "RAWS-0001" / f"{name}.nii.gz"
        nib.Nifti1Image(image.astype(np.int16), affine).to_filename(path)
    (tmp_path / "raw.toml").write_text(COHORT, encoding="utf-8")
    boxes = tmp_path / "boxes.csv"

    def take_in(x0: int) -> None:
        boxes.write_text(f"scan_id,x0,x1,y0,y1,z0,z1\nRAWS-0001,{x0},18,10,16,4,7\n")
        assert ingest(lake, tmp_path / "raw.toml", tmp_path / "images", boxes=boxes, workers=1).scans == 1

    take_in(12)
    (waiting,) = extract(lake, settings=SMALL, workers=1).feature_sets
    assert [(waiting.computed, one.scan_id, one.reason) for one in waiting.failed] == [
        (0, "RAWS-0001", "not preprocessed")
    ]
    (row,) = lake.read("exclusions").to_pylist()
    assert (row["step"], "run gliolake preprocess" in row["detail"]) == ("features", True)
    assert extract(lake, settings=SMALL, workers=1).feature_sets[0].failed == waiting.failed

    volume_set = preprocess_cohorts(lake, settings=FEW, workers=1).volume_set
    assert lake.read("exclusions").num_rows == 0
    (done,) = extract(lake, settings=SMALL, workers=1).feature_sets
    assert (done.computed, done.failed) == (1, ())
    recipes = {row["feature_set"]: json.loads(row["recipe"]) for row in lake.read("feature_sets").to_pylist()}
    assert recipes[done.feature_set]["volumes"] == volume_set
    vectors = lake.read("features").to_pylist()
    assert len(vectors) == 5

    take_in(6)
    (stale,) = extract(lake, settings=SMALL, workers=1).feature_sets
    assert [one.reason for one in stale.failed] == ["not preprocessed"]
    assert lake.read("features").num_rows == 0
    preprocess_cohorts(lake, settings=FEW, workers=1)
    (again,) = extract(lake, settings=SMALL, workers=1).feature_sets
    assert (again.computed, again.feature_set) == (1, done.feature_set)
    assert {row["input_sha256"] for row in lake.read("features").to_pylist()}.isdisjoint(
        row["input_sha256"] for row in vectors
    )
