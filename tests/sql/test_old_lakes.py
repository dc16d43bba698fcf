"""Lakes of older and of newer gliolakes, asked in SQL: every door shows what today's tables have, or says why not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import gliolake
from lake import log
from lake.errors import NewerLake, OlderLake
from lake.migrate import migrate
from lake.store import Lake
from lake.tables import TABLES, Column
from lake.transaction import Transaction
from sql.catalog import connect, relations, write_catalog
from sql.export import export
from sql.query import query
from tests.old_lakes import GAINED, gaining, lacking, row, rows_then, tables_are, write

TODAY = {name: gaining(table, *GAINED) for name, table in TABLES.items()}
THEN = {
    name: lacking(table, [column.name for column in table.columns if column.optional]) for name, table in TODAY.items()
}

Answers = dict[str, list[str]]


def answers(connection: duckdb.DuckDBPyConnection) -> Answers:
    """The rows of every table and view, apart from those that count files."""
    names = set(relations()) - {"data_files", "vectors"}
    return {name: sorted(map(str, connection.sql(f'FROM "{name}"').fetchall())) for name in names}


def test_every_table_and_view_answers_as_if_older_files_had_been_written_today(tmp_path: Path) -> None:
    write(tmp_path / "old", THEN, (0, 1), number=1)
    write(tmp_path / "old", TODAY, (2, 3))
    with tables_are(TODAY):
        old, same = Lake(tmp_path / "old"), Lake(tmp_path / "same", create=True)
        for name, table in TODAY.items():
            rows = [*rows_then(table, THEN[name], (0, 1)), *(row(table, number) for number in (2, 3))]
            same.transact(partial(Transaction.append, name=name, rows=rows), run_id="r")
        with connect(same) as connection:
            expected = answers(connection)
        with gliolake.connect(old.root) as connection:
            assert answers(connection) == expected
        write_catalog(old, tmp_path / "catalog.duckdb")
        with duckdb.connect(tmp_path / "catalog.duckdb", read_only=True) as connection:
            assert answers(connection) == expected
        export(old, "scans", tmp_path / "scans.parquet")
        assert pq.read_table(tmp_path / "scans.parquet").num_rows == 4
        migrate(old)
        with connect(old) as connection:
            migrated = answers(connection)
        assert {name for name in expected.keys() & TABLES if migrated[name] != expected[name]} == {"runs"}


NARROW, WIDE = Column("counted", pa.int32(), "narrow"), Column("counted", pa.int64(), "wide")
DOUBLED = Column("doubled", pa.float64(), "made", before=lambda old: pc.multiply(old["counted"], 2.0))


@pytest.mark.parametrize(
    ("today", "asked", "old", "new"),
    [
        (WIDE, "SELECT counted FROM labels WHERE counted >= 0 ORDER BY 1", range(4), 2**40),
        (DOUBLED, "SELECT doubled FROM labels WHERE doubled >= 0 ORDER BY 1", [0.0, 2.0, 4.0, 6.0], 100.5),
    ],
    ids=["of a narrower type", "made of another column"],
)
def test_what_older_rows_have_is_seen_whichever_file_comes_first(
    lake: Lake, today: Column, asked: str, old: Iterable[float], new: float
) -> None:
    for number in range(4):
        write(lake.root, {"labels": gaining(TABLES["labels"], NARROW)}, [number], number=1)
    table = gaining(TABLES["labels"], today)
    with tables_are({"labels": table}):
        for number in range(4, 8):
            rows = [row(table, number) | {today.name: new}]
            lake.transact(partial(Transaction.append, name="labels", rows=rows), run_id="r")
        assert query(lake, asked)[today.name].to_pylist() == [*old, *[new] * 4]


def test_a_file_that_nothing_is_known_to_do_with_is_named(lake: Lake, tmp_path: Path) -> None:
    write(lake.root, {"labels": TABLES["labels"]}, [0], number=1)
    (file,) = lake.state().files
    doors: list[Callable[[], object]] = [
        lambda: query(lake, "FROM labels"),
        lambda: gliolake.connect(lake.root),
        lambda: write_catalog(lake, tmp_path / "catalog.duckdb"),
        lambda: export(lake, "labels", tmp_path / "labels.csv"),
    ]
    with tables_are({"labels": gaining(TABLES["labels"], Column("needed", pa.string(), ""))}):
        for door in doors:
            with pytest.raises(
                OlderLake, match=f"{file}: its rows lack column 'needed', of which table labels"
            ) as caught:
                door()
            assert "table runs" in caught.value.hint


def test_a_lake_of_a_newer_gliolake_is_refused(lake: Lake) -> None:
    write(lake.root, {"labels": TABLES["labels"]}, [0])
    write(lake.root, {"labels": TODAY["labels"]}, [1], number=log.FORMAT + 1)
    for door in (lambda: connect(lake), lambda: gliolake.connect(lake.root)):
        with pytest.raises(NewerLake, match=lake.root):
            door()
