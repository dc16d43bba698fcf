"""The kept catalog: it answers as one made anew would, or is not used."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import gliolake
from lake.errors import DamagedFile, InputError, ReadOnlyLake, StorageFull
from lake.files import CATALOG, LocalFiles
from lake.store import Lake
from lake.tables import TABLES
from lake.transaction import Transaction
from lake.verify import verify
from sql import catalog, kept_catalog
from sql.catalog import computed_from, connect, relations
from sql.committed_files import CommittedFiles
from sql.query import query
from tests.old_lakes import row

SHOWN = sorted(name for name, table in TABLES.items() if not table.bulky)


@pytest.fixture
def asked(answering: Lake, tmp_path: Path) -> Lake:
    """A lake of which a connection was opened."""
    shutil.copytree(answering.root, tmp_path / "lake")
    lake = Lake(tmp_path / "lake")
    connect(lake).close()
    return lake


def kept(lake: Lake) -> list[Path]:
    return sorted(Path(lake.root, CATALOG).iterdir())


def answers(connection: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    with connection:
        return {name: sorted(map(str, connection.sql(f'FROM "{name}"').fetchall())) for name in relations(connection)}


def made_anew(lake: Lake) -> dict[str, list[str]]:
    """What a connection answers that finds nothing kept, and keeps nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept_catalog, "find", lambda *_: None)
        patch.setattr(kept_catalog, "keep", lambda *_: None)
        return answers(connect(lake))


@pytest.fixture(scope="module")
def expected(answering: Lake) -> dict[str, list[str]]:
    """What the lake that tests copy answers."""
    return made_anew(Lake(answering.root))


def refuse(*_: object) -> None:
    raise AssertionError("the catalog was made anew")


def test_a_second_connection_computes_nothing_and_answers_the_same(
    asked: Lake, expected: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert all(expected[name] for name in ("training", "external", "leaks_avoided", "label_conflicts"))
    monkeypatch.setattr(catalog, "_make", refuse)
    assert answers(connect(Lake(asked.root))) == expected


@given(st.lists(st.tuples(st.sampled_from(SHOWN), st.integers(0, 3), st.booleans()), min_size=1, max_size=4))
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_committed_a_connection_answers_as_one_made_anew(
    asked: Lake, changes: list[tuple[str, int, bool]]
) -> None:
    for name, number, goes in changes:
        table = TABLES[name]
        if goes and (files := asked.state().of_table(name)):
            asked.transact(partial(Transaction.remove_file, file=files[number % len(files)]), run_id="r")
        else:
            asked.transact(partial(Transaction.upsert, name=name, rows=[row(table, number)]), run_id="r")
        with connect(asked) as connection:  # each state leaves a catalog that the next might take for its own
            assert connection.table(name).to_arrow_table().num_rows == asked.read(name).num_rows
    assert answers(connect(asked)) == made_anew(asked)


def test_a_catalog_is_made_anew_when_a_table_that_it_is_computed_from_changes_and_only_then(asked: Lake) -> None:
    assert {"cohorts", "labels", "links", "scans", "exclusions"} == computed_from()
    (before,) = kept(asked)
    for name in set(SHOWN) - computed_from():
        asked.transact(partial(Transaction.upsert, name=name, rows=[row(TABLES[name], 1)]), run_id="r")
    connect(asked).close()
    assert kept(asked) == [before]
    for name in computed_from():
        asked.transact(partial(Transaction.upsert, name=name, rows=[row(TABLES[name], 1)]), run_id="r")
        connect(asked).close()
        (after,) = kept(asked)
        assert after != before, name
        before = after


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1000])


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def altered(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def of_another_size(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[39] = 0x7F  # the highest byte of the number that says how much it unpacks to
    file.write_bytes(data)


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def of_no_catalog(file: Path) -> None:
    packed = (1000).to_bytes(8, "little") + pa.compress(bytes(1000), codec="zstd", asbytes=True)
    file.write_bytes(hashlib.sha256(packed).digest() + packed)


def of_nothing_packed(file: Path) -> None:
    packed = (1000).to_bytes(8, "little") + bytes(500)
    file.write_bytes(hashlib.sha256(packed).digest() + packed)


@pytest.mark.parametrize(
    "harm", [truncated, emptied, altered, of_another_size, a_folder, of_no_catalog, of_nothing_packed]
)
def test_a_kept_catalog_that_was_damaged_is_as_none(
    asked: Lake, expected: dict[str, list[str]], harm: Callable[[Path], None]
) -> None:
    (file,) = kept(asked)
    harm(file)
    assert answers(connect(Lake(asked.root))) == expected
    if harm is not a_folder:
        assert kept_catalog.find(asked.files, file.name.split(".")[0]), "the next one finds a whole one"


@pytest.mark.parametrize("error", [StorageFull("full"), ReadOnlyLake("read-only"), PermissionError("not yours")])
def test_who_cannot_write_to_the_lake_asks_it_all_the_same(
    answering: Lake,
    expected: dict[str, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    shutil.copytree(answering.root, tmp_path / "lake", ignore=shutil.ignore_patterns(CATALOG))
    lake = Lake(tmp_path / "lake")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(LocalFiles, "put", fail)
    assert answers(connect(lake)) == expected
    assert not Path(lake.root, CATALOG).exists()


def test_a_kept_catalog_that_would_unpack_to_a_great_deal_is_not_unpacked(asked: Lake) -> None:
    key = kept(asked)[0].name.split(".")[0]
    kept_catalog.keep(asked.files, key, bytes(1 << 27))
    assert kept(asked)[0].stat().st_size < 1 << 15
    assert kept_catalog.find(asked.files, key) is None


def test_a_catalog_that_another_version_kept_is_not_used(asked: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duckdb, "__version__", "0.0.1")
    connect(asked).close()
    (other,) = kept(asked)
    monkeypatch.undo()
    connect(asked).close()
    assert kept(asked) != [other]


def test_a_damaged_table_is_named_by_a_query_that_reads_it_whatever_is_kept(asked: Lake) -> None:
    (file, *_) = asked.state().of_table("labels")
    Path(asked.root, file.path).write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(DamagedFile, match=Path(file.path).name):
        query(Lake(asked.root), "FROM labels")


@pytest.mark.parametrize(
    "forgery",
    [
        "UPDATE mgmt SET methylated = NOT methylated WHERE patient_id = 'brats21/brats21-03'",
        "CREATE OR REPLACE VIEW external_strict AS FROM external",
    ],
)
def test_a_forged_catalog_is_found_by_verify_and_deleted_by_a_repair(asked: Lake, tmp_path: Path, forgery: str) -> None:
    expected = made_anew(asked)
    key = kept(asked)[0].name.split(".")[0]
    copy = tmp_path / "forged.duckdb"
    copy.write_bytes(kept_catalog.find(asked.files, key) or b"")
    with duckdb.connect(str(copy)) as writer:
        writer.register_filesystem(CommittedFiles(asked, asked.state()))
        writer.execute(forgery)
    kept_catalog.keep(asked.files, key, copy.read_bytes())
    assert gliolake_verify(asked.root)[0] == 1
    code, said = gliolake_verify(asked.root, "--repair")
    assert (code, said.count("wrong catalog")) == (0, 1)
    assert gliolake_verify(asked.root)[0] == 0
    assert answers(connect(asked)) == expected


def gliolake_verify(root: str, *options: str) -> tuple[int, str]:
    ended = CliRunner().invoke(gliolake.app, ["verify", "--lake", root, *options])
    return ended.exit_code, ended.output


def test_a_repair_deletes_what_is_kept_and_otherwise_it_is_no_finding_to_speak_of(
    asked: Lake, expected: dict[str, list[str]]
) -> None:
    assert verify(asked).sound
    verify(asked, repair=True)
    assert kept(asked) == []
    assert answers(connect(asked)) == expected


def test_a_query_cannot_read_the_kept_catalog_itself(asked: Lake) -> None:
    (file,) = kept(asked)
    for path in (f"lake://{CATALOG}/{file.name}", f"lake://{CATALOG}/*"):
        assert query(asked, f"FROM read_blob('{path}')").num_rows == 0
    with pytest.raises(InputError, match="Permission"):
        query(asked, f"FROM read_blob('{file}')")


def test_a_catalog_is_kept_in_an_object_store_too(root: str, answering: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake(root, create=True)
    rows = {name: answering.read(name) for name in computed_from()}
    for name, content in rows.items():
        lake.transact(partial(Transaction.append, name=name, rows=content), run_id="r")
    expected = answers(connect(lake))
    monkeypatch.setattr(catalog, "_make", refuse)
    assert answers(connect(Lake(root))) == expected
    assert len(list(lake.files.list(CATALOG))) == 1
