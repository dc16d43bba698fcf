"""What strangers' files may ask for: too much is refused unread, and what leaves the folder is not opened."""

from __future__ import annotations

import ast
import gzip
import os
import socket
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import psutil
import pytest

from gliolake import limits
from gliolake.cluster.client import open_cluster
from gliolake.errors import GliolakeError, InputError
from gliolake.ingest.cohorts.description import load_cohort
from gliolake.ingest.cohorts.patterns import TimedPattern
from gliolake.ingest.readers import nifti
from gliolake.ingest.readers.csv_file import read_csv
from gliolake.ingest.readers.nifti import BadImage, read_volume
from gliolake.ingest.scans.discovery import find_scans
from gliolake.ingest.scans.images import read_scan

SCAN = "BraTS2021_00001"
BRATS = load_cohort("brats21")


def reasons(root: Path) -> dict[str, list[str]]:
    """Reasons of the exclusions of every scan, and of what belongs to none, below a folder."""
    assert BRATS.images is not None
    found = find_scans(BRATS, root)
    rows = [*found.exclusions, *(row for scan in found.scans for row in read_scan(scan, BRATS.images).exclusions)]
    told: dict[str, list[str]] = {}
    for row in rows:
        assert row["detail"]
        assert row["source"].encode(), "it can stand in a table"
        told.setdefault(row["scan_id"], []).append(row["reason"])
    return told


@pytest.mark.parametrize("with_header", [True, False])
def test_a_megabyte_that_unpacks_to_a_gigabyte_of_zeros_is_refused_before_it_is_unpacked(
    tmp_path: Path, with_header: bool
) -> None:
    header = nib.Nifti1Header()
    header.set_data_shape((1024, 1024, 512))
    header.set_data_dtype(np.int16)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    path = tmp_path / "bomb.nii.gz"
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(header.binaryblock + bytes(4) if with_header else bytes(352))
        for _ in range(1024):
            file.write(bytes(1 << 20))
    assert path.stat().st_size < 1.1e6
    tracemalloc.start()
    try:
        with pytest.raises(BadImage, match="the limit" if with_header else "NIfTI header") as caught:
            read_volume(str(path))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.reason == (nifti.TOO_LARGE if with_header else nifti.UNREADABLE)
    assert peak < 8 << 20


def test_a_mask_may_be_hundreds_of_times_smaller_than_it_unpacks_to(tmp_path: Path) -> None:
    voxels = np.zeros((240, 240, 155), np.uint8)
    voxels[100, 100, 100] = 1
    nib.Nifti1Image(voxels, np.eye(4)).to_filename(tmp_path / "mask.nii.gz")
    assert (tmp_path / "mask.nii.gz").stat().st_size * 200 < voxels.size
    assert read_volume(str(tmp_path / "mask.nii.gz")).voxels.sum() == 1


@pytest.mark.parametrize(
    "sizes", [(2**62, 2**62, 2**62), (-5, 4, 3), (0, 4, 3), (2**40, 1, 1)], ids=["overflow", "negative", "none", "vast"]
)
def test_sizes_that_no_image_has_are_refused_by_name(tmp_path: Path, sizes: tuple[int, int, int]) -> None:
    image = nib.Nifti2Image(np.ones((5, 4, 3), np.int16), np.eye(4))
    content = bytearray(image.to_bytes())
    content[16:48] = np.array([3, *sizes], "<i8").tobytes()
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(BadImage) as caught:
        read_volume(str(tmp_path / "a.nii"))
    assert caught.value.reason == (nifti.NOT_3D if min(sizes) < 1 else nifti.TOO_LARGE)


def test_links_within_the_folder_are_followed_and_those_that_leave_it_are_refused(tmp_path: Path, writer: Any) -> None:
    root, elsewhere = tmp_path / "cohort", tmp_path / "elsewhere"
    assert reasons(_kept(root, writer)) == {}
    files = writer.scan(root, SCAN)
    files["T2"].rename(root / "t2.nii.gz")
    files["T2"].symlink_to("../t2.nii.gz")
    assert reasons(root) == {}
    files["T2"].unlink()
    files["T2"].symlink_to(writer.save(elsewhere / "x.nii.gz", writer.image(5)))
    assert reasons(root) == {SCAN: ["link leaves the images folder"]}
    files["T2"].unlink()
    writer.save(files["T2"], writer.image(5))
    writer.scan(elsewhere, "BraTS2021_00002")
    (root / "BraTS2021_00002").symlink_to(elsewhere / "BraTS2021_00002")
    (root / "more").symlink_to("/")
    told = reasons(root)
    assert told.pop("more") == ["link leaves the images folder"]
    assert told.pop("BraTS2021_00002")[0] == "link leaves the images folder"
    assert told == {}


def _kept(root: Path, writer: Any) -> Path:
    writer.scan(root, "BraTS2021_00009", 9)
    return root


def test_pipes_sockets_devices_and_links_to_nowhere_are_refused_and_not_waited_for(tmp_path: Path, writer: Any) -> None:
    files = writer.scan(tmp_path, SCAN)
    files["T1"].unlink()
    os.mkfifo(files["T1"])
    with pytest.raises(BadImage, match="no regular file"):
        read_volume(str(files["T1"]))
    with pytest.raises(BadImage, match="no regular file"):
        read_volume("/dev/zero")
    with pytest.raises(InputError, match="no regular file"):
        read_csv(files["T1"])
    assert reasons(tmp_path) == {SCAN: ["not a regular file"]}
    files["T2"].unlink()
    files["T2"].symlink_to(tmp_path / "nowhere")
    files["FLAIR"].unlink()
    listening = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(files["FLAIR"].parent)  # a socket's path has at most 108 letters
    try:
        listening.bind(files["FLAIR"].name)
    finally:
        os.chdir(here)
        listening.close()
    assert reasons(tmp_path) == {SCAN: ["not a regular file"] * 3}


def test_names_that_are_no_text_or_too_deep_are_rows_and_too_many_files_are_an_error(
    tmp_path: Path, writer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.scan(tmp_path, SCAN)
    (tmp_path / os.fsdecode(b"\xff\xfe_t1.nii.gz")).write_bytes(b"")
    (tmp_path / Path(*"abcdefgh" * 5)).mkdir(parents=True)
    told = reasons(tmp_path)
    assert told.pop("\\udcff\\udcfe_t1.nii.gz") == ["unreadable name"]
    assert list(told.values()) == [["too many folders deep"]]
    monkeypatch.setattr(limits, "ENTRIES", 10)
    with pytest.raises(InputError, match="more than 10 files and folders"):
        find_scans(BRATS, tmp_path)


def test_a_scans_name_has_no_more_letters_or_days_than_a_column_holds() -> None:
    assert BRATS.ids.parse("0" * 300) is None
    ucsf = load_cohort("ucsf_pdgm")
    assert ucsf.ids.parse("UCSF-PDGM-0004_FU003d") is not None


@pytest.mark.parametrize(("content", "what"), [(b"a,b\n" + b"x" * 20_000, "letters"), (b"a," * 2000, "fields")])
def test_a_table_has_neither_endless_fields_nor_endless_columns(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InputError, match=what):
        read_csv(tmp_path / "a.csv")


def test_a_pattern_that_takes_for_ever_is_stopped() -> None:
    slow = replace(BRATS.ids, pattern=TimedPattern(r"(?P<number>(?:a|aa)+)$", written="slow"))
    with pytest.raises(GliolakeError, match="takes more than 1 s"):
        slow.parse("a" * 90 + "!")


def test_a_cluster_of_ones_own_listens_to_this_machine_alone() -> None:
    with open_cluster(workers=1):
        me = psutil.Process()
        ports = [one for process in (me, *me.children(recursive=True)) for one in process.net_connections("inet")]
        listening = {one.laddr.ip for one in ports if one.status == psutil.CONN_LISTEN}
    assert listening <= {"127.0.0.1", "::1"}
    assert listening


ROOMS = ("gliolake", "ingest", "features", "sql", "modeling", "analysis", "deploy")
READERS = {("torch", "load"), ("numpy", "load"), ("np", "load")}
NEVER = {"eval", "exec"}
NEVER_OF = {
    ("pickle", "load"), ("pickle", "loads"), ("pickle", "Unpickler"), ("cloudpickle", "load"), ("cloudpickle", "loads"),
    ("joblib", "load"), ("dill", "load"), ("dill", "loads"), ("marshal", "load"), ("marshal", "loads"),
    ("shelve", "open"), ("yaml", "load"), ("yaml", "unsafe_load"), ("os", "system"), ("os", "popen"),
    ("pd", "read_pickle"), ("pandas", "read_pickle"),
}  # fmt: skip


def unsafe_calls(source: str) -> Iterator[str]:
    """Calls that could run what a file holds, with their lines."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names = {(str(node.module), alias.name) for alias in node.names}
            if names & (NEVER_OF | READERS):
                yield f"line {node.lineno}: import of {names}"
        if not isinstance(node, ast.Call):
            continue
        keywords = {one.arg: one.value for one in node.keywords}
        called = node.func
        if isinstance(called, ast.Name) and called.id in NEVER:
            yield f"line {node.lineno}: {called.id}"
        if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
            name = (called.value.id, called.attr)
            weights_only = keywords.get("weights_only")
            safe = isinstance(weights_only, ast.Constant) and weights_only.value is True
            if name in NEVER_OF or (name == ("torch", "load") and not safe):
                yield f"line {node.lineno}: {'.'.join(name)}"
        for keyword in ("allow_pickle", "shell"):
            value = keywords.get(keyword)
            if value is not None and not (isinstance(value, ast.Constant) and value.value is False):
                yield f"line {node.lineno}: {keyword}"


def test_nothing_in_the_source_runs_what_a_file_holds() -> None:
    top = Path(__file__).parents[2]
    files = [path for room in ROOMS for path in ([top / room] if room.endswith(".py") else (top / room).rglob("*.py"))]
    assert len(files) > 100
    found = {str(path.relative_to(top)): list(unsafe_calls(path.read_text(encoding="utf-8"))) for path in files}
    assert {path: calls for path, calls in found.items() if calls} == {}


@pytest.mark.parametrize(
    "line",
    [
        "pickle.loads(data)", "torch.load(path)", "torch.load(path, weights_only=False)", "eval(text)", "exec(text)",
        "np.load(path, allow_pickle=True)", "yaml.load(text)", "subprocess.run(text, shell=True)",
        "from pickle import loads", "from torch import load",
    ],
)  # fmt: skip
def test_the_search_for_unsafe_calls_finds_each(line: str) -> None:
    assert list(unsafe_calls(line))
