"""Exported files: the lake's values and nothing that runs, the same bytes for the same content, whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from gliolake.cli.app import app
from gliolake.errors import DamagedFile, GliolakeError, InputError, StorageFull
from gliolake.sql.cells import exact, harmless
from gliolake.sql.export import xlsx as export_xlsx
from gliolake.sql.export.table import FORMATS, export, write
from gliolake.storage.lake import Lake

NASTY = ["=1+1", "+cmd", "-2", "@SUM(A1)", "\t=1", "\r=1", "＝1", "  =1", "\u200b=1", "\u00a0+1", "'quoted", "﹣2"]
PLAIN = [
    "",
    "a=1",
    "Glioblastoma, IDH-wildtype",
    'say "x"',
    "tab\there",
    "a\nb",
    "http://x.org",
    "0012",
    "_x0041_",
    "é",
]
DANGEROUS = set("=+-@＝＋－＠\t\r\n")

texts = st.text(st.characters(exclude_categories=["Cs"]))
first_letters = st.sampled_from([*DANGEROUS, " ", "'", "\ufeff", "\x00"])


@settings(deadline=None)
@given(texts | st.sampled_from(NASTY + PLAIN) | st.builds("{}{}{}".format, first_letters, first_letters, texts))
def test_any_text_is_made_harmless_and_comes_back(text: str) -> None:
    (made,) = harmless(pa.array([text])).to_pylist()
    assert exact(made) == text
    assert made[:1] not in DANGEROUS
    assert made.strip()[:1] not in DANGEROUS


@pytest.fixture
def table() -> pa.Table:
    """Rows with everything that is hard to write."""
    many = [*NASTY, *PLAIN]
    rows = [
        {
            "text": text,
            "number": -1.5 if place else None,
            "real": [float("nan"), float("inf"), 0.1, None][place % 4],
            "whole": [2**62, -7, None][place % 3],
            "flag": [True, False, None][place % 3],
            "moment": datetime(2025, 3, 1, 12, tzinfo=UTC) + timedelta(microseconds=place),
            "names": [text, None] if place % 2 else None,
            "pair": {"a": place, "b": text},
        }
        for place, text in enumerate(many)
    ]
    kinds = {
        "text": pa.string(), "number": pa.float64(), "real": pa.float64(), "whole": pa.int64(), "flag": pa.bool_(),
        "moment": pa.timestamp("us", "UTC"), "names": pa.list_(pa.string()),
        "pair": pa.struct([("a", pa.int32()), ("b", pa.string())]),
    }  # fmt: skip
    fields = [pa.field(name, kind, metadata={"description": f"what {name} is"}) for name, kind in kinds.items()]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields, {"description": "hard: rows"}))


def written(table: pa.Table, form: str) -> bytes:
    stream = io.BytesIO()
    write(table.schema, table.to_batches(), form, stream)
    return stream.getvalue()


@pytest.mark.parametrize(("form", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_text_files_hold_every_value_and_no_cell_that_runs(table: pa.Table, form: str, delimiter: str) -> None:
    cells = list(csv.DictReader(io.StringIO(written(table, form).decode(), newline=""), delimiter=delimiter))
    rows = table.to_pylist()
    assert [exact(cell["text"]) for cell in cells] == [row["text"] for row in rows]
    assert not any(cell["text"].strip()[:1] in DANGEROUS for cell in cells)
    assert [cell["number"] for cell in cells] == ["", *["-1.5"] * (len(rows) - 1)]
    assert [cell["real"] for cell in cells][:4] == ["nan", "inf", "0.1", ""]
    assert cells[1]["moment"] == "2025-03-01T12:00:00.000001Z"
    assert [json.loads(cell["names"] or "null") for cell in cells] == [row["names"] for row in rows]
    assert [json.loads(cell["pair"]) for cell in cells] == [row["pair"] for row in rows]
    assert b'\n"",' in written(table.select(["text", "number"]), "csv")  # an empty text is not a missing one


RUN = [*NASTY, "=cmd|' /C calc'!A0", "@SUM(1)", "\ufeff=1", "\u2003＋1", "\u202e=1", "-1.5"]


@pytest.mark.parametrize(("form", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_no_header_of_a_text_file_runs_wherever_it_came_from(form: str, delimiter: str) -> None:
    with duckdb.connect() as connection:
        names = ", ".join(f"('{name.replace(chr(39), chr(39) * 2)}')" for name in RUN)
        pivoted = connection.sql(f"PIVOT (VALUES {names}) AS t(name) ON name USING count(*)").to_arrow_table()
    assert set(pivoted.column_names) == set(RUN)
    header, cells = csv.reader(io.StringIO(written(pivoted, form).decode(), newline=""), delimiter=delimiter)
    assert list(map(exact, header)) == pivoted.column_names
    assert all(name.startswith("'") for name in header)
    assert cells == ["1"] * len(RUN)


@pytest.mark.parametrize(
    "expression",
    ["'=1'::ENUM('=1')", "'=1'::BLOB", "'11101'::BIT", "['=1']", "INTERVAL '-1 day'", "DATE '-0044-01-01'", "'=1'",
     "MAP {'=1': 2}", "TIMESTAMP '-infinity'"],
)  # fmt: skip
def test_no_kind_of_value_is_a_way_around(expression: str) -> None:
    with duckdb.connect() as connection:
        answer = connection.sql(f"SELECT {expression} AS a, -1.5 AS b").to_arrow_table()
    _, (cell, number) = csv.reader(io.StringIO(written(answer, "csv").decode()))
    assert cell[0] not in DANGEROUS
    assert number == "-1.5"


def test_a_workbook_holds_every_value_and_no_formula_link_or_number_made_of_text(table: pa.Table) -> None:
    data = written(table, "xlsx")
    book = openpyxl.load_workbook(io.BytesIO(data))
    header, *lines = book["rows"].iter_rows()
    assert [cell.value for cell in header] == table.column_names
    assert all(cell.font.bold for cell in header)
    assert book["rows"].freeze_panes == "A2"
    assert book["rows"].auto_filter.ref == f"A1:H{len(lines) + 1}"
    for line, row in zip(lines, table.to_pylist(), strict=True):
        by_name = dict(zip(table.column_names, line, strict=True))
        assert all(cell.data_type != "f" and cell.hyperlink is None for cell in line)
        assert unescape(by_name["text"].value or "") == row["text"]
        assert by_name["number"].value == row["number"]
        assert by_name["flag"].value is row["flag"]
        assert by_name["whole"].value == (str(row["whole"]) if row["whole"] == 2**62 else row["whole"])
        assert str(by_name["real"].value) == str(row["real"])
        assert json.loads(unescape(by_name["pair"].value)) == row["pair"]
    about = {line[0].value: line[2].value for line in book["about"].iter_rows() if line[0].value}
    assert about["whole"] == "what whole is"
    parts = zipfile.ZipFile(io.BytesIO(data))
    assert not any(b"<f>" in parts.read(name) or b"<hyperlink" in parts.read(name) for name in parts.namelist())


def unescape(text: str) -> str:
    """Excel's own form of characters that XML has not."""
    return openpyxl.utils.escape.unescape(text)


def test_parquet_keeps_types_nesting_and_descriptions(table: pa.Table) -> None:
    away = timezone(timedelta(hours=2))
    moments = table["moment"].cast(pa.timestamp("us", "Europe/Paris"))
    read = pq.read_table(pa.BufferReader(written(table.set_column(5, "moment", moments), "parquet")))
    assert str(read.drop("real").to_pylist()) == str(table.drop("real").to_pylist())
    assert read.schema.field("moment").type == pa.timestamp("us", "UTC")
    assert read["moment"][0].as_py() == datetime(2025, 3, 1, 14, tzinfo=away)
    assert read.schema.metadata[b"description"] == b"hard: rows"
    assert read.schema.field("pair").metadata[b"description"] == b"what pair is"


def test_what_excel_cannot_hold_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    long = pa.table({"a": ["x", "y" * 32_767, "é𝄞" * 16_384]})
    with pytest.raises(InputError, match="Row 3, column a: a text of 32,768 characters") as caught:
        written(long, "xlsx")
    assert "parquet" in caught.value.hint
    monkeypatch.setattr(export_xlsx, "MOST_ROWS", 3)
    export_xlsx.check_size("few", 2, 16_384)
    with pytest.raises(InputError, match="many has 3 rows"):
        export_xlsx.check_size("many", 3, 1)
    with pytest.raises(InputError, match="16,385 columns"):
        export_xlsx.check_size("wide", 1, 16_385)


@pytest.fixture
def filled(lake: Lake, label: Any) -> Lake:
    rows = [label(n, mgmt_status="unmethylated" if n % 2 else "methylated", site="=HYPERLINK(1)") for n in range(30)]
    for start in (20, 0, 10):
        lake.transact(lambda tx, s=start: tx.append("labels", rows[s : s + 10]), run_id="r")
    return lake


@pytest.mark.parametrize(
    ("form", "name", "rows"),
    [("csv", "flowchart", 0), ("parquet", "labels", 30), ("tsv", "scan_calls", 60), ("xlsx", "labels", 30)],
)
def test_the_same_content_is_the_same_bytes_however_it_lies_in_the_lake(
    filled: Lake, tmp_path: Path, form: str, name: str, rows: int
) -> None:
    other = Lake(tmp_path / "other", create=True)
    content = filled.read("labels").drop("run_id").to_pylist()
    other.transact(lambda tx: tx.append("labels", content), run_id="r")
    made = [export(lake, name, tmp_path / f"{place}.{form}") for place, lake in enumerate((filled, other))]
    assert [each.rows for each in made] == [rows, rows]
    assert len({Path(each.file).read_bytes() for each in made}) == 1


def test_a_view_comes_in_its_own_order_and_everything_else_sorted(filled: Lake, tmp_path: Path) -> None:
    def rows(name: str) -> list[dict[str, Any]]:
        return pq.read_table(export(filled, name, tmp_path / f"{name}.parquet").file).to_pylist()

    assert [row["scan_id"] for row in rows("labels")] == [f"scan-{n:04d}" for n in range(30)]
    calls = [(row["scan_id"], row["label_rule"]) for row in rows("scan_calls")]
    assert calls == sorted(calls)


def test_a_file_is_replaced_only_when_told_and_a_failure_leaves_the_old_one(
    filled: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path(export(filled, "labels", form="tsv").file)
    assert file.name == "labels.tsv"
    before = file.read_bytes()
    with pytest.raises(InputError, match="there already"):
        export(filled, "labels", form="tsv")
    monkeypatch.setattr("gliolake.sql.export.table.write", lambda *_: (_ for _ in ()).throw(InputError("half way")))
    with pytest.raises(InputError, match="half way"):
        export(filled, "labels", form="tsv", overwrite=True)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["labels.tsv"]


def test_a_mistake_is_answered_in_words(filled: Lake, tmp_path: Path) -> None:
    for arguments, said in {
        ("lables", tmp_path / "a.csv"): "Did you mean labels",
        ("voxels", tmp_path / "a.csv"): "a row of it is a whole image",
        ("labels", tmp_path / "a.xls"): "Did you mean xlsx",
        ("labels", tmp_path / "nowhere" / "a.csv"): "does not exist",
        ("labels",): "csv, parquet, tsv, xlsx",
    }.items():
        with pytest.raises(GliolakeError) as caught:
            export(filled, *arguments)
        assert said in f"{caught.value} {caught.value.hint}"


def test_a_view_that_outgrows_memory_is_refused_in_words(
    filled: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_much(connection: duckdb.DuckDBPyConnection, name: str) -> Iterator[pa.RecordBatch]:
        raise duckdb.OutOfMemoryException(f"Out of Memory Error: {name}\n\ninternals")
        yield

    monkeypatch.setattr("gliolake.sql.export.table._batches", too_much)
    with pytest.raises(InputError, match=r"Out of Memory Error: labelled$") as caught:
        export(filled, "labelled", tmp_path / "labelled.csv")
    assert "gliolake sql" in caught.value.hint


def test_a_damaged_file_of_the_lake_is_named(filled: Lake, tmp_path: Path) -> None:
    file = filled.state().of_table("labels")[1]
    Path(filled.root, file.path).write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(DamagedFile, match=Path(file.path).name):
        export(filled, "labels", tmp_path / "labels.csv")
    assert not list(tmp_path.glob("labels*"))


@pytest.mark.parametrize("form", FORMATS)
def test_a_full_disk_leaves_nothing_behind_and_is_said(filled: Lake, small_disk: Path, form: str) -> None:
    with contextlib.suppress(OSError):
        (small_disk / "ballast").write_bytes(bytes(2**20))
    with pytest.raises(StorageFull, match="No space is left"):
        export(filled, "labels", small_disk / f"labels.{form}")
    assert [path.name for path in small_disk.iterdir()] == ["ballast"]


def test_the_commands_export_and_describe(filled: Lake, tmp_path: Path) -> None:
    def run(*arguments: object) -> str:
        answer = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
        assert answer.exit_code == 0
        return " ".join(answer.output.split())  # a long path may have broken a line

    file = tmp_path / "labels.csv"
    assert json.loads(run("export", "labels", "--lake", filled.root, "--output", file, "--json")) == {
        "name": "labels", "file": str(file), "rows": 30,
    }  # fmt: skip
    assert "0 participants" in run("export", "--lake", filled.root, "--bids", tmp_path / "bids")
    with pytest.raises(InputError, match="takes one thing"):
        run("export", "--lake", filled.root)
    assert "one row per scan and label source" in run("dictionary", "labels")
    assert "training_scans" in run("dictionary")
    assert json.loads(run("dictionary", "labels", "--json"))["key"] == ["cohort", "scan_id", "source"]
    with pytest.raises(InputError, match="lables"):
        run("dictionary", "lables")
