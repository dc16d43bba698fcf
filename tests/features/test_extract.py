"""Extraction: what is missing is computed and nothing else, and a bad scan costs only itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features import extract as extraction
from features.backbones import BackboneOptions
from features.clips import ClipSettings
from features.extract import extract
from features.scan_task import ScanFailure, ScanFile, ScanTask, ScanVectors, compute, input_digest
from ingest.ingest import ingest
from ingest.nifti import read_volume, turn_to_lps
from ingest.synthetic import write_cohorts
from lake.errors import InputError
from lake.runs import start_run
from lake.store import Lake
from lake.tables import BRANCHES, MODALITIES

PLAIN = BackboneOptions()
SMALL = {"box": 48, "slices": 40}
BRATS_ROLES = {"FLAIR": "flair", "T1": "t1", "T1wCE": "t1ce", "T2": "t2", "mask": "seg"}


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with synthetic cohorts and a lake that holds the sound scans of BraTS21; to be copied, not changed."""
    folder = tmp_path_factory.mktemp("ingested")
    cohorts = write_cohorts(folder / "cohorts", patients=8, external=4, seed=1)
    ingest(Lake(folder / "lake", create=True), "brats21", images=cohorts.brats21_images, labels=None, workers=2)
    return folder


@pytest.fixture
def world(ingested: Path, tmp_path: Path) -> tuple[Lake, Path]:
    """A lake of one's own, and the images it was made from, which are shared unless `own_images` moves them."""
    shutil.copytree(ingested / "lake", tmp_path / "lake")
    return Lake(tmp_path / "lake"), ingested / "cohorts" / "brats21" / "images"


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks run here, one after the other, and no cluster is started."""

    def run(client: None, function: Callable[[Any], Any], items: list[Any], **_: Any) -> Iterator[tuple[Any, Any]]:
        for item in items:
            yield item, function(item)

    monkeypatch.setattr(extraction, "open_cluster", lambda *_: nullcontext())
    monkeypatch.setattr(extraction, "map_tasks", run)


def rows(lake: Lake, table: str, **where: Any) -> list[dict[str, Any]]:
    return lake.read(table, where).to_pylist()


def vectors(lake: Lake) -> dict[tuple[str, str], bytes]:
    return {
        (row["scan_id"], row["modality"]): np.array(row["values"], np.float32).tobytes()
        for row in rows(lake, "features")
    }


def delete_features(lake: Lake, **where: Any) -> None:
    with start_run(lake, "test", {}) as run:
        run.transact(lambda transaction: transaction.delete("features", where))


def test_a_cluster_computes_the_same_bits_as_this_process_and_a_second_run_starts_none(
    world: tuple[Lake, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    lake, _ = world
    shutil.copytree(tmp_path / "lake", tmp_path / "other")
    other = Lake(tmp_path / "other")
    monkeypatch.setattr(extraction, "BATCH_SCANS", 4)
    report = extract(lake, workers=2, **SMALL)
    assert (report.computed, report.present, report.failed, report.weights) == (11, 0, (), "random")
    assert report.scans_per_second > 0
    request.getfixturevalue("inline")
    again = extract(other, **SMALL)
    assert again.feature_set == report.feature_set
    assert vectors(lake) == vectors(other)
    assert len(vectors(lake)) == 11 * 5

    def refuse(*_: Any) -> None:
        raise AssertionError("a cluster was started for nothing")

    monkeypatch.setattr(extraction, "open_cluster", refuse)
    version = lake.version
    report = extract(lake, **SMALL)
    assert (report.computed, report.present, lake.version) == (0, 11, version)


def test_only_what_was_deleted_is_computed_again(world: tuple[Lake, Path], inline: None) -> None:
    lake, _ = world
    extract(lake, **SMALL)
    before = vectors(lake)
    first = {row["run_id"] for row in rows(lake, "features")}
    delete_features(lake, scan_id="BraTS2021_00003", modality="T2")
    delete_features(lake, scan_id="BraTS2021_00005", modality="DeltaT1")
    report = extract(lake, **SMALL)
    assert (report.computed, report.present) == (2, 9)
    assert vectors(lake) == before
    fresh = {(row["scan_id"], row["modality"]) for row in rows(lake, "features") if row["run_id"] not in first}
    assert fresh == {("BraTS2021_00003", "T2"), ("BraTS2021_00005", "DeltaT1")}


def test_settings_backbone_seed_and_delta_make_feature_sets_of_their_own(
    world: tuple[Lake, Path], inline: None
) -> None:
    lake, _ = world
    delete_all_but(lake, "BraTS2021_00000")
    names = [
        extract(lake, **options).feature_set
        for options in (SMALL, SMALL | {"seed": 1}, SMALL | {"box": 40}, SMALL | {"delta": "feature"})
    ]
    assert len(set(names)) == 4
    assert all(name.startswith("random_conv-") and len(name) == len("random_conv-") + 10 for name in names)
    assert {row["feature_set"] for row in rows(lake, "feature_sets")} == set(names)
    assert len(rows(lake, "features")) == 4 * 5


def delete_all_but(lake: Lake, scan_id: str) -> None:
    kept = rows(lake, "scans", scan_id=scan_id)
    with start_run(lake, "test", {}) as run:
        run.transact(lambda transaction: transaction.replace("scans", {}, kept))


def test_a_changed_file_is_noticed_excluded_and_taken_back_once_it_is_ingested_again(
    world: tuple[Lake, Path], inline: None, tmp_path: Path
) -> None:
    lake, images = world
    own = own_images(lake, images, tmp_path)
    extract(lake, **SMALL)
    old = vectors(lake)
    changed = own / "BraTS2021_00002" / "BraTS2021_00002_t1.nii.gz"
    shutil.copy(own / "BraTS2021_00004" / "BraTS2021_00004_t1.nii.gz", changed)
    delete_features(lake, scan_id="BraTS2021_00002", modality="DeltaT1")
    report = extract(lake, **SMALL)
    assert [(scan.scan_id, scan.reason) for scan in report.failed] == [("BraTS2021_00002", "changed file")]
    assert report.present == 10
    (excluded,) = rows(lake, "exclusions", step="features")
    assert excluded["source"].endswith("BraTS2021_00002_t1.nii.gz")
    assert "ingest" in excluded["detail"]
    version = lake.version
    assert extract(lake, **SMALL).failed
    assert lake.version == version, "a scan that fails as before writes nothing"

    ingest(lake, "brats21", images=own, labels=None, workers=1)
    report = extract(lake, **SMALL)
    assert (report.computed, report.present, report.failed) == (1, 10, ())
    assert not rows(lake, "exclusions", step="features")
    differing = {key for key, value in vectors(lake).items() if old[key] != value}
    assert differing == {("BraTS2021_00002", "T1"), ("BraTS2021_00002", "DeltaT1")}


def own_images(lake: Lake, images: Path, tmp_path: Path) -> Path:
    """Images that a test may change: copied, and ingested from there."""
    own = tmp_path / "images"
    shutil.copytree(images, own)
    ingest(lake, "brats21", images=own, labels=None, workers=2)
    assert all(str(own) in file["uri"] for row in rows(lake, "scans") for file in row["files"])
    return own


def test_a_scan_whose_file_is_gone_or_that_breaks_the_backbone_or_its_worker_is_excluded_and_the_run_goes_on(
    world: tuple[Lake, Path], inline: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, _ = world
    scans = {row["scan_id"]: row for row in rows(lake, "scans")}
    gone = [file | {"uri": str(tmp_path / "nowhere.nii.gz")} for file in scans["BraTS2021_00001"]["files"]]
    outside = [200, 210, 0, 9, 0, 9]
    with start_run(lake, "test", {}) as run:
        run.transact(
            lambda transaction: transaction.upsert(
                "scans",
                [scans["BraTS2021_00001"] | {"files": gone}, scans["BraTS2021_00002"] | {"tumour_box": outside}],
            )
        )
    usual = extraction.map_tasks

    def with_a_death(*arguments: Any, **options: Any) -> Iterator[tuple[Any, Any]]:
        for task, outcome in usual(*arguments, **options):
            yield task, RuntimeError("the worker died") if task.scan_id == "BraTS2021_00003" else outcome

    monkeypatch.setattr(extraction, "map_tasks", with_a_death)
    report = extract(lake, **SMALL)
    assert report.computed == 8
    assert {scan.scan_id: scan.reason for scan in report.failed} == {
        "BraTS2021_00001": "unreadable file",
        "BraTS2021_00002": "extraction failed",
        "BraTS2021_00003": "worker lost",
    }
    assert {row["scan_id"] for row in rows(lake, "exclusions", step="features")} == set(list(scans)[1:4])
    assert report.as_dict()["failed"][1]["detail"].startswith("InputError: The tumour's corner")


def test_vectors_of_files_a_scan_no_longer_has_do_not_stay_when_the_new_ones_fail(
    world: tuple[Lake, Path], inline: None
) -> None:
    lake, _ = world
    extract(lake, **SMALL)
    (scan,) = rows(lake, "scans", scan_id="BraTS2021_00000")
    files = [file | ({"sha256": "f" * 64} if file["role"] == "T2" else {}) for file in scan["files"]]
    with start_run(lake, "test", {}) as run:
        run.transact(lambda transaction: transaction.upsert("scans", [scan | {"files": files}]))
    assert extract(lake, **SMALL).failed[0].reason == "changed file"
    left = {row["modality"] for row in rows(lake, "features", scan_id="BraTS2021_00000")}
    assert left == set(BRANCHES) - {"T2"}


def test_feature_delta_is_the_difference_of_vectors_and_image_delta_is_not(world: tuple[Lake, Path]) -> None:
    lake, _ = world
    (scan,) = rows(lake, "scans", scan_id="BraTS2021_00000")
    files = tuple(ScanFile(file["role"], file["uri"], file["sha256"]) for file in scan["files"])
    box = tuple(scan["tumour_box"])
    found = {}
    for delta in ("image", "feature"):
        settings = ClipSettings(delta=delta, **SMALL)  # type: ignore[arg-type]
        outcome = compute(ScanTask("brats21", scan["scan_id"], files, box, BRANCHES, "random_conv", PLAIN, settings))
        assert isinstance(outcome, ScanVectors)
        found[delta] = outcome.vectors
    assert list(found["feature"]) == list(BRANCHES)
    for modality in MODALITIES:
        assert np.array_equal(found["image"][modality], found["feature"][modality])
    difference = found["image"]["T1wCE"] - found["image"]["T1"]
    assert np.array_equal(found["feature"]["DeltaT1"], difference)
    assert not np.allclose(found["image"]["DeltaT1"], difference)
    alone = compute(ScanTask("brats21", scan["scan_id"], files, box, ("DeltaT1",), "random_conv", PLAIN, settings))
    assert isinstance(alone, ScanVectors)
    assert list(alone.vectors) == ["DeltaT1"]
    assert np.array_equal(alone.vectors["DeltaT1"], difference)


def test_a_video_network_sees_the_scan_and_gives_the_same_bits_on_any_number_of_threads(
    world: tuple[Lake, Path],
) -> None:
    import torch

    (scan,) = rows(world[0], "scans", scan_id="BraTS2021_00000")
    files = tuple(ScanFile(file["role"], file["uri"], file["sha256"]) for file in scan["files"])
    box, settings = tuple(scan["tumour_box"]), ClipSettings(**SMALL)  # type: ignore[arg-type]
    found, before = [], torch.get_num_threads()
    for threads, sampling in ((1, "uniform"), (2, "uniform"), (2, "tumour")):
        torch.set_num_threads(threads)
        options = BackboneOptions(weights="untrained:0", sampling=sampling)
        name = "slowfast_4x16_resnet50_kinetics400"
        outcome = compute(ScanTask("brats21", scan["scan_id"], files, box, ("T1",), name, options, settings))
        assert isinstance(outcome, ScanVectors), outcome
        found.append(outcome.vectors["T1"])
    torch.set_num_threads(before)
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[1], found[2])


def test_a_vector_rests_on_its_own_images_and_on_the_mask() -> None:
    files = [ScanFile(role, role, role) for role in (*MODALITIES, "mask")]

    def touched(role: str) -> set[str]:
        other = [ScanFile(file.role, file.uri, "new" if file.role == role else file.sha256) for file in files]
        return {branch for branch in BRANCHES if input_digest(branch, files) != input_digest(branch, other)}

    assert touched("T1") == {"T1", "DeltaT1"}
    assert touched("T2") == {"T2"}
    assert touched("mask") == set(BRANCHES)


def test_an_empty_lake_and_unknown_names_are_refused(world: tuple[Lake, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no scans"):
        extract(Lake(tmp_path / "new", create=True))
    with pytest.raises(InputError, match="no cohort with scans named 'brats2'") as caught:
        extract(world[0], cohorts=["brats2"])
    assert "brats21" in caught.value.hint
    with pytest.raises(InputError, match="no backbone named"):
        extract(world[0], "random")


def test_the_report_shows_what_the_vectors_rest_on(world: tuple[Lake, Path], inline: None) -> None:
    from rich.console import Console

    console = Console(width=100, record=True, file=None, quiet=False, stderr=True)
    extract(world[0], **SMALL).show(console)
    text = console.export_text()
    assert "(weights: random)" in text or "(weights: random; SYNTHETIC scans)" in text
    assert "computed now" in text
    marked = [row | {"warnings": [*row["warnings"], "synthetic"]} for row in rows(world[0], "scans")]
    with start_run(world[0], "test", {}) as run:
        run.transact(lambda transaction: transaction.upsert("scans", marked))
    report = extract(world[0], **SMALL)
    report.show(console)
    assert report.as_dict()["synthetic"]
    assert "(weights: random; SYNTHETIC scans)" in console.export_text()


@pytest.mark.parametrize("scan_id", ["BraTS2021_00000", "BraTS2021_01480"])
def test_real_scans_give_five_finite_vectors(reference: Path, scan_id: str) -> None:
    folder = reference / "scans" / "BraTS21" / scan_id
    uris = {role: str(folder / f"{scan_id}_{name}.nii.gz") for role, name in BRATS_ROLES.items()}
    volumes = {role: read_volume(uri) for role, uri in uris.items()}
    mask = turn_to_lps(volumes["mask"].voxels, volumes["mask"].affine)[0]
    box = tuple(int(edge) for at in np.nonzero(mask) for edge in (at.min(), at.max() + 1))
    files = tuple(ScanFile(role, uris[role], volumes[role].sha256) for role in uris)
    outcome = compute(ScanTask("brats21", scan_id, files, box, BRANCHES, "random_conv", PLAIN, ClipSettings()))
    assert not isinstance(outcome, ScanFailure), outcome
    assert list(outcome.vectors) == list(BRANCHES)
    for vector in outcome.vectors.values():
        assert vector.shape == (400,)
        assert vector.dtype == np.float32
        assert np.isfinite(vector).all()
        assert np.count_nonzero(vector) > 300
