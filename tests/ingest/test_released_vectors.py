"""The study's released vectors: a cohort and a feature set of their own, known by content."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gliolake.errors import InputError
from gliolake.ingest.published_features import ingest_features
from gliolake.storage.lake import Lake


def test_vectors_become_a_cohort_with_labels_and_a_feature_set_and_again_they_write_nothing(
    lake: Lake, tmp_path: Path, tfrecords: Any, files_of: Callable[[Lake], dict[str, bytes]]
) -> None:
    path = tfrecords.file(tmp_path / "train.tfrecords", tfrecords.vectors(0, 1), tfrecords.vectors(1, 0))
    report = ingest_features(lake, [path])
    assert (report.records, report.scans, report.vectors, report.methylated) == (2, 2, 10, 1)
    labels = {row["scan_id"]: row for row in lake.read("labels").to_pylist()}
    assert {name: row["mgmt_status"] for name, row in labels.items()} == {
        "chen2025-0001": "methylated",
        "chen2025-0002": "unmethylated",
    }
    assert {(row["cohort"], row["source"], row["label_rule"]) for row in labels.values()} == {
        ("chen2025", "train", "brats21")
    }
    (cohort,) = lake.read("cohorts").to_pylist()
    assert (cohort["cohort"], cohort["role"], cohort["label_rule"]) == ("chen2025", "released", "brats21")
    (feature_set,) = lake.read("feature_sets").to_pylist()
    assert feature_set["feature_set"] == report.feature_set
    assert (feature_set["backbone"], feature_set["weights"]) == ("vivit_released", "released")
    assert json.loads(feature_set["recipe"])["files_sha256"] == [labels["chen2025-0001"]["source_sha256"]]
    vectors = {(row["scan_id"], row["modality"]): row["values"] for row in lake.read("features").to_pylist()}
    numbers = np.random.default_rng(0).random((5, 400), np.float32)
    for row, branch in zip(numbers, ("FLAIR", "T1", "T1wCE", "T2", "DeltaT1"), strict=True):
        assert np.array_equal(np.array(vectors["chen2025-0001", branch], np.float32), row)
    before = files_of(lake)
    assert ingest_features(lake, [path]) == report
    assert files_of(lake) == before


def test_a_patient_keeps_one_id_in_all_files_and_runs_that_hold_the_same_vectors(
    lake: Lake, tmp_path: Path, tfrecords: Any
) -> None:
    one = tfrecords.file(tmp_path / "fold0.tfrecords", tfrecords.vectors(0, 1), tfrecords.vectors(1, 0))
    two = tfrecords.file(tmp_path / "fold1.tfrecords", tfrecords.vectors(2, 1), tfrecords.vectors(0, 0))
    ingest_features(lake, [one])
    report = ingest_features(lake, [two, one])
    assert (report.records, report.scans, report.vectors) == (4, 3, 15)
    assert "both labels" in " ".join(report.notes)
    said = {
        (row["scan_id"], row["source"], row["source_row"], row["mgmt_status"])
        for row in lake.read("labels").to_pylist()
    }
    assert said == {
        ("chen2025-0001", "fold0", 1, "methylated"),
        ("chen2025-0002", "fold0", 2, "unmethylated"),
        ("chen2025-0003", "fold1", 1, "methylated"),
        ("chen2025-0001", "fold1", 2, "unmethylated"),
    }
    assert ingest_features(lake, [one, two]).feature_set == report.feature_set


def test_files_of_one_name_in_two_folders_are_two_sources(lake: Lake, tmp_path: Path, tfrecords: Any) -> None:
    for folder in "ab":
        (tmp_path / folder).mkdir()
    first = tfrecords.file(tmp_path / "a" / "train.tfrecords", tfrecords.vectors(0, 1))
    second = tfrecords.file(tmp_path / "b" / "train.tfrecords", tfrecords.vectors(1, 0))
    ingest_features(lake, [first])
    ingest_features(lake, [second, first])
    assert {(row["scan_id"], row["source"]) for row in lake.read("labels").to_pylist()} == {
        ("chen2025-0001", "train"),
        ("chen2025-0002", "train (b)"),
    }
    broken = tfrecords.vectors(2, 1) | {"Zenobia": tfrecords.vectors(2, 1)["DF_T2"]}
    del broken["DF_T2"]
    (tmp_path / "c").mkdir()
    ingest_features(lake, [tfrecords.file(tmp_path / "c" / "train.tfrecords", broken, tfrecords.vectors(3, 0))])
    assert lake.read("exclusions")["scan_id"].to_pylist() == ["train (c) record 1"]
    (detail,) = lake.read("exclusions")["detail"].to_pylist()
    assert detail == "Record 1: it has no DF_T2 (it has DF_DETAL_T1, DF_FLAIR, DF_T1, DF_T1CE, Label, Aaaaaaa)."


def test_an_unusable_record_costs_itself(lake: Lake, tmp_path: Path, tfrecords: Any) -> None:
    short = tfrecords.vectors(1, 1) | {"DF_T2": b"\0" * 1596}
    absent = {name: value for name, value in tfrecords.vectors(2, 1).items() if name != "DF_T1"}
    infinite = tfrecords.vectors(3, 1) | {"DF_T1": np.full(400, np.inf, "<f4").tobytes()}
    integers = tfrecords.vectors(3, 1) | {"DF_T1": np.arange(400)}
    unlabelled = tfrecords.vectors(4, 7)
    as_lists = tfrecords.vectors(5, 1) | {"DF_T1": np.ones(400, np.float32), "Label": np.array([1])}
    conflict = [tfrecords.vectors(6, 0), tfrecords.vectors(6, 1)]
    path = tfrecords.file(
        tmp_path / "train.tfrecords", tfrecords.vectors(0, 1), short, absent, infinite, integers, unlabelled, as_lists,
        tfrecords.vectors(0, 1), *conflict,
    )  # fmt: skip
    report = ingest_features(lake, [path])
    assert (report.records, report.scans) == (10, 2)
    assert report.excluded == {
        "conflicting duplicate rows": 1,
        "missing vector": 1,
        "unusable label": 1,
        "unusable vector": 3,
    }
    said = {row["scan_id"]: row["detail"] for row in lake.read("exclusions").to_pylist()}
    assert "DF_T2 holds 399 float32 values; 400" in said["train record 2"]
    assert "no DF_T1" in said["train record 3"]
    assert "NaN or infinite" in said["train record 4"]
    assert "Records 9 and 10" in said["train record 9"]
    assert {row["step"] for row in lake.read("exclusions").to_pylist()} == {"features"}


def test_a_damaged_or_absent_file_writes_nothing(lake: Lake, tmp_path: Path, tfrecords: Any) -> None:
    path = tfrecords.file(tmp_path / "train.tfrecords", tfrecords.vectors(0, 1))
    path.write_bytes(path.read_bytes()[:-9])
    (tmp_path / "empty.tfrecords").write_bytes(b"")
    for file, message in (
        (path, "record 1"),
        (tmp_path / "no.tfrecords", "cannot be read"),
        (tmp_path / "empty.tfrecords", "holds no record"),
    ):
        with pytest.raises(InputError, match=message):
            ingest_features(lake, [file])
    with pytest.raises(InputError, match="No TFRecord file"):
        ingest_features(lake, [])
    assert lake.version == 0


def test_the_462_released_vectors_import(lake: Lake, reference: Path) -> None:
    (path,) = (reference / "published_features").glob("*.tfrecords")
    began = time.perf_counter()
    report = ingest_features(lake, [path])
    assert time.perf_counter() - began < 20
    assert (report.records, report.scans, report.vectors, report.methylated) == (462, 462, 2310, 240)
    assert report.excluded == {}
    # The released delta is T1wCE minus T1 of the features, up to a scale and an offset for each of the 400.
    columns = {
        branch: np.array(lake.read("features", {"modality": branch}).sort_by("scan_id").column("values").to_pylist())
        for branch in ("T1", "T1wCE", "DeltaT1")
    }
    for feature in range(0, 400, 40):
        design = np.stack([columns["T1wCE"][:, feature], columns["T1"][:, feature], np.ones(462)], 1)
        residual = np.linalg.lstsq(design, columns["DeltaT1"][:, feature], rcond=None)[1]
        assert residual < 1e-3 * 462 * columns["DeltaT1"][:, feature].var()
