"""Boxes given by hand let scans without a mask in; what is wrong with one is said of that one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gliolake.errors import InputError
from gliolake.ingest.pipeline import ingest
from gliolake.storage.lake import Lake

IDS = [f"BraTS2021_{n:05d}" for n in range(1, 5)]
HEADER = "scan_id,x0,x1,y0,y1,z0,z1\n"
NOWHERE = "tcp://127.0.0.1:9"
"""A scheduler that does not answer: a run that is given it fails if it tries to read a scan."""


@pytest.fixture
def folder(tmp_path: Path, writer: Any) -> Path:
    """Four scans, all but the last without a mask."""
    for seed, scan_id in enumerate(IDS):
        files = writer.scan(tmp_path / "images", scan_id, seed)
        if scan_id != IDS[-1]:
            files["mask"].unlink()
    return tmp_path / "images"


@pytest.fixture
def boxed(lake: Lake, folder: Path, scheduler: str, tmp_path: Path) -> Any:
    """Ingest the folder with these lines as boxes, or with no boxes; returns the report, and reasons by scan."""

    def run(lines: str | None, scheduler: str = scheduler) -> tuple[Any, dict[str, tuple[str, str]]]:
        file = tmp_path / "boxes.csv"
        file.write_text(HEADER + (lines or ""))
        boxes = None if lines is None else file
        report = ingest(lake, "brats21", folder, boxes=boxes, scheduler=scheduler)
        rows = lake.read("exclusions").to_pylist()
        return report, {row["scan_id"]: (row["step"], f"{row['reason']}: {row['detail']}") for row in rows}

    return run


def scans(lake: Lake) -> dict[str, tuple[list[int], int, list[Any], list[str]]]:
    return {
        row["scan_id"]: (row["tumour_box"], row["tumour_voxels"], row["mask_labels"], row["warnings"])
        for row in lake.read("scans").to_pylist()
    }


def test_a_scan_without_mask_or_box_is_refused_by_name_and_let_in_with_a_box(lake: Lake, boxed: Any) -> None:
    _, reasons = boxed(None)
    assert set(reasons) == set(IDS[:3])
    assert (
        "missing mask: No file ending in seg, and no box: give one with gliolake ingest --boxes" in reasons[IDS[0]][1]
    )
    report, reasons = boxed("00001, 3, 9, 5, 12, 2, 8\nBraTS2021_00002,0,24,0,20,0,16\n")
    assert (report.read, report.unchanged, set(reasons)) == (2, 2, {IDS[2]})
    found = scans(lake)
    assert found[IDS[0]] == ([3, 9, 5, 12, 2, 8], 0, [], ["box given by hand"])
    assert found[IDS[1]][0] == [0, 24, 0, 20, 0, 16]
    assert "box given by hand" not in found[IDS[3]][3]


def test_a_box_stays_until_a_file_of_boxes_says_otherwise(lake: Lake, boxed: Any) -> None:
    lines = f"{IDS[0]},3,9,5,12,2,8\n{IDS[1]},3,9,5,12,2,8\n{IDS[2]},3,9,5,12,2,8\n"
    boxed(lines)
    version = lake.version
    report, reasons = boxed(None, NOWHERE)
    assert (report.read, reasons, lake.version) == (0, {}, version)
    assert boxed(lines, NOWHERE)[0].read == 0
    report, reasons = boxed(lines.replace("3,9", "4,9", 1).replace(f"{IDS[2]},3,9,5,12,2,8\n", ""))
    assert (report.read, set(reasons)) == (2, {IDS[2]})
    assert {scan_id: box[0][0] for scan_id, box in scans(lake).items()} == {IDS[0]: 4, IDS[1]: 3, IDS[3]: 3}


def test_each_unusable_box_is_a_row_of_its_own(lake: Lake, boxed: Any) -> None:
    _, reasons = boxed(
        f"{IDS[0]},3,25,-1,12,2,8\n{IDS[1]},3,9,5,5,2,8\n{IDS[2]},3,9,5,x,2\n{IDS[3]},1,2,1,2,1,2\n"
        "BraTS2021_00099,1,2,1,2,1,2\nnobody,1,2,1,2,1,2\n"
    )
    assert set(scans(lake)) == {IDS[3]}
    told = {
        IDS[0]: (
            "images",
            "unusable box: boxes.csv, line 2: the box leaves the image of 24×20×16 voxels at x1 25, y0 -1.",
        ),
        IDS[1]: ("images", "unusable box: boxes.csv, line 3: the box is empty, from y 5 to 5."),
        IDS[2]: (
            "images",
            "unusable box: boxes.csv, line 4: y1 has the form a, z1 has the form (empty); expected six whole numbers.",
        ),
        IDS[3]: ("boxes", f"box for a scan with a mask: boxes.csv, line 5: {IDS[3]} has a mask, which gives its box."),
        "BraTS2021_00099": (
            "boxes",
            "unknown scan: boxes.csv, line 6: BraTS2021_00099 is not among the images of brats21.",
        ),
        "boxes line 7": (
            "boxes",
            "unreadable id: boxes.csv, line 7: the id has the form aaaaaa; expected BraTS2021_{number}.",
        ),
    }
    assert reasons == told
    lines = "".join(f"{scan_id},3,9,5,12,2,8\n" for scan_id in IDS[:3])
    report, reasons = boxed(lines)
    assert (report.scans, reasons) == (4, {})


def test_two_boxes_for_one_scan_are_a_contradiction_unless_they_agree(lake: Lake, boxed: Any) -> None:
    _, reasons = boxed(f"{IDS[0]},3,9,5,12,2,8\n00001,3,9,5,12,2,8\n{IDS[1]},3,9,5,12,2,8\n00002,3,9,5,12,2,9\n")
    assert reasons[IDS[1]][1] == "unusable box: boxes.csv, line 4 and line 5 give different boxes."
    assert IDS[0] in scans(lake)


def test_boxes_need_images_and_their_columns(lake: Lake, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "boxes.csv"
    file.write_text("scan,x0,x1,y0,y1,z0,z1\n")
    with pytest.raises(InputError, match="has no column 'scan_id'"):
        ingest(lake, "brats21", folder, boxes=file, scheduler=NOWHERE)
    labels = tmp_path / "labels.csv"
    labels.write_text("BraTS21ID,MGMT_value\n00001,1\n")
    with pytest.raises(InputError, match="Boxes belong to images") as refused:
        ingest(lake, "brats21", labels=labels, boxes=file)
    assert "--images" in refused.value.hint
