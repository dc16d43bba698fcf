"""The data dictionary: current, complete, and in every DuckDB client."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from gliolake.schema.registry import TABLES
from gliolake.sql.catalog import connect, write_catalog
from gliolake.sql.definitions import parse
from gliolake.sql.dictionary import DOCUMENT, REMAKE, Relation, dictionary, markdown
from gliolake.storage.lake import Lake


@pytest.fixture(scope="module")
def relations() -> dict[str, Relation]:
    return dictionary()


def test_the_document_is_current(relations: dict[str, Relation]) -> None:
    document = Path(__file__).parents[2] / DOCUMENT
    if document.read_text("utf-8") != markdown(relations.values()):
        pytest.fail(f"{DOCUMENT} is not current. Run: {REMAKE}")


def test_every_relation_and_every_column_is_described(relations: dict[str, Relation]) -> None:
    silent = [each.name for each in relations.values() if not each.doc]
    assert not silent, "write a comment (-- One row per …) directly above the CREATE of these"
    silent = [f"{each.name}.{column.name}" for each in relations.values() for column in each.columns if not column.doc]
    assert not silent, "describe these at the end of the comment above their view, as sql/definitions.py says"


def test_types_are_the_catalogs_and_descriptions_follow_a_column_through_views(relations: dict[str, Relation]) -> None:
    assert set(relations) >= set(TABLES)
    features = {column.name: column for column in relations["features"].columns}
    assert features["values"].type == "FLOAT[400]"
    training = {column.name: column for column in relations["training"].columns}
    age = next(column for column in TABLES["labels"].columns if column.name == "age")
    assert (training["age"].type, training["age"].doc) == ("DOUBLE", age.doc)
    step = {column.name: column for column in relations["flowchart"].columns}["step"]
    assert step.doc != next(column.doc for column in TABLES["exclusions"].columns if column.name == "step")


def test_a_comment_above_a_definition_describes_it_and_its_own_columns() -> None:
    (table, view) = parse(
        "-- About the file.\n\n"
        "-- One row per a: it's\n-- told.\n--   b: what b is,\n--     at length\n--   c: and c: this\n"
        "CREATE TABLE first AS\nSELECT a, (SELECT 1 FROM z ORDER BY 1) AS b FROM x JOIN y USING (a);\n\n"
        "CREATE VIEW second AS SELECT * FROM first -- ORDER BY nothing\nWHERE b = 'FROM w' ORDER BY a;\n"
    )
    assert (table.kind, table.name, table.doc) == ("TABLE", "first", "One row per a: it's told.")
    assert table.columns == {"b": "what b is, at length", "c": "and c: this"}
    assert table.reads == ("z", "x", "y")
    assert not table.ordered
    assert (view.doc, view.reads, view.ordered) == ("", ("first",), True)


def test_a_client_is_told_what_each_relation_is(lake: Lake, relations: dict[str, Relation], tmp_path: Path) -> None:
    asked = (
        "SELECT view_name, comment FROM duckdb_views() WHERE NOT internal "
        "UNION ALL SELECT table_name, comment FROM duckdb_tables()"
    )
    expected = {name: relation.doc for name, relation in relations.items() if name != "voxels"}
    with connect(lake) as connection:
        assert dict(connection.sql(asked).fetchall()) == expected
    write_catalog(lake, tmp_path / "lake.duckdb")
    with duckdb.connect(str(tmp_path / "lake.duckdb"), read_only=True) as connection:
        assert dict(connection.sql(asked).fetchall()) == expected
