"""Raw cohorts from files to kept volumes: what is done to them, what is kept of it, and what is never done twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pyarrow.parquet as pq
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image

from gliolake.errors import InputError
from gliolake.features.clips import ClipSettings, intensity_range
from gliolake.features.preprocessing import command as preprocess_run
from gliolake.features.preprocessing.command import preprocess_cohorts
from gliolake.features.preprocessing.grids import to_image
from gliolake.features.preprocessing.registration import mutual_information
from gliolake.features.preprocessing.settings import PreprocessSettings
from gliolake.features.preprocessing.volumes import choose_volume_set, kept_volumes, pack, read_image, ready_scans
from gliolake.features.preview.command import preview
from gliolake.features.scans import scans_of
from gliolake.ingest.cohorts.description import load_cohort
from gliolake.ingest.pipeline import ingest
from gliolake.ingest.readers.nifti import BadImage, Volume, parse_volume, read_volume, turn_to_lps
from gliolake.maintenance.compaction import compact
from gliolake.maintenance.verify import verify
from gliolake.schema.registry import TABLES
from gliolake.schema.vocabulary import MODALITIES
from gliolake.sql.catalog import connect, write_catalog
from gliolake.storage.lake import Lake
from gliolake.storage.layout import data_path
from tests.support.standing import standing_cluster

NOWHERE = "tcp://127.0.0.1:9"
"""A scheduler that does not answer: a run that is given it fails if it has anything to compute."""

FEW = PreprocessSettings(steps=("resample", "fit", "normalise"), spacing_mm=2.0, size=(40, 36, 24))
SUFFIXES = {"FLAIR": "fla", "T1": "t1", "T1wCE": "t1c", "T2": "t2", "mask": "seg"}
TUMOUR = (slice(20, 28), slice(12, 20), slice(5, 9))
DESCRIPTION = """
name = "{name}"
role = "external"
label_rule = "ucsf"

[ids]
pattern = '(?P<id>[A-Z]{{4}}-[A-Z0-9]{{2}}-\\d{{4}})'
form = "{{id}}"

{preprocessing}

[images]
patterns = ["{{scan_id}}/*_{{role}}.nii.gz"]

[images.roles]
FLAIR = "fla"
T1 = "t1"
T1wCE = "t1c"
T2 = "t2"
mask = "seg"

[images.mask_labels]
1 = "tumour"
2 = "oedema"
"""


def described(folder: Path, name: str = "raw", done: str | None = "[]") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.toml"
    preprocessing = "" if done is None else f"[preprocessing]\ndone = {done}"
    path.write_text(DESCRIPTION.format(name=name, preprocessing=preprocessing), encoding="utf-8")
    return path


def head(seed: int) -> np.ndarray:
    """(36, 32, 12) of 2 × 2 × 4 mm: a bright ellipsoid with a brighter tumour, and air of 0."""
    x, y, z = np.indices((36, 32, 12), float) - np.array([17.5, 15.5, 5.5]).reshape(3, 1, 1, 1)
    image = 400.0 * ((x / 14) ** 2 + (y / 12) ** 2 + (z / 5) ** 2 < 1)
    image[TUMOUR] += 300
    noise = np.random.default_rng(seed).normal(0, 20, image.shape)
    return np.where(image > 0, image + noise, 0).astype(np.int16)


def write_scan(root: Path, scan_id: str, seed: int = 0, *, one_grid: bool = False) -> dict[str, Path]:
    """A scan with a mask; FLAIR and T2 are on a grid of their own."""
    files = {}
    for number, (role, suffix) in enumerate(SUFFIXES.items()):
        voxels, affine = head(10 * seed + number), np.diag([-2.0, -2.0, 4.0, 1.0])
        if role == "mask":
            voxels = np.zeros(voxels.shape, np.float32)
            voxels[TUMOUR], voxels[22:24, 14:16, 6:8] = 1, 2
        if role in ("FLAIR", "T2") and not one_grid:
            voxels, affine = voxels[2:, :, 1:], affine @ nib.affines.from_matvec(np.eye(3), [2, 0, 1])
        path = root / scan_id / f"x_{suffix}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.Nifti1Image(voxels, affine).to_filename(path)
        files[role] = path
    return files


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Address of a cluster of one worker that the tests of this module share."""
    with standing_cluster() as client:
        yield client.scheduler.address


@pytest.fixture
def raw(lake: Lake, tmp_path: Path, scheduler: str) -> dict[str, dict[str, Path]]:
    """Two raw scans, ingested: their files."""
    files = {scan_id: write_scan(tmp_path / "images", scan_id, seed) for seed, scan_id in enumerate(IDS)}
    report = ingest(lake, described(tmp_path), tmp_path / "images", scheduler=scheduler)
    assert (report.scans, report.excluded) == (2, {})
    return files


IDS = ("RAWS-00-0001", "RAWS-00-0002")


def rows(lake: Lake, table: str, **where: Any) -> list[dict[str, Any]]:
    return lake.read(table, where).to_pylist()


@pytest.mark.long
def test_the_native_case_becomes_four_volumes_on_one_grid_that_fit_each_other(
    lake: Lake, reference: Path, tmp_path: Path, scheduler: str
) -> None:
    folder, scan_id = reference / "scans" / "native", "TCGA-FG-6692"
    boxes = tmp_path / "boxes.csv"
    boxes.write_text(f"scan_id,x0,x1,y0,y1,z0,z1\n{scan_id},70,110,55,90,17,22\n")
    report = ingest(lake, described(tmp_path, "native"), folder, boxes=boxes, scheduler=scheduler)
    assert (report.scans, report.excluded) == (1, {})
    quick = PreprocessSettings(bias_iterations=(5,), denoise_iterations=1, sampled=0.1)
    done = preprocess_cohorts(lake, settings=quick, scheduler=scheduler)
    assert [(one.cohort, one.computed, one.failed) for one in done.cohorts] == [("native", 1, ())]
    ((key, volumes),) = kept_volumes(lake, done.volume_set).items()
    assert key == ("native", scan_id)
    after = {volume["role"]: read_image(volume["uri"]) for volume in volumes}
    assert sorted(after) == sorted(MODALITIES)
    for volume in after.values():
        assert volume.voxels.shape == (240, 240, 150)
        np.testing.assert_array_equal(volume.affine, after["T1wCE"].affine)
        np.testing.assert_array_equal(np.abs(volume.affine[:3, :3]), np.eye(3))
    (scan,) = rows(lake, "scans", cohort="native")
    before = {file["role"]: read_volume(file["uri"]) for file in scan["files"]}
    assert len({(one.voxels.shape, one.affine.tobytes()) for one in before.values()}) == 3
    fixed = sitk.Shrink(to_image("T1wCE", after["T1wCE"]), [2, 2, 2])
    for name in ("FLAIR", "T1", "T2"):
        fits = [mutual_information(fixed, to_image(name, images[name])) for images in (before, after)]
        assert fits[1] > 1.2 * fits[0]
    x0, x1, y0, y1, z0, z1 = volumes[0]["tumour_box"]
    # 40 × 35 voxels of 0.9 mm and 5 slices of 5.5 mm, tilted by a few degrees.
    assert (x1 - x0, y1 - y0, z1 - z0) == pytest.approx((37, 33, 29), abs=4)
    assert sum(file.bytes for file in lake.state().of_table("voxels")) < 50e6
    preview(lake, scan_id, tmp_path / "both.png", columns=3)
    preview(lake, scan_id, tmp_path / "after.png", columns=3, volumes="after")
    with Image.open(tmp_path / "both.png") as both, Image.open(tmp_path / "after.png") as alone:
        assert both.height > 1.8 * alone.height


def test_what_is_kept_is_not_computed_again_and_a_change_of_its_files_is_noticed(
    lake: Lake, raw: dict[str, dict[str, Path]], tmp_path: Path, scheduler: str
) -> None:
    first = preprocess_cohorts(lake, settings=FEW, scheduler=scheduler)
    assert [(one.steps, one.computed, one.present) for one in first.cohorts] == [(FEW.steps, 2, 0)]
    assert len(rows(lake, "volumes")) == len(rows(lake, "voxels")) == 10
    ((recipe,),) = [list(row.values())[1:2] for row in rows(lake, "volume_sets")]
    assert json.loads(recipe)["steps"] == list(FEW.steps)
    version = lake.version
    again = preprocess_cohorts(lake, settings=FEW, scheduler=NOWHERE)
    assert (again.volume_set, again.cohorts[0].present, lake.version) == (first.volume_set, 2, version)
    scans = scans_of(lake)
    ready, unready = ready_scans(lake, scans, choose_volume_set(lake, ["raw"]))
    assert [scan["scan_id"] for scan in ready] == list(IDS)
    assert all(file["uri"].endswith(".parquet") for scan in ready for file in scan["files"])
    write_scan(tmp_path / "images", IDS[0], seed=7)
    changed = preprocess_cohorts(lake, settings=FEW, scheduler=NOWHERE)  # ingest has not seen it yet
    assert changed.cohorts[0].present == 2
    ingest(lake, described(tmp_path), tmp_path / "images", scheduler=scheduler)
    ready, unready = ready_scans(lake, scans_of(lake), first.volume_set)
    assert [scan["scan_id"] for scan in unready] == [IDS[0]]
    renewed = preprocess_cohorts(lake, settings=FEW, scheduler=scheduler)
    assert (renewed.cohorts[0].computed, renewed.cohorts[0].present) == (1, 1)
    assert len(rows(lake, "volumes")) == len(rows(lake, "voxels")) == 10


def test_mask_and_box_move_with_the_scan(
    lake: Lake, raw: dict[str, dict[str, Path]], scheduler: str, tmp_path: Path
) -> None:
    done = preprocess_cohorts(lake, settings=FEW, scheduler=scheduler)
    (volumes, _) = kept_volumes(lake, done.volume_set).values()
    kept = {volume["role"]: read_image(volume["uri"]) for volume in volumes}
    assert {volume.voxels.shape for volume in kept.values()} == {(40, 36, 24)}
    mask = turn_to_lps(kept["mask"].voxels, kept["mask"].affine)[0]
    assert set(np.unique(mask)) == {0, 1, 2}
    box = volumes[0]["tumour_box"]
    where = np.argwhere(mask > 0)
    assert box == np.stack([where.min(0), where.max(0) + 1], 1).ravel().tolist()
    assert [box[1] - box[0], box[3] - box[2], box[5] - box[4]] == [8, 8, 8]
    for name in MODALITIES:
        image = turn_to_lps(kept[name].voxels, kept[name].affine)[0]
        assert image[mask > 0].mean() > 1.5 * np.median(image[image > 0.5])
    preview(lake, IDS[0], tmp_path / "sheet.png")


def test_a_scan_that_fails_is_named_and_costs_no_other(
    lake: Lake, raw: dict[str, dict[str, Path]], tmp_path: Path, scheduler: str
) -> None:
    write_scan(tmp_path / "images", IDS[0], seed=9)
    report = preprocess_cohorts(lake, settings=FEW, scheduler=scheduler)
    assert (report.cohorts[0].computed, [scan.reason for scan in report.failed]) == (1, ["changed file"])
    (row,) = rows(lake, "exclusions")
    assert (row["scan_id"], row["step"], row["source"]) == (IDS[0], "preprocess", report.volume_set)
    assert "x_fla.nii.gz was changed after it was ingested" in row["detail"]
    ingest(lake, described(tmp_path), tmp_path / "images", scheduler=scheduler)
    assert preprocess_cohorts(lake, settings=FEW, scheduler=scheduler).failed == ()
    assert rows(lake, "exclusions") == []
    apart = PreprocessSettings(steps=("normalise",))
    report = preprocess_cohorts(lake, settings=apart, scheduler=NOWHERE)
    assert report.cohorts[0].steps == ()  # clips do that anyway
    report = preprocess_cohorts(lake, settings=PreprocessSettings(steps=("denoise",)), scheduler=scheduler)
    assert "still lie on different grids" in report.failed[0].detail


def test_no_step_that_a_cohort_came_with_is_done_again(
    lake: Lake, tmp_path: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = load_cohort("brats21").done
    assert shipped == load_cohort("ucsf_pdgm").done == ("bias", "denoise", "align", "coregister", "resample")
    for name, done in (("partly", '["align", "bias", "denoise"]'), ("ready", json.dumps(shipped))):
        write_scan(tmp_path / name, IDS[0], one_grid=name == "ready")
        assert ingest(lake, described(tmp_path, name, done), tmp_path / name, scheduler=scheduler).excluded == {}
    asked: list[tuple[str, ...]] = []
    given = preprocess_run.map_tasks

    def noted(client: Any, function: Any, tasks: Any, **options: Any) -> Any:
        asked.extend(task.settings.steps for task in tasks)
        return given(client, function, tasks, **options)

    monkeypatch.setattr(preprocess_run, "map_tasks", noted)
    usual = PreprocessSettings(spacing_mm=2.0, size=(40, 36, 24))
    report = preprocess_cohorts(lake, settings=usual, scheduler=scheduler)
    assert asked == [("resample", "fit", "normalise")]
    assert {one.cohort: one.steps for one in report.cohorts} == {"partly": asked[0], "ready": ()}
    assert {row["cohort"] for row in rows(lake, "volumes")} == {"partly"}
    ready, unready = ready_scans(lake, scans_of(lake), report.volume_set)
    assert not unready
    assert [{Path(file["uri"]).suffix for file in scan["files"]} for scan in ready] == [{".parquet"}, {".gz"}]
    assert choose_volume_set(lake, ["ready"]) == ""
    _, unready = ready_scans(lake, scans_of(lake), "")
    assert [scan["cohort"] for scan in unready] == ["partly"]


def test_a_cohort_that_does_not_say_what_was_done_is_left_alone(lake: Lake, tmp_path: Path, scheduler: str) -> None:
    write_scan(tmp_path / "images", IDS[0])
    toml = described(tmp_path, "silent", done=None)
    report = ingest(lake, toml, tmp_path / "images", scheduler=scheduler)
    assert report.excluded == {"modalities on different grids": 1}
    assert "[preprocessing]" in rows(lake, "exclusions")[0]["detail"]
    write_scan(tmp_path / "images", IDS[0], one_grid=True)
    report = ingest(lake, toml, tmp_path / "images", scheduler=scheduler)
    assert report.scans == 1
    assert any("does not say which preprocessing steps" in note for note in report.notes)
    assert preprocess_cohorts(lake, settings=FEW, scheduler=NOWHERE).cohorts[0].steps is None
    with pytest.raises(InputError, match="cohort silent does not say which steps") as refused:
        preprocess_cohorts(lake, cohorts=["silent"], scheduler=NOWHERE)
    assert "[preprocessing]" in refused.value.hint


def test_the_lakes_chores_leave_the_voxels_whole_and_queries_never_read_them(
    lake: Lake, raw: dict[str, dict[str, Path]], tmp_path: Path, scheduler: str
) -> None:
    report = preprocess_cohorts(lake, settings=FEW, scheduler=scheduler)
    files = lake.state().of_table("voxels")
    assert [file.rows for file in files] == [1] * 10
    compact(lake)
    assert lake.state().of_table("voxels") == files
    Path(lake.files.url(files[0].path)).unlink()  # a query that needed it would fail
    with connect(lake) as connection:
        assert connection.sql("SELECT count(*), sum(bytes) > 0 FROM volumes").fetchall() == [(10, True)]
    written = write_catalog(lake, tmp_path / "written.duckdb")
    assert "voxels" not in written
    assert written["volumes"] == 10
    found = verify(lake)
    assert [finding.kind for finding in found.findings if finding.is_damage] == ["missing file"]
    repaired = verify(lake, repair=True)
    assert repaired.restore_commands() == ["gliolake preprocess"]
    again = preprocess_cohorts(lake, settings=FEW, scheduler=scheduler)
    assert (again.volume_set, again.cohorts[0].computed, again.cohorts[0].present) == (report.volume_set, 1, 1)
    assert verify(lake).sound


def test_volumes_are_stored_finer_than_a_clip_can_show_and_whole_numbers_exactly() -> None:
    rng = np.random.default_rng(0)
    image = (rng.random((30, 28, 26), np.float32) - 0.1) * 3
    affine = np.array([[-1.0, 0.1, 0, 9], [-0.1, -1, 0, 8], [0, 0, 2.5, 7], [0, 0, 0, 1]])
    volume = Volume(image, affine, "", "gliolake synthetic")
    stored = parse_volume(pack(volume), "kept")
    low, high = intensity_range(image, ClipSettings())
    assert np.abs(stored.voxels - image).max() < (high - low) / 255 / 20
    assert len(pack(volume)) == 352 + 2 * image.size
    assert stored.description == "gliolake synthetic"
    np.testing.assert_allclose(stored.affine, affine, atol=1e-6)
    np.testing.assert_allclose(nib.Nifti1Image.from_bytes(pack(volume)).get_fdata(), image, atol=1e-4)
    image[3, 3, 3] = 1e6  # whole numbers with this step would leave nothing of the others
    np.testing.assert_array_equal(parse_volume(pack(volume), "kept").voxels, image)
    mask = np.zeros((5, 5, 5), np.float32)
    mask[2, 2] = 4
    assert parse_volume(pack(Volume(mask, affine, "")), "kept").voxels.dtype == np.int16
    np.testing.assert_array_equal(parse_volume(pack(Volume(mask, affine, "")), "kept").voxels, mask)


def test_a_damaged_or_missing_volume_is_named_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / data_path(TABLES["voxels"], dict.fromkeys(TABLES["voxels"].partition_by, "a"), "0" * 64)
    for content, fault in ((None, "is missing"), (b"PAR1 no", "is damaged")):
        if content is not None:
            path.parent.mkdir(parents=True)
            path.write_bytes(content)
        with pytest.raises(BadImage, match=f"{path.name}: this preprocessed volume {fault}") as refused:
            read_image(str(path))
        assert "verify --repair" in refused.value.hint


def test_a_kept_volume_is_not_read_through_a_link_in_its_lake(tmp_path: Path) -> None:
    path = tmp_path / "lake" / data_path(TABLES["voxels"], dict.fromkeys(TABLES["voxels"].partition_by, "a"), "0" * 64)
    folders = path.relative_to(tmp_path / "lake").parts[:-1]
    mine = tmp_path / "mine"
    for depth in range(len(folders)):
        link = tmp_path.joinpath("lake", *folders[: depth + 1])
        link.parent.mkdir(parents=True, exist_ok=True)
        mine.joinpath(*folders[depth + 1 :]).mkdir(parents=True, exist_ok=True)
        mine.joinpath(*folders[depth + 1 :], path.name).write_bytes(b"secret")
        link.symlink_to(mine)
        with pytest.raises(BadImage, match=f"{link} is a symbolic link"):
            read_image(str(path))
        link.unlink()


def test_a_kept_volume_is_the_same_bytes_whoever_computes_it(
    lake: Lake, raw: dict[str, dict[str, Path]], tmp_path: Path, scheduler: str
) -> None:
    other = Lake(tmp_path / "other", create=True)
    ingest(other, described(tmp_path), tmp_path / "images", scheduler=scheduler)
    for one in (lake, other):
        preprocess_cohorts(one, settings=FEW, scheduler=scheduler)
    first, second = (sorted(row["sha256"] for row in rows(one, "volumes")) for one in (lake, other))
    assert first == second
    stored = pq.read_table(lake.files.url(lake.state().of_table("voxels")[0].path), columns=["nifti"])["nifti"][0]
    assert nib.Nifti1Image.from_bytes(stored.as_py()).shape == (40, 36, 24)


def test_two_ways_of_preprocessing_are_told_apart_by_name(
    lake: Lake, raw: dict[str, dict[str, Path]], scheduler: str
) -> None:
    one = preprocess_cohorts(lake, settings=FEW, scheduler=scheduler)
    other = preprocess_cohorts(lake, settings=replace(FEW, steps=("resample", "fit")), scheduler=scheduler)
    with pytest.raises(InputError, match="preprocessed in 2 ways") as refused:
        choose_volume_set(lake, ["raw"])
    assert "--volume-set" in refused.value.hint
    assert choose_volume_set(lake, ["raw"], other.volume_set) == other.volume_set
    with pytest.raises(InputError, match="no volume set named 'nothing'"):
        choose_volume_set(lake, ["raw"], "nothing")
    assert one.volume_set != other.volume_set
