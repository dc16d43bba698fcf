"""Scans through every backbone there is, from files to numbers in DuckDB. `make test-backbones` takes all of both."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from gliolake.features.backbones.inference import has_bf16
from gliolake.features.backbones.registry import BACKBONES, BackboneOptions
from gliolake.features.extraction.command import extract
from gliolake.ingest.pipeline import ingest
from gliolake.ingest.synthetic.cohort import SyntheticCohorts
from gliolake.schema.vocabulary import BRANCHES
from gliolake.sql.catalog import connect
from gliolake.storage.lake import Lake

pytestmark = pytest.mark.long

FULL = os.environ.get("GLIOLAKE_BACKBONES") == "full"
SHORT = ("random_conv", "i3d_nl10_resnet101_v1_kinetics400", "slowfast_4x16_resnet50_kinetics400")


@pytest.fixture
def images(reference: Path, synthetic: SyntheticCohorts, tmp_path: Path) -> Path:
    """The real cases and the synthetic ones in a folder; one real case in the short form."""
    real = sorted((reference / "scans" / "BraTS21").iterdir())
    made = sorted(synthetic.brats21_images.glob("BraTS2021_0000*"))
    folder = tmp_path / "images"
    folder.mkdir()
    for scan in [*real, *made[1:4]] if FULL else real[:1]:
        shutil.copytree(scan, folder / scan.name)
    return folder


def test_scans_go_through_every_backbone_and_duckdb_reads_400_floats_of_each_branch(
    images: Path, tmp_path: Path
) -> None:
    lake = Lake(tmp_path / "lake", create=True)
    ingest(lake, "brats21", images=images, labels=None, workers=1)
    options = BackboneOptions(weights="untrained:3", precision="bf16" if has_bf16() else "fp32")
    backbones = list(BACKBONES) if FULL else list(SHORT)
    scans = [path.name for path in images.iterdir()]
    report = extract(lake, backbones, options=options, workers=1, threads=2)
    assert [(one.computed, one.failed) for one in report.feature_sets] == [(len(scans), ())] * len(backbones)
    with connect(lake) as connection:
        rows = connection.execute(
            """SELECT backbone, scan_id, list(modality ORDER BY modality), min(len("values")), max(len("values")),
                      list("values"::FLOAT[400]), any_value(weights)
               FROM features JOIN feature_sets USING (feature_set) GROUP BY backbone, scan_id"""
        ).fetchall()
    assert {(row[0], row[1]) for row in rows} == {(name, scan) for name in backbones for scan in scans}
    for backbone, _, branches, shortest, longest, vectors, weights in rows:
        assert branches == sorted(BRANCHES)
        assert shortest == longest == 400
        assert weights == ("random" if backbone == "random_conv" else "untrained")
        assert np.isfinite(vectors).all()
        assert len(np.unique(np.array(vectors), axis=0)) == len(BRANCHES), "no two branches look alike"
