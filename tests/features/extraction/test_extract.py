"""Extraction: what is missing is computed and nothing else, and a bad scan costs only itself."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from distributed import KilledWorker

from gliolake.cli.output import dumped, rendered
from gliolake.errors import ClusterError, InputError
from gliolake.features.backbones import random_conv
from gliolake.features.backbones.registry import BackboneOptions
from gliolake.features.clips import ClipSettings
from gliolake.features.extraction import command as extraction
from gliolake.features.extraction import preflight, scan_task
from gliolake.features.extraction.command import extract
from gliolake.features.extraction.preflight import expect
from gliolake.features.extraction.recipe import Choice, choose, make_recipe
from gliolake.features.extraction.scan_task import ScanFile, ScanTask, Wanted, compute, input_digest
from gliolake.ingest.pipeline import ingest
from gliolake.ingest.readers.nifti import read_volume, turn_to_lps
from gliolake.runs import start_run
from gliolake.schema.vocabulary import BRANCHES, MODALITIES
from gliolake.storage.lake import Lake

RANDOM = Choice("random_conv", BackboneOptions())
SLOWFAST = "slowfast_4x16_resnet50_kinetics400"
SMALL = ClipSettings(box=48, slices=40)
BRATS_ROLES = {"FLAIR": "flair", "T1": "t1", "T1wCE": "t1ce", "T2": "t2", "mask": "seg"}


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks run here, one after the other, and no cluster is started."""

    def run(client: None, function: Callable[[Any], Any], items: list[Any], **_: Any) -> Iterator[tuple[Any, Any]]:
        for item in items:
            yield item, function(item)

    monkeypatch.setattr(extraction, "open_checked", lambda *_: nullcontext())
    monkeypatch.setattr(extraction, "map_tasks", run)


def computed(
    files: tuple[ScanFile, ...],
    box: tuple[int, ...],
    branches: tuple[str, ...] = BRANCHES,
    choice: Choice = RANDOM,
    settings: ClipSettings = SMALL,
) -> dict[str, Any]:
    """The vectors of one scan and one backbone."""
    task = ScanTask("brats21", "scan", files, box, (Wanted("set", choice, branches),))
    outcome = compute(task, expect([choice], settings))
    assert not outcome.failures, outcome
    return dict(outcome.vectors["set"])


def files_and_box(scan: dict[str, Any]) -> tuple[tuple[ScanFile, ...], tuple[int, ...]]:
    files = tuple(ScanFile(file["role"], file["uri"], file["sha256"]) for file in scan["files"])
    return files, tuple(scan["tumour_box"])


def test_with_nothing_to_do_no_cluster_is_started_and_nothing_is_written(
    world: tuple[Lake, Path], inline: None, look: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, _ = world
    (report,) = extract(lake, settings=SMALL).feature_sets
    assert (report.computed, report.present, report.failed, report.weights) == (11, 0, (), "random")
    assert len(look.vectors(lake)) == 11 * 5

    def refuse(*_: Any) -> None:
        raise AssertionError("a cluster was started for nothing")

    monkeypatch.setattr(extraction, "open_checked", refuse)
    version = lake.version
    (report,) = extract(lake, settings=SMALL).feature_sets
    assert (report.computed, report.present, lake.version) == (0, 11, version)


def test_only_what_was_deleted_is_computed_again(world: tuple[Lake, Path], inline: None, look: Any) -> None:
    lake, _ = world
    extract(lake, settings=SMALL)
    before = look.vectors(lake)
    first = {row["run_id"] for row in look.rows(lake, "features")}
    look.delete_features(lake, scan_id="BraTS2021_00003", modality="T2")
    look.delete_features(lake, scan_id="BraTS2021_00005", modality="DeltaT1")
    (report,) = extract(lake, settings=SMALL).feature_sets
    assert (report.computed, report.present) == (2, 9)
    assert look.vectors(lake) == before
    fresh = {(row["scan_id"], row["modality"]) for row in look.rows(lake, "features") if row["run_id"] not in first}
    assert fresh == {("BraTS2021_00003", "T2"), ("BraTS2021_00005", "DeltaT1")}


def test_settings_seed_and_delta_make_feature_sets_of_their_own(
    world: tuple[Lake, Path], inline: None, look: Any
) -> None:
    lake, _ = world
    look.keep_scans(lake, "BraTS2021_00000")
    runs: list[dict[str, Any]] = [
        {"settings": SMALL},
        {"settings": SMALL, "options": BackboneOptions(seed=1)},
        {"settings": ClipSettings(box=40, slices=40)},
        {"settings": ClipSettings(box=48, slices=40, delta="feature")},
    ]
    names = [extract(lake, **options).feature_sets[0].feature_set for options in runs]
    assert len(set(names)) == 4
    assert all(name.startswith("random_conv-") and len(name) == len("random_conv-") + 10 for name in names)
    assert {row["feature_set"] for row in look.rows(lake, "feature_sets")} == set(names)
    assert len(look.rows(lake, "features")) == 4 * 5


class CheapBackbone:
    """A second backbone that costs nothing, fails when told to, and counts what it is asked for."""

    name, weights = "slow", "random"

    def __init__(self) -> None:
        self.clips_seen = 0
        self.fails: Callable[[], Exception | None] = lambda: None

    def recipe(self) -> dict[str, Any]:
        return {"versions": {}}

    def load(self) -> None:
        pass

    def vectors(self, clips: list[Any], tumour_slices: tuple[int, int] | None = None) -> Any:
        if error := self.fails():
            raise error
        self.clips_seen += len(clips)
        return np.array([[clip.mean()] * 400 for clip in clips], np.float32)


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> CheapBackbone:
    from gliolake.features.backbones import registry as backbones
    from gliolake.features.extraction import preflight

    preflight._open_all.cache_clear()  # it may hold the backbone of another test
    made = CheapBackbone()
    monkeypatch.setitem(backbones.BACKBONES, "slow", lambda options: made)
    return made


def test_several_backbones_share_one_reading_of_the_images_and_make_a_feature_set_each(
    world: tuple[Lake, Path], inline: None, look: Any, second: CheapBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gliolake.features.preprocessing import volumes
    from gliolake.ingest.scans.images import read_image

    lake, _ = world
    look.keep_scans(lake, "BraTS2021_00000", "BraTS2021_00001")
    read: list[str] = []
    monkeypatch.setattr(volumes, "read_image", lambda uri, *more: read.append(uri) or read_image(uri, *more))
    report = extract(lake, ["random_conv", "slow"], settings=SMALL)
    assert [(one.computed, one.present) for one in report.feature_sets] == [(2, 0), (2, 0)]
    assert len(read) == len(set(read)) == 2 * 4
    assert second.clips_seen == 2 * 5
    assert len(look.vectors(lake)) == 2 * 2 * 5
    (_, slow) = (one.feature_set for one in report.feature_sets)
    look.delete_features(lake, feature_set=slow, scan_id="BraTS2021_00001", modality="T2")
    report = extract(lake, ["random_conv", "slow"], settings=SMALL)
    assert [(one.computed, one.present) for one in report.feature_sets] == [(0, 2), (1, 1)]
    assert (len(read), second.clips_seen) == (9, 11), "only the one image and the one clip were needed"


def test_a_backbone_that_fails_on_a_scan_costs_no_other_backbone_and_has_an_exclusion_of_its_own(
    world: tuple[Lake, Path], inline: None, look: Any, second: CheapBackbone
) -> None:
    lake, _ = world
    look.keep_scans(lake, "BraTS2021_00000")
    second.fails = lambda: InputError("This film is too short.")
    report = extract(lake, ["random_conv", "slow"], settings=SMALL)
    assert [one.computed for one in report.feature_sets] == [1, 0]
    slow = report.feature_sets[1].feature_set
    (row,) = look.rows(lake, "exclusions", step="features")
    assert (row["source"], row["reason"], row["detail"]) == (slow, "extraction failed", "This film is too short.")
    extract(lake, ["random_conv"], settings=SMALL, options=BackboneOptions(seed=5))
    assert look.rows(lake, "exclusions", step="features"), "another feature set's success settles nothing"
    version = lake.version
    assert extract(lake, ["slow"], settings=SMALL).failed
    assert lake.version == version, "a scan that fails as before writes nothing"
    second.fails = lambda: None
    extract(lake, ["slow"], settings=SMALL)
    assert not look.rows(lake, "exclusions", step="features")


@pytest.mark.parametrize("failures", [2, 3])
def test_a_failure_that_may_pass_is_tried_three_times_in_all(
    world: tuple[Lake, Path], inline: None, look: Any, second: CheapBackbone, failures: int
) -> None:
    lake, _ = world
    look.keep_scans(lake, "BraTS2021_00000")
    asked: list[int] = []

    def fail() -> Exception | None:
        asked.append(1)
        return RuntimeError("the sky fell") if len(asked) <= failures else None

    second.fails = fail
    report = extract(lake, ["random_conv", "slow"], settings=SMALL)
    assert len(asked) == 3
    assert [one.computed for one in report.feature_sets] == [1, int(failures < 3)]
    details = [row["detail"] for row in look.rows(lake, "exclusions", step="features")]
    assert details == ([] if failures < 3 else ["RuntimeError: the sky fell"])


def test_a_file_changed_under_its_size_and_time_is_excluded_until_it_is_ingested(
    world: tuple[Lake, Path], inline: None, look: Any, tmp_path: Path
) -> None:
    lake, images = world
    own = tmp_path / "images"
    shutil.copytree(images, own)
    changed, other = (own / name / f"{name}_t1.nii.gz" for name in ("BraTS2021_00002", "BraTS2021_00004"))
    for file in (changed, other):
        file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()), 0, mtime=0))  # of one size
    ingest(lake, "brats21", images=own, labels=None, workers=2)
    extract(lake, settings=SMALL)
    old = look.vectors(lake)
    before = changed.stat()
    shutil.copy(other, changed)
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert changed.stat().st_size == before.st_size
    look.delete_features(lake, scan_id="BraTS2021_00002", modality="DeltaT1")
    report = extract(lake, settings=SMALL)
    assert [(scan.scan_id, scan.reason) for scan in report.failed] == [("BraTS2021_00002", "changed file")]
    assert report.feature_sets[0].present == 10
    (excluded,) = look.rows(lake, "exclusions", step="features")
    assert excluded["source"] == report.feature_sets[0].feature_set
    assert "BraTS2021_00002_t1.nii.gz" in excluded["detail"]
    assert "ingest" in excluded["detail"]

    ingest(lake, "brats21", images=own, labels=None, workers=1)
    (again,) = extract(lake, settings=SMALL).feature_sets
    assert (again.computed, again.present, again.failed) == (1, 10, ())
    assert not look.rows(lake, "exclusions", step="features")
    differing = {key[1:] for key, value in look.vectors(lake).items() if old[key] != value}
    assert differing == {("BraTS2021_00002", "T1"), ("BraTS2021_00002", "DeltaT1")}


def test_a_scan_that_cannot_be_extracted_is_excluded_and_the_run_goes_on(
    world: tuple[Lake, Path], inline: None, look: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, _ = world
    scans = {row["scan_id"]: row for row in look.rows(lake, "scans")}
    gone = [file | {"uri": str(tmp_path / "nowhere.nii.gz")} for file in scans["BraTS2021_00001"]["files"]]
    outside = scans["BraTS2021_00002"] | {"tumour_box": [400, 410, 0, 9, 0, 9]}
    look.put_scans(lake, scans["BraTS2021_00001"] | {"files": gone}, outside)
    usual = extraction.map_tasks
    dead = KilledWorker("task", SimpleNamespace(address="tcp://worker"), 2)

    def with_a_death(*arguments: Any, **options: Any) -> Iterator[tuple[Any, Any]]:
        for task, outcome in usual(*arguments, **options):
            yield task, dead if task.scan_id == "BraTS2021_00003" else outcome

    monkeypatch.setattr(extraction, "map_tasks", with_a_death)
    report = extract(lake, settings=SMALL)
    assert report.feature_sets[0].computed == 8
    assert {scan.scan_id: scan.reason for scan in report.failed} == {
        "BraTS2021_00001": "unreadable file",
        "BraTS2021_00002": "extraction failed",
        "BraTS2021_00003": "worker lost",
    }
    assert {row["scan_id"] for row in look.rows(lake, "exclusions", step="features")} == set(list(scans)[1:4])
    assert "The tumour's corner (x 400" in report.feature_sets[0].failed[1].detail


def test_a_backbone_that_cannot_be_had_ready_ends_the_run_and_excludes_no_scan(
    world: tuple[Lake, Path], inline: None, look: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise EOFError("Ran out of input")

    lake, _ = world
    preflight._open_all.cache_clear()
    monkeypatch.setattr(random_conv, "_responses", broken)
    with pytest.raises(ClusterError, match=r"random_conv cannot be loaded on .*EOFError: Ran out of input"):
        extract(lake, settings=SMALL)
    assert not look.rows(lake, "exclusions", step="features")
    preflight._open_all.cache_clear()


def test_scans_that_all_fail_as_nobody_foresaw_end_the_run_and_none_is_excluded(
    world: tuple[Lake, Path], inline: None, look: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise AttributeError("module 'numpy' has no attribute 'bool8'")

    lake, _ = world
    monkeypatch.setattr(scan_task, "build_clips", broken)
    with pytest.raises(ClusterError, match=r"All \d+ scans .*bool8"):
        extract(lake, settings=SMALL)
    assert not look.rows(lake, "exclusions", step="features")


def test_vectors_of_files_a_scan_no_longer_has_do_not_stay_when_the_new_ones_fail(
    world: tuple[Lake, Path], inline: None, look: Any
) -> None:
    lake, _ = world
    extract(lake, settings=SMALL)
    (scan,) = look.rows(lake, "scans", scan_id="BraTS2021_00000")
    files = [file | ({"sha256": "f" * 64} if file["role"] == "T2" else {}) for file in scan["files"]]
    look.put_scans(lake, scan | {"files": files})
    assert extract(lake, settings=SMALL).failed[0].reason == "changed file"
    left = {row["modality"] for row in look.rows(lake, "features", scan_id="BraTS2021_00000")}
    assert left == set(BRANCHES) - {"T2"}


def test_a_bad_image_costs_only_the_feature_sets_that_need_it(world: tuple[Lake, Path], look: Any) -> None:
    (scan,) = look.rows(world[0], "scans", scan_id="BraTS2021_00000")
    files, box = files_and_box(scan)
    files = tuple(ScanFile(file.role, "gone" if file.role == "T2" else file.uri, file.sha256) for file in files)
    wanted = (Wanted("all", RANDOM, BRANCHES), Wanted("one", RANDOM, ("T1",)))
    outcome = compute(ScanTask("brats21", "scan", files, box, wanted), expect([RANDOM], SMALL))
    assert outcome.failures["all"].reason == "unreadable file"
    assert list(outcome.vectors["one"]) == ["T1"]


def test_feature_delta_is_the_difference_of_vectors_and_image_delta_is_not(world: tuple[Lake, Path], look: Any) -> None:
    (scan,) = look.rows(world[0], "scans", scan_id="BraTS2021_00000")
    files, box = files_and_box(scan)
    by_feature = ClipSettings(box=48, slices=40, delta="feature")
    image, feature = computed(files, box), computed(files, box, settings=by_feature)
    assert list(feature) == list(BRANCHES)
    for modality in MODALITIES:
        assert np.array_equal(image[modality], feature[modality])
    difference = image["T1wCE"] - image["T1"]
    assert np.array_equal(feature["DeltaT1"], difference)
    assert not np.allclose(image["DeltaT1"], difference)
    alone = computed(files, box, ("DeltaT1",), settings=by_feature)
    assert list(alone) == ["DeltaT1"]
    assert np.array_equal(alone["DeltaT1"], difference)


def test_a_video_network_sees_the_scan_and_gives_the_same_bits_on_any_number_of_threads(
    world: tuple[Lake, Path], look: Any
) -> None:
    import torch

    (scan,) = look.rows(world[0], "scans", scan_id="BraTS2021_00000")
    files, box = files_and_box(scan)
    found, before = [], torch.get_num_threads()
    for threads, sampling in ((1, "uniform"), (2, "uniform"), (2, "tumour")):
        torch.set_num_threads(threads)
        choice = Choice(SLOWFAST, BackboneOptions(weights="untrained:3", sampling=sampling))
        found.append(computed(files, box, ("T1",), choice)["T1"])
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
        extract(world[0], ["random"])
    with pytest.raises(InputError, match="random_conv was asked for twice"):
        extract(world[0], ["random_conv", "random_conv"])


def test_a_feature_set_of_the_same_name_and_another_recipe_is_refused(
    world: tuple[Lake, Path], inline: None, look: Any
) -> None:
    lake, _ = world
    recipe = make_recipe(RANDOM.open(), SMALL)
    with start_run(lake, "test", {}) as run:
        other = recipe.row() | {"recipe": recipe.text.replace('"seed":0', '"seed":7')}
        run.transact(lambda transaction: transaction.append("feature_sets", [other]))
    with pytest.raises(InputError, match=f"{recipe.feature_set} of another recipe"):
        extract(lake, settings=SMALL)


def test_an_option_goes_to_the_backbones_that_have_it_and_is_refused_where_none_has(
    world: tuple[Lake, Path], inline: None, look: Any
) -> None:
    lake, _ = world
    look.keep_scans(lake, "BraTS2021_00000")
    with pytest.raises(InputError, match="random_conv has no choice of sampling"):
        extract(lake, options=BackboneOptions(sampling="tumour"))
    with pytest.raises(InputError, match="no choice of seed"):
        extract(lake, [SLOWFAST], options=BackboneOptions(seed=1, weights="untrained:3"))
    options = BackboneOptions(seed=1, weights="untrained:3", sampling="tumour")
    random, network = choose(["random_conv", SLOWFAST], options)
    assert random.options == BackboneOptions(seed=1)
    assert network.options == BackboneOptions(weights="untrained:3", sampling="tumour")


def test_fewer_slices_than_frames_are_refused_scan_by_scan_with_both_numbers(
    world: tuple[Lake, Path], inline: None, look: Any
) -> None:
    lake, _ = world
    look.keep_scans(lake, "BraTS2021_00000")
    short = ClipSettings(box=48, slices=31)
    report = extract(lake, ["random_conv", SLOWFAST], settings=short, options=BackboneOptions(weights="untrained:3"))
    random, network = (one.failed[0].detail for one in report.feature_sets)
    assert "31 × 48 × 48 is too small for random_conv" in random
    assert "31 slices is too short for a network that takes 32 frames" in network


def test_a_constant_image_and_a_volume_smaller_than_the_box_still_have_vectors(
    world: tuple[Lake, Path], look: Any, tmp_path: Path
) -> None:
    import nibabel as nib

    voxels = np.full((20, 20, 12), 7, np.int16)
    voxels[0, 0, 0] = 8  # images of one value are not even ingested; here the two percentiles are equal
    path = tmp_path / "constant.nii.gz"
    nib.Nifti1Image(voxels, np.diag([-1.0, -1.0, 1.0, 1.0])).to_filename(path)
    sha256 = read_volume(str(path)).sha256
    files = tuple(ScanFile(role, str(path), sha256) for role in MODALITIES)
    for vector in computed(files, (15, 18, 15, 18, 2, 5)).values():
        assert np.array_equal(vector, np.zeros(400, np.float32))


def test_the_report_shows_what_the_vectors_rest_on(world: tuple[Lake, Path], inline: None, look: Any) -> None:
    from rich.console import Console

    console = Console(width=100, record=True, file=None, quiet=False, stderr=True)
    report = extract(world[0], settings=SMALL)
    console.print(rendered(report))
    text = console.export_text()
    assert "(weights: random; SYNTHETIC scans)" in text
    assert "computed now" in text
    assert report.scans_per_second > 0
    assert dumped(report)["synthetic"]


@pytest.mark.parametrize("scan_id", ["BraTS2021_00000", "BraTS2021_01480"])
def test_real_scans_give_five_finite_vectors(reference: Path, scan_id: str) -> None:
    folder = reference / "scans" / "BraTS21" / scan_id
    uris = {role: str(folder / f"{scan_id}_{name}.nii.gz") for role, name in BRATS_ROLES.items()}
    volumes = {role: read_volume(uri) for role, uri in uris.items()}
    mask = turn_to_lps(volumes["mask"].voxels, volumes["mask"].affine)[0]
    box = tuple(int(edge) for at in np.nonzero(mask) for edge in (at.min(), at.max() + 1))
    files = tuple(ScanFile(role, uris[role], volumes[role].sha256) for role in uris)
    vectors = computed(files, box, settings=ClipSettings())
    assert list(vectors) == list(BRANCHES)
    for vector in vectors.values():
        assert vector.shape == (400,)
        assert vector.dtype == np.float32
        assert np.isfinite(vector).all()
        assert np.count_nonzero(vector) > 300
