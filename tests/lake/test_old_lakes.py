"""Lakes of older and of newer gliolakes: the older are read, and brought up to date; the newer are refused."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lake import log
from lake.compaction import compact
from lake.errors import NewerLake, OlderLake
from lake.migrate import migrate
from lake.older import is_older
from lake.store import Lake
from lake.tables import TABLES, Column, Table
from lake.transaction import Transaction
from lake.verify import verify
from tests.old_lakes import GAINED, gaining, lacking, row, rows_then, tables_are, write

TODAY = {name: gaining(table, *GAINED) for name, table in TABLES.items()}
MAY_LACK = [(name, column.name) for name, table in TODAY.items() for column in table.columns if column.optional]
TEXT = pa.string()

TABLES_OF_FORMAT = {2: "20843c1ab2ef6a84"}
"""Digest of all tables, by ``lake.log.FORMAT``. To be added to, and no entry ever changed: such lakes are out there."""


def snapshot(folder: str | Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}


def in_order(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows that were made up, for comparison. Commands add rows of their own to table runs."""
    return sorted((row for row in rows if row["run_id"].startswith("{")), key=lambda row: row["run_id"])


def test_the_tables_are_those_of_this_format() -> None:
    told = [
        (table.name, table.key, table.partition_by, [(c.name, str(c.type), c.optional) for c in table.columns])
        for _, table in sorted(TABLES.items())
    ]
    digest = hashlib.sha256(repr(told).encode()).hexdigest()[:16]
    assert TABLES_OF_FORMAT[log.FORMAT] == digest, "Tables have changed: raise lake.log.FORMAT and see lake/tables.py."


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(gone=st.just(set(MAY_LACK)) | st.sets(st.sampled_from(MAY_LACK), min_size=1), compacted=st.booleans())
def test_columns_that_files_are_too_old_for_read_as_null_beside_new_files_and_stay_so_once_rewritten(
    gone: set[tuple[str, str]], compacted: bool
) -> None:
    lacks = {name: [column for of, column in sorted(gone) if of == name] for name, _ in gone}
    then = {name: lacking(TODAY[name], columns) for name, columns in lacks.items()}
    older = {name: rows_then(TODAY[name], table, (0, 1)) for name, table in then.items()}
    rows = {name: [*older[name], *(row(TODAY[name], number) for number in (2, 3))] for name in then}
    with tempfile.TemporaryDirectory() as root:
        write(root, then, (0, 1), number=1)
        write(root, {name: TODAY[name] for name in then}, (2, 3))
        with tables_are(TODAY):
            lake = Lake(root)

            def check() -> None:
                assert {name: in_order(lake.read(name).to_pylist()) for name in then} == rows
                for name, columns in lacks.items():
                    read = lake.read(name, columns=["run_id", *columns]).to_pylist()
                    assert in_order(read) == [{column: row[column] for column in read[0]} for row in rows[name]]

            check()
            assert verify(lake).findings == ()
            for name, same in older.items():
                assert lake.transact(partial(Transaction.upsert, name=name, rows=same), run_id="r") is None
            bulky = {name for name in then if TODAY[name].bulky}
            if compacted:
                assert set(compact(lake, fewest=2)) - {"runs"} == set(then) - bulky - {"runs"}
                check()
            assert set(migrate(lake).rewritten) - {"runs"} == (bulky if compacted else set(then)) - {"runs"}
            check()
            assert not any(is_older(TODAY[file.table], lake.content(file)) for file in lake.state().files.values())
            before = snapshot(root)
            assert migrate(lake).rewritten == {}
            assert snapshot(root) == before


def older_and_newer(lake: Lake, then: Table, today: Table) -> Any:
    """Rows 0 and 1 in a file of then, 2 in a file of today; tables are today's from here on."""
    write(lake.root, {then.name: then}, (0, 1), number=1)
    write(lake.root, {today.name: today}, (2,))
    return tables_are({today.name: today})


def test_a_column_that_may_not_be_null_is_made_of_what_older_rows_have(lake: Lake) -> None:
    then = gaining(lacking(TABLES["labels"], ["source_id"]), Column("name", TEXT, "the source's"))
    renamed = Column("source_id", TEXT, "its new name", before=lambda old: old["name"])
    counted = Column("letters", pa.int32(), "of it and its cohort", before=letters)
    constant = Column("country", TEXT, "may be null", True, lambda old: pa.array(["?"] * old.num_rows))
    today = gaining(lacking(TABLES["labels"], ["source_id"]), renamed, counted, constant)
    columns = ["scan_id", "source_id", "letters", "country"]
    with older_and_newer(lake, then, today):
        made = {"letters": 8 + len("all"), "country": "?"}
        expected = [{"scan_id": text, "source_id": text} | made for text in ('{"é": 0}', '{"é": 1}')]
        expected.append({name: row(today, 2)[name] for name in columns})
        for rewrite in (lambda: None, lambda: migrate(lake)):
            rewrite()
            assert sorted(lake.read("labels", columns=columns).to_pylist(), key=str) == expected
            assert lake.read("labels", where={"letters": 2}, columns=["scan_id"]).to_pylist() == [
                {"scan_id": '{"é": 2}'}
            ]


def letters(old: pa.Table) -> pa.Array:
    return pc.add(pc.utf8_length(old["name"]), pc.utf8_length(old["cohort"]))


@pytest.mark.parametrize("gone", [[], [Column("gone", TEXT, "nobody needs it")]])
def test_types_widen_and_columns_go(lake: Lake, gone: list[Column]) -> None:
    then = gaining(TABLES["labels"], Column("counted", pa.int32(), "narrow"), *gone)
    today = gaining(TABLES["labels"], Column("counted", pa.int64(), "wide"))
    with older_and_newer(lake, then, today):
        large = {**row(today, 3), "counted": 2**40}
        lake.transact(lambda tx: tx.append("labels", [large]), run_id="r")
        for rewritten in (1, 0):
            assert sorted(lake.read("labels")["counted"].to_pylist()) == [0, 1, 2, 2**40]
            assert migrate(lake).rewritten.get("labels", 0) == rewritten


@pytest.mark.parametrize(
    ("then", "today", "fault"),
    [
        ([], [Column("needed", TEXT, "of each row")], "lack column 'needed', of which table labels now needs a value"),
        ([Column("n", TEXT, "a word")], [Column("n", pa.int32(), "a number")], "do not fit table labels"),
        ([], [Column("b", TEXT, "was a once", before=lambda old: old["a"])], 'do not fit table labels .*"a"'),
    ],
)
def test_a_file_that_nothing_is_known_to_do_with_is_named_and_left_alone(
    lake: Lake, then: list[Column], today: list[Column], fault: str
) -> None:
    with older_and_newer(lake, gaining(TABLES["labels"], *then), gaining(TABLES["labels"], *today)):
        before = snapshot(lake.root)
        (path,) = {file.path for file in lake.state().files.values()} - {new_file(lake)}
        for use in (lambda: lake.read("labels"), lambda: compact(lake, fewest=2), lambda: migrate(lake)):
            with pytest.raises(OlderLake, match=f"older gliolake wrote {path}: its rows {fault}") as caught:
                use()
            assert "table runs" in caught.value.hint
        assert verify(lake).findings == ()  # the bytes are as committed
        assert snapshot(lake.root) == before


def new_file(lake: Lake) -> str:
    """The file of the second commit."""
    record = log.read_record(lake.files, 2)
    assert record is not None
    return record.added[0].path


def test_a_migration_that_is_broken_off_goes_on_and_rewrites_nothing_twice(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lake.migrate.BATCH", 2)
    for number in range(5):
        write(lake.root, {"labels": TABLES["labels"]}, [number], number=1)
    with tables_are({"labels": TODAY["labels"]}):
        expected = in_order(lake.read("labels").to_pylist())
        commits = iter([True, True])
        commit = log.write_record

        def break_off(*given: Any) -> bool:
            if next(commits, None) is None:
                raise KeyboardInterrupt
            return commit(*given)

        with monkeypatch.context() as broken:
            broken.setattr(log, "write_record", break_off)
            with pytest.raises(KeyboardInterrupt):
                migrate(lake)
        lake = Lake(lake.root)
        assert in_order(lake.read("labels").to_pylist()) == expected
        assert migrate(lake).rewritten == {"labels": 1}
        assert in_order(lake.read("labels").to_pylist()) == expected


DOORS: dict[str, Callable[[Lake], object]] = {
    "open": lambda lake: Lake(lake.root),
    "begin": lambda lake: Lake(lake.root, create=True),
    "read": lambda lake: lake.read("labels"),
    "write": lambda lake: lake.transact(lambda tx: tx.append("labels", [row(TABLES["labels"], 9)]), run_id="r"),
    "verify": lambda lake: verify(lake, repair=True, grace=0),
    "compact": lambda lake: compact(lake, fewest=2),
    "migrate": migrate,
}


@pytest.mark.parametrize(("door", "commits"), [*((door, 1) for door in DOORS), ("open", log.CHECKPOINT_EVERY)])
def test_a_lake_that_a_newer_gliolake_wrote_to_is_refused_at_every_door_and_left_alone(
    lake: Lake, door: str, commits: int
) -> None:
    write(lake.root, {"labels": TABLES["labels"]}, (0,))
    assert lake.version == 1  # opened before the newer one came
    with tables_are({"labels": TODAY["labels"]}, number=log.FORMAT + 1):
        newer = Lake(lake.root)
        for number in range(1, commits + 1):
            newer.transact(partial(Transaction.append, name="labels", rows=[row(TODAY["labels"], number)]), run_id="r")
    before = snapshot(lake.root)
    with pytest.raises(NewerLake, match=f"{lake.root} .* format {log.FORMAT + 1}; .* {log.FORMAT}") as caught:
        DOORS[door](lake)
    assert "Update gliolake" in caught.value.hint
    assert snapshot(lake.root) == before


def test_a_commit_that_a_newer_gliolake_came_before_is_not_made(lake: Lake) -> None:
    def overtaken(transaction: Transaction) -> None:
        transaction.append("labels", [row(TABLES["labels"], 0)])
        write(lake.root, {"links": TODAY["links"]}, [1], number=log.FORMAT + 1)

    with pytest.raises(NewerLake):
        lake.transact(overtaken, run_id="r")
    with tables_are(TODAY, number=log.FORMAT + 1):
        newer = Lake(lake.root)
        assert (newer.version, {file.table for file in newer.state().files.values()}) == (1, {"links"})
