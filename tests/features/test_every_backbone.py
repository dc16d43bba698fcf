"""A scan through every backbone there is, from files to numbers in DuckDB."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from features.backbones import BACKBONES, BackboneOptions
from features.extract import extract
from features.kept_networks import openvino
from ingest.ingest import ingest
from lake.store import Lake
from lake.tables import BRANCHES
from sql.catalog import connect


def test_a_real_scan_goes_through_every_backbone_and_duckdb_reads_400_floats_of_each_branch(
    reference: Path, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "BraTS2021_00000").symlink_to(reference / "scans" / "BraTS21" / "BraTS2021_00000")
    lake = Lake(tmp_path / "lake", create=True)
    ingest(lake, "brats21", images=images, labels=None, workers=1)
    able = "BF16" in openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    options = BackboneOptions(weights="untrained:3", precision="bf16" if able else "fp32")
    report = extract(lake, list(BACKBONES), options=options, workers=1, threads=2)
    assert [(one.computed, one.failed) for one in report.feature_sets] == [(1, ())] * len(BACKBONES)
    with connect(lake) as connection:
        rows = connection.execute(
            """SELECT backbone, scan_id, list(modality ORDER BY modality), min(len("values")), max(len("values")),
                      list("values"::FLOAT[400]), any_value(weights)
               FROM features JOIN feature_sets USING (feature_set) GROUP BY backbone, scan_id"""
        ).fetchall()
    assert {(row[0], row[1]) for row in rows} == {(name, "BraTS2021_00000") for name in BACKBONES}
    for backbone, _, branches, shortest, longest, vectors, weights in rows:
        assert branches == sorted(BRANCHES)
        assert shortest == longest == 400
        assert weights == ("random" if backbone == "random_conv" else "untrained")
        assert np.isfinite(vectors).all()
        assert len(np.unique(np.array(vectors), axis=0)) == len(BRANCHES), "no two branches look alike"
