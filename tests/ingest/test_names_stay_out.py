"""A patient's name in any place of a table that is read: it comes into no message, no log, and no byte of the lake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gliolake.errors import InputError
from gliolake.ingest.cohorts.description import load_cohort
from gliolake.ingest.cohorts.patterns import TimedPattern
from gliolake.ingest.scans.boxes import read_boxes, unused_boxes
from gliolake.schema.registry import TABLES
from gliolake.storage.lake import Lake
from gliolake.storage.rows import conform

NAME = "Zenobia Quuxley"
PARTS = ("zenobia", "quuxley", "1931-07", "quüx")
COLUMNS = {
    "ID": "UCSF-PDGM-{}", "Sex": "M", "Age at MRI": "66", "WHO CNS Grade": "4",
    "Final pathologic diagnosis (WHO 2021)": "Glioblastoma", "MGMT status": "negative", "MGMT index": "0",
    "1p/19q": "intact", "IDH": "wildtype", "1-dead 0-alive": "1", "OS": "1303", "EOR": "STR",
    "Biopsy prior to imaging": "No", "BraTS21 ID": "BraTS2021_00097", "phone": "x",
}  # fmt: skip
HEADER, SOUND = [*COLUMNS], [*COLUMNS.values()]
FREE_TEXT = ("Final pathologic diagnosis (WHO 2021)", "IDH", "EOR")
"""Columns that are kept as they are written: what they say is what a study asks for."""


@pytest.fixture
def told(command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run a command with JSON lines as its log; returns all it printed."""
    monkeypatch.setenv("GLIOLAKE_LAKE", str(tmp_path / "lake"))
    monkeypatch.setenv("GLIOLAKE_LOG", "json")

    def run(*arguments: object) -> str:
        answer = command(*arguments)
        return f"exit {answer.code}\n{answer.out}{answer.err}"

    return run


def held(folder: Path) -> str:
    """Every byte of a lake, and every row of its tables: columns may lie compressed."""
    lake = Lake(folder)
    rows = [str(lake.read(name).to_pylist()) for name, table in TABLES.items() if not table.bulky]
    return "\n".join(rows) + "".join(f.read_bytes().decode("latin-1") for f in folder.rglob("*") if f.is_file())


def silent(text: str) -> bool:
    return not any(part in text.casefold() for part in PARTS)


def rows_with(name: str) -> list[list[str]]:
    """A sound row and its contradiction, rows with the name in each place but free text, and rows that are shifted."""
    sound = [[SOUND[0].format(number), *SOUND[1:]] for number in range(1, 60)]
    rows = [sound.pop()]
    for place, column in enumerate(HEADER):
        if column not in FREE_TEXT:
            rows.append([*(row := sound.pop())[:place], name, *row[place + 1 :]])
    rows.append([*sound.pop(), name])
    rows.append([name, *sound.pop()])
    rows.append([name])
    rows.append([sound.pop()[0], name])
    rows.append([*(row := sound.pop())[:4], f"{name}\n{name}\x07", *row[5:]])
    return [*rows, [rows[0][0], "F", *rows[0][2:]]]


@pytest.mark.parametrize(
    ("name", "separator"),
    [(f"{NAME} 1931-07-12", ","), ("Quüxley, Zénobia", ";"), ("=Zenobia+Quuxley", "\t"), ("quuxley" * 40, "|")],
)
def test_in_any_cell_of_a_label_file(told: Callable[..., str], tmp_path: Path, name: str, separator: str) -> None:
    lines = [HEADER, *rows_with(name)]
    file = tmp_path / "metadata.csv"
    text = "\n".join(separator.join('"' + cell.replace('"', '""') + '"' for cell in line) for line in lines)
    file.write_text(text, encoding="utf-8")
    answer = told("ingest", "--cohort", "ucsf_pdgm", "--labels", file)
    assert answer.startswith("exit 0")
    answer += told("status") + told("sql", "SELECT * FROM exclusions")
    assert silent(answer)
    assert silent(held(tmp_path / "lake"))
    details = Lake(tmp_path / "lake").read("exclusions")["detail"].to_pylist()
    assert len(details) == len(lines) - 3, "all but the header, an unread column's, and two that contradict in one"


@pytest.mark.parametrize(
    "content",
    [
        f"{NAME},x\n00001,1\n",
        f"BraTS21ID,{NAME}\n00001,1\n",
        "BraTS21ID,MGMT_value Quuxley\n00001,1\n",
        f"BraTS21ID,MGMT_value,{NAME},{NAME}\n00001,1,,\n{NAME},1,,\n",
        f"Patient: {NAME}\nBraTS21ID,MGMT_value\n{NAME},1\n",
        f"{NAME}\n",
        f'BraTS21ID,MGMT_value\n00001,"{NAME}\n',
        f'BraTS21ID,MGMT_value\n"{NAME}"{NAME},1\n',
        f"sep={NAME}\nBraTS21ID,MGMT_value\n{NAME},1\n",
        f"BraTS21ID,MGMT_value\n{NAME},1\n{NAME},0\n",
        f"BraTS21ID,MGMT_value\n00001,1,{NAME}\n",
        f"<html>{NAME}</html>",
        f"BraTS21ID,MGMT_value\n{NAME}\0,1\n",
        b"BraTS21ID,MGMT_value\n00001,Zenobia Quuxley\x81\xe8\n",
        f"BraTS21ID,MGMT_value\n{NAME},1".encode("utf-16")[:-1],
        f"BraTS21ID,MGMT_value\n00001,{'Zenobia ' * 2000}\n",
        f"root:{NAME}:19793:0:99999:7:::\ndaemon:*:19793:0:99999:7:::\n",
    ],
)
def test_in_a_file_that_is_refused_as_a_whole(told: Callable[..., str], tmp_path: Path, content: str | bytes) -> None:
    file = tmp_path / "labels.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    link = tmp_path / "link.csv"
    link.symlink_to(file)
    boxes = tmp_path / "boxes.csv"
    boxes.write_bytes(file.read_bytes())
    (tmp_path / "images").mkdir()
    for arguments in (
        ["ingest", "--cohort", "brats21", "--labels", link],
        ["ingest", "--cohort", "brats21", "--images", tmp_path / "images", "--boxes", boxes],
        ["ingest-list", "--cohort", "brats21", file],
        ["ccc", "--published", file],
    ):
        answer = told(*arguments)
        assert silent(answer), arguments[0]
        assert "Traceback" not in answer


def test_in_a_list_or_a_row_of_boxes(told: Callable[..., str], tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text(f"who\n00001\n{NAME}\n{NAME}\n")
    answer = told("ingest-list", "--cohort", "brats21", file)
    assert "line 3 (Aaaaaaa Aaaaaaa)" in answer
    assert silent(answer)
    boxes = tmp_path / "boxes.csv"
    boxes.write_text(
        f"scan_id,x0,x1,y0,y1,z0,z1\n00001,{NAME},1,2,3,4,5\n{NAME},0,1,0,1,0,1\n00002,19310712,5,1,2,1,2\n"
        f"00004,0,1,0,1,0,1\n00004,0,1,0,1,0,{NAME}\n"
    )
    brats = load_cohort("brats21")
    read = read_boxes(brats, boxes)
    assert [bool(box.fault) for box in read.of_scan.values()] == [True, True, True]
    assert silent(f"{read} {unused_boxes(brats, read, [], set())}")
    assert "1931" not in str(read)


def test_in_rows_that_do_not_fit_a_table_or_a_name_that_a_pattern_takes_too_long_over(label: Any) -> None:
    wrong = [{**label(1), "age": NAME}, {**label(2), "source_row": 2**40}, {**label(3), "grade": NAME}]
    given = pa.table({name: pa.array([str(NAME)], pa.string()) for name in TABLES["labels"].schema.names})
    for rows in (wrong, given):
        with pytest.raises(InputError, match=r"labels: values of another type in .*age \(double\).*grade") as refused:
            conform(TABLES["labels"], rows, "r")
        assert silent(f"{refused.value}{refused.value.__cause__}")
        assert refused.value.__suppress_context__
    slow = TimedPattern("(?:z|zz)+$", written="x")
    with pytest.raises(InputError, match="form aaaaaaaa…") as refused:
        slow.fullmatch("z" * 90 + " quuxley")
    assert silent(f"{refused.value} {refused.value.hint}")
