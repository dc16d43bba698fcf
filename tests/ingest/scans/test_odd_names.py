"""Litter, encodings, accents, capitals, links, and folders in which nothing has an expected name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gliolake.analysis.case.images import read_case
from gliolake.errors import InputError
from gliolake.ingest import pipeline as room
from gliolake.ingest.cohorts.description import Cohort, load_cohort, parse_cohort
from gliolake.ingest.litter import is_litter
from gliolake.ingest.pipeline import ingest
from gliolake.ingest.scans.discovery import find_scans
from gliolake.ingest.scans.images import ReadScan, read_scan
from gliolake.ingest.scans.model import FoundScan
from gliolake.sql.status import status
from gliolake.storage.lake import Lake

BRATS = load_cohort("brats21")
SCAN = "BraTS2021_00001"
LATIN = os.fsdecode("klinik_köln".encode("latin-1"))

LITTER = (
    "._x.nii.gz", ".DS_Store", "__MACOSX", "Thumbs.db", "THUMBS.DB", "desktop.ini", ".Spotlight-V100", ".Trashes",
    ".Trash-1000", "@eaDir", "#recycle", "lost+found", ".git", ".datalad", ".bidsignore", "~$table.xlsx", ".nfs0012ab",
    ".fuse_hidden0001", "x.nii.gz~", "#x#", ".x.swp", ".ipynb_checkpoints", "x.nii.gz.part", "x.nii.gz.crdownload",
    "x.nii.gz.filepart", ".x.nii.gz.Ab12Cd", "$RECYCLE.BIN", "found.000", "System Volume Information", "x.nii.gz.bak",
    "x.tmp", ".snapshot", "__pycache__", "Icon\r", "x.nii.gz.download", "x.PART",
)  # fmt: skip


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scans are read in this process."""

    def read(cohort: Cohort, waiting: Sequence[FoundScan], **_: object) -> Iterator[tuple[FoundScan, ReadScan]]:
        assert cohort.images is not None
        for scan in waiting:
            yield scan, read_scan(scan, cohort.images)

    monkeypatch.setattr(room, "_outcomes", read)


SERIES = """
name = "clinic"
role = "external"
label_rule = "ucsf"
[ids]
pattern = '(?P<number>[^/]+)'
form = "{number}"
[images]
patterns = ["{scan_id}/{role}/", "{scan_id}/*{role}*"]
[images.roles]
FLAIR = "flair"
T1 = "t1"
T1wCE = "gad"
T2 = "t2"
"""


@pytest.mark.parametrize("name", LITTER)
def test_litter_is_passed_over_as_a_file_and_as_a_folder(tmp_path: Path, name: str) -> None:
    clinic = parse_cohort(SERIES, "clinic.toml")
    for role in ("flair", "t1", "gad", "t2"):
        slices = tmp_path / "A1" / role
        slices.mkdir(parents=True)
        (slices / "im1").write_bytes(b"1234")
    clean = find_scans(clinic, tmp_path).scans[0].files
    for folder in (tmp_path, tmp_path / "A1"):
        (folder / name / "A2" / "t1").mkdir(parents=True)
        (folder / name / "A2" / "x_t2").write_bytes(b"123")
        (folder / f"{name}t1.nii.gz").touch() if name.startswith(".") else None
    for role in ("flair", "t1"):
        (tmp_path / "A1" / role / name).write_bytes(b"12345678")
    found = find_scans(clinic, tmp_path)
    (scan,) = found.scans
    assert [(file.role, file.bytes) for file in scan.files] == [(file.role, file.bytes) for file in clean]
    assert found.exclusions == []


@pytest.mark.parametrize(
    "name", ["BraTS2021_00001_t1.nii.gz", "sub-01", "IM0001", "a.b.c.dcm", "x.template.nii", "part"]
)
def test_names_of_cohorts_are_no_litter(name: str) -> None:
    assert not is_litter(name)


def test_a_series_and_a_case_are_read_whatever_lies_beside_their_files(
    tmp_path: Path, writer: Any, series: Any
) -> None:
    files = writer.scan(tmp_path, SCAN)
    for file in files.values():
        file.with_name(f"._{file.name}").write_bytes(b"mac")
        file.with_name(f"{file.name}.part").write_bytes(b"half")
    case = read_case(tmp_path / SCAN)
    assert sorted(file["role"] for file in case.files) == ["FLAIR", "T1", "T1wCE", "T2", "mask"]
    folder = series(tmp_path / "series")
    from gliolake.ingest.readers.dicom import read_dicom_series

    clean = read_dicom_series(folder).sha256
    for path in [*folder.iterdir()]:
        shutil.copy(path, path.with_name(f"._{path.name}"))
        shutil.copy(path, path.with_name(f"{path.name}.crdownload"))
    assert read_dicom_series(folder).sha256 == clean


@pytest.fixture
def series() -> Any:
    """Writes a small DICOM series."""
    from tests.support.dicom import image, write

    def written(folder: Path) -> Path:
        write(folder, image())
        return folder

    return written


def names(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    root.mkdir(exist_ok=True)
    return root


@pytest.mark.parametrize(
    ("paths", "shown"),
    [
        ((), "holds no files"),
        (("a/b/",), "holds no files"),
        ((".DS_Store", f"__MACOSX/{SCAN}/{SCAN}_t1.nii.gz"), "systems leave behind"),
        (("BraTS-GLI-00000-000/BraTS-GLI-00000-000-t1c.nii.gz",), "such as BraTS-GLI-00000-000/BraTS-GLI-"),
        (("BraTS-GLI-00000-000/BraTS-GLI-00000-000_t1ce.nii.gz",), "is no scan id of brats21"),
        ((f"{SCAN}/{SCAN}_T1.NII.GZ",), "capital and small letters"),
        ((f"{SCAN}/anat/{SCAN}_t1.nii.gz",), "not in the expected folder"),
        ((f"{SCAN}_t1.nii.gz",), "not in the expected folder"),
        (("UCSF-PDGM-0004_nifti/UCSF-PDGM-0004_T1c.nii.gz",), "give --cohort ucsf_pdgm"),
        (("P1/IM0001.dcm",), "is DICOM"),
        (("BraTS2021.tar",), "unpack it"),
        (("readme.txt",), "TOML file"),
    ],
)  # fmt: skip
def test_an_ingest_that_finds_nothing_is_an_error_that_says_what_was_expected_and_what_is_there(
    lake: Lake, tmp_path: Path, paths: tuple[str, ...], shown: str
) -> None:
    root = tmp_path / "images"
    root.mkdir()
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).mkdir() if path.endswith("/") else (root / path).touch()
    with pytest.raises(InputError) as caught:
        ingest(lake, "brats21", root)
    assert "{scan_id}/{scan_id}_{role}.nii.gz" in str(caught.value)
    assert "flair, t1, t1ce, t2, seg" in str(caught.value)
    assert shown in f"{caught.value} {caught.value.hint}"
    assert lake.version == 0


def test_slices_without_an_ending_are_known_as_dicom_and_a_folder_within_the_cohort_leads_to_its_parent(
    lake: Lake, tmp_path: Path, writer: Any, series: Any
) -> None:
    series(tmp_path / "dicom" / "P1").joinpath("im0.dcm")
    for path in (tmp_path / "dicom" / "P1").iterdir():
        path.rename(path.with_name(path.stem))
    with pytest.raises(InputError) as caught:
        ingest(lake, "brats21", tmp_path / "dicom")
    assert "is DICOM" in caught.value.hint
    writer.scan(tmp_path / "nifti", SCAN)
    with pytest.raises(InputError) as caught:
        ingest(lake, "brats21", tmp_path / "nifti" / SCAN)
    assert f"give --images {tmp_path / 'nifti'}" in caught.value.hint
    assert lake.version == 0


def test_nothing_found_leaves_the_labels_of_the_same_command_out_too(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "labels.csv").write_text("BraTS21ID,MGMT_value\n1,1\n")
    with pytest.raises(InputError, match="No scan"):
        ingest(lake, "brats21", tmp_path / "empty", tmp_path / "labels.csv")
    assert lake.version == 0


@pytest.mark.parametrize("place", ["images", "above the images", "labels", "boxes", "lake", "variable", "relative"])
def test_a_path_in_another_encoding_is_refused_by_name_and_the_lake_stays_readable(
    tmp_path: Path, writer: Any, place: str
) -> None:
    lake = Lake(tmp_path / "lake", create=True)
    (tmp_path / "labels.csv").write_text("BraTS21ID,MGMT_value\n1,1\n")
    ingest(lake, "brats21", labels=tmp_path / "labels.csv")
    odd = tmp_path / LATIN
    odd.mkdir()
    writer.scan(odd / "images", SCAN)
    shutil.copy(tmp_path / "labels.csv", odd / "labels.csv")
    (odd / "boxes.csv").write_text("scan_id,x0,x1,y0,y1,z0,z1\n")
    shutil.copytree(odd / "images", tmp_path / "sound")
    (odd / "images").rename(odd / LATIN)
    given = {
        "images": ["--images", odd / LATIN],
        "above the images": ["--images", odd],
        "labels": ["--labels", odd / "labels.csv"],
        "boxes": ["--images", tmp_path / "sound", "--boxes", odd / "boxes.csv"],
        "relative": ["--images", "."],
    }.get(place, ["--images", tmp_path / "sound"])
    at = odd / "lake" if place in ("lake", "variable") else tmp_path / "lake"
    options = [] if place == "variable" else ["--lake", at]
    command = [sys.executable, "-m", "gliolake", "ingest", *options, "--cohort", "brats21", *given]
    variables = {**os.environ, "PYTHONPATH": str(Path(room.__file__).parents[2]), "GLIOLAKE_LAKE": str(at)}
    done = subprocess.run(command, cwd=odd, env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode, "k\\udcf6ln" in done.stderr, "is no UTF-8" in done.stderr) == (2, True, True), done.stderr
    assert "Traceback" not in done.stderr
    assert status(Lake(tmp_path / "lake")).cohorts[0]["cohort"] == "brats21"


def test_scans_beside_names_in_another_encoding_are_ingested_and_those_are_rows(
    lake: Lake, tmp_path: Path, writer: Any
) -> None:
    root = tmp_path / "images"
    writer.scan(root, SCAN)
    writer.scan(root / LATIN, "BraTS2021_00002")
    (root / f"{LATIN}.txt").touch()
    writer.scan(root, "BraTS2021_00003")["T2"].rename(root / "BraTS2021_00003" / f"{LATIN}_t2.nii.gz")
    ingest(lake, "brats21", root)
    assert {row["scan_id"] for row in lake.read("scans").to_pylist()} == {SCAN}
    assert {(row["reason"], row["scan_id"].count("udcf6")) for row in lake.read("exclusions").to_pylist()} == {
        ("unreadable name", 1),
        ("missing modality", 0),
    }
    assert status(lake).cohorts[0]["scans"] == 1
    json.dumps(lake.read("exclusions").to_pylist(), ensure_ascii=False).encode()


NAMED = """
name = "namen"
role = "external"
label_rule = "ucsf"
[ids]
pattern = '(?P<who>[^/_]+)'
form = "{who}"
[images]
patterns = ["{scan_id}/{scan_id}_{role}.nii.gz"]
[images.roles]
FLAIR = "flair"
T1 = "t1"
T1wCE = "t1ce"
T2 = "t2"
mask = "séq"
[images.mask_labels]
1 = "a"
2 = "b"
4 = "c"
[labels]
id = "id"
[labels.mgmt_status]
column = "mgmt"
values = { 1 = "methylated", 0 = "unmethylated" }
"""


def written(root: Path, writer: Any, name: str, form: str) -> None:
    suffixes = {**writer.suffixes, "mask": "séq"}
    writer.scan(
        root, normalize(form, name), pattern="{scan_id}/{scan_id}_{suffix}.nii.gz",
        suffixes={role: normalize(form, suffix) for role, suffix in suffixes.items()},
    )  # fmt: skip


@pytest.mark.parametrize("forms", [("NFD", "NFC", "NFC"), ("NFC", "NFD", "NFD")])
def test_a_label_meets_a_folder_whose_accents_are_written_in_another_form(
    lake: Lake, tmp_path: Path, writer: Any, forms: tuple[str, str, str]
) -> None:
    folders, labels, described = forms
    (tmp_path / "namen.toml").write_text(normalize(described, NAMED), encoding="utf-8")
    written(tmp_path / "images", writer, "Zoë 한글", folders)
    (tmp_path / "labels.csv").write_text(normalize(labels, "id,mgmt\nZoë 한글,1\n"), encoding="utf-8")
    report = ingest(lake, tmp_path / "namen.toml", tmp_path / "images", tmp_path / "labels.csv")
    assert (report.excluded, report.labels_without_images, report.images_without_labels) == ({}, (), ())
    (row,) = lake.read("scans").to_pylist()
    assert row["scan_id"] == normalize("NFC", "Zoë 한글")
    assert all(Path(file["uri"]).is_file() for file in row["files"]), "paths stay as they are"


@pytest.mark.parametrize(
    ("folders", "reason"),
    [
        ((("Zoë", "NFC"), ("Zoë", "NFD")), "two files for one modality"),
        ((("Zoe", "NFC"), ("ZOE", "NFC")), "ids alike but for capitals"),
        ((("Weiß", "NFC"), ("WEISS", "NFC")), "ids alike but for capitals"),
    ],
)
def test_two_folders_that_differ_in_accents_or_capitals_alone_are_both_left_out_and_told_apart(
    lake: Lake, tmp_path: Path, writer: Any, folders: tuple[tuple[str, str], ...], reason: str
) -> None:
    (tmp_path / "namen.toml").write_text(NAMED, encoding="utf-8")
    for name, form in folders:
        written(tmp_path / "images", writer, name, form)
    report = ingest(lake, tmp_path / "namen.toml", tmp_path / "images")
    assert (report.scans, {*report.excluded}) == (0, {reason})
    details = [row["detail"] for row in lake.read("exclusions").to_pylist()]
    shown = ("Zoe\\u0308", "Zoë") if "files" in reason else [name for name, _ in folders]
    assert all(name in detail for name in shown for detail in details)
    version = lake.version
    ingest(lake, tmp_path / "namen.toml", tmp_path / "images")
    assert lake.version == version


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/_"), min_size=1, max_size=20))
def test_an_id_is_the_same_in_every_normal_form(name: str) -> None:
    ids = parse_cohort(NAMED, "namen.toml").ids
    assert ids.parse(normalize("NFD", name)) == ids.parse(normalize("NFC", name))


def test_a_cohort_put_together_from_links_is_ingested_when_that_is_asked_for(
    lake: Lake, tmp_path: Path, writer: Any
) -> None:
    root = tmp_path / "cohort"
    store = tmp_path / "store"
    files = tmp_path / "files" / "BraTS2021_00001"
    for seed, folder in enumerate((store, files.parent, store)):
        writer.scan(folder, f"BraTS2021_0000{seed}", seed)
    root.mkdir()
    (root / "BraTS2021_00000").symlink_to(store / "BraTS2021_00000")
    (root / "BraTS2021_00001").mkdir()
    for file in files.iterdir():
        (root / "BraTS2021_00001" / file.name).symlink_to(file)
    (root / "more").symlink_to(store)
    (store / "back").symlink_to(root)
    (store / "itself").symlink_to("itself")
    report = ingest(lake, "brats21", root)
    assert report.scans == 0
    assert {*report.excluded} >= {"link leaves the images folder"}
    assert all(
        "--linked-images" in row["detail"] for row in lake.read("exclusions").to_pylist() if "link" in row["reason"]
    )
    report = ingest(lake, "brats21", root, linked_images=True)
    assert (report.scans, report.excluded) == (3, {})
    assert ingest(lake, "brats21", root, linked_images=True).read == 0
    os.mkfifo(store / "pipe")
    link = root / "BraTS2021_00001" / "BraTS2021_00001_t1.nii.gz"
    link.unlink()
    link.symlink_to(store / "pipe")
    assert ingest(lake, "brats21", root, linked_images=True).excluded == {"not a regular file": 1}
