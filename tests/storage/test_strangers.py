"""A lake of a stranger, whose records and data files say whatever somebody wanted them to say."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gliolake import limits
from gliolake.errors import DamagedFile, GliolakeError
from gliolake.maintenance.verify import verify
from gliolake.schema.registry import TABLES
from gliolake.sql.catalog import connect, damage_named
from gliolake.storage import commit_log as log
from gliolake.storage.lake import Lake
from gliolake.storage.layout import data_path
from gliolake.storage.log_entries import encode
from gliolake.storage.parquet import check_parquet, write_parquet
from gliolake.storage.snapshot import Commit, DataFile
from tests.support.rows import label, row

LABELS = TABLES["labels"]
CHANGES = TABLES["links"]


def forge(lake: Lake, data: bytes, **said: Any) -> DataFile:
    """Commit a data file of table labels with a record that is right but for what it is said to say."""
    digest = hashlib.sha256(data).hexdigest()
    partition = {"cohort": "brats21"}
    path = data_path(LABELS, partition, digest)
    keys = {"first": ("brats21", "made", "scan-0000"), "last": ("brats21", "made", "scan-0019")}
    keys = {name: key_like(key) for name, key in keys.items()}
    file = DataFile("labels", path, partition, **{"rows": 20, "bytes": len(data), "sha256": digest, **keys, **said})
    lake.files.put(path, data)
    assert log.write_commit(lake.files, Commit(lake.version + 1, "r", "2026-01-01T00:00:00", (file,), ()))
    return file


def key_like(values: tuple[str, str, str]) -> tuple[str, ...]:
    named = dict(zip(("cohort", "source", "scan_id"), values, strict=True))
    return tuple(named[column] for column in LABELS.key)


def labels(numbers: range | list[int]) -> pa.Table:
    rows = [{"run_id": "r", **label(number)} for number in numbers]
    return pa.Table.from_pylist(rows, schema=LABELS.schema).select(LABELS.file_schema.names)


def sound(rows: pa.Table) -> bytes:
    return write_parquet(rows.cast(LABELS.file_schema))


CONTRADICTIONS: dict[str, Callable[[], tuple[bytes, dict[str, Any]]]] = {
    "every row twice": lambda: (sound(labels([n for n in range(20) for _ in (1, 2)])), {}),
    "every row twice, and so says the record": lambda: (sound(labels([*range(20), *range(20)])), {"rows": 40}),
    "a row twice for one that is not there": lambda: (sound(labels([*range(18), 17, 19])), {}),
    "no rows": lambda: (sound(labels([])), {}),
    "fewer rows": lambda: (sound(labels([0, 19])), {}),
    "unsorted": lambda: (sound(labels([0, *range(18, 0, -1), 19])), {}),
    "another first key": lambda: (sound(labels(range(1, 20))), {"rows": 19}),
    "another last key": lambda: (sound(labels([*range(19), 25])), {}),
    "a column less": lambda: (write_parquet(labels(range(20)).drop_columns(["age"])), {}),
    "a column more": lambda: (write_parquet(labels(range(20)).append_column("x", pa.array(range(20)))), {}),
    "another type": lambda: (
        write_parquet(labels(range(20)).set_column(0, "scan_id", pa.array(range(20), pa.int64()))), {},
    ),
    "the partition column too": lambda: (
        write_parquet(labels(range(20)).append_column("cohort", pa.array(["other"] * 20))), {},
    ),
    "no Parquet": lambda: (b"PAR1" + b"of mine" * 100 + b"PAR1", {}),
    "nothing of Parquet": lambda: (b"id,label\n1,2\n", {}),
    "half a Parquet file": lambda: (sound(labels(range(20)))[:-40], {}),
    "rows of another table": lambda: (
        write_parquet(
            pa.Table.from_pylist([row(CHANGES, n) for n in range(20)], CHANGES.schema).select(CHANGES.file_schema.names)
        ), {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("contradiction", CONTRADICTIONS)
def test_a_file_that_contradicts_its_record_is_named_refused_and_taken_out(lake: Lake, contradiction: str) -> None:
    lake.transact(lambda tx: tx.append("labels", [label(1, cohort="ucsf_pdgm")]), run_id="r")
    data, said = CONTRADICTIONS[contradiction]()
    file = forge(lake, data, **said)
    found = verify(lake.root)
    assert [(finding.path, finding.kind) for finding in found.findings] == [(file.path, "contradictory file")]
    assert not found.sound
    assert verify(lake.root, repair=True).sound
    assert {one["cohort"] for one in Lake(lake.root).read("labels").to_pylist()} == {"ucsf_pdgm"}
    assert lake.files.size(f"_quarantine/{file.path}") == len(data)
    assert {finding.kind for finding in verify(lake.root).findings} == {"replaced file"}  # of table runs


def test_a_file_as_gliolake_writes_it_contradicts_nothing_in_any_table(lake: Lake) -> None:
    for name, table in TABLES.items():
        rows = [row(table, number) for number in range(3)]
        lake.transact(lambda tx, name=name, rows=rows: tx.append(name, rows), run_id="r")  # type: ignore[misc]
    assert verify(lake).findings == ()
    con = connect(lake)
    for name, table in TABLES.items():
        assert lake.read(name).num_rows == 3
        assert table.bulky or con.table(name).shape[0] == 3


def bomb_of_a_dictionary() -> tuple[bytes, int]:
    """Millions of rows that are the same text: a dictionary of a page, and a few runs."""
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 4_000_000, pa.int32()), ["x" * 100_000])
    return written(labels_like(texts.slice(0, 4_000_000)), use_dictionary=True), 4_000_000


def bomb_of_nulls() -> tuple[bytes, int]:
    return written(pa.table({"age": pa.nulls(40_000_000, pa.float64())})), 40_000_000


def bomb_of_a_text() -> tuple[bytes, int]:
    """A label with the columns that it should have, and in one of them 300 MiB of blanks."""
    rows = labels([0])
    place = rows.schema.names.index("diagnosis")
    return written(rows.set_column(place, rows.schema.field(place), pa.array([" " * (300 << 20)]))), 1


def bomb_of_many_pages() -> tuple[bytes, int]:
    return written(pa.table({"detail": pa.array([bytes(1 << 20)] * 400, pa.binary())}), row_group_size=1), 400


def bomb_of_a_list() -> tuple[bytes, int]:
    values = pa.ListArray.from_arrays([0, 50_000_000], pa.nulls(50_000_000, pa.int32()))
    return written(pa.table({"files": values})), 1


def bomb_of_empty_lists() -> tuple[bytes, int]:
    inner = pa.ListArray.from_arrays(pa.array([0] * 40_000_001, pa.int32()), pa.nulls(0, pa.int32()))
    return written(pa.table({"files": pa.ListArray.from_arrays([0, 40_000_000], inner)})), 1


def page_that_says_two_gigabytes() -> tuple[bytes, int]:
    """A page's header that contradicts the footer: what it says it unpacks to is what readers allocate."""
    size = 140 << 20
    schema = pa.schema([pa.field("detail", pa.binary(), nullable=False)])
    data = written(pa.table([pa.array([bytes(size)], pa.binary())], schema=schema), data_page_size=1 << 30)
    true, lie = varint(2 * (size + 4)), varint(2 * (2**31 - 1))
    place = data.index(true, 0, 200)
    assert len(true) == len(lie)
    return data[:place] + lie + data[place + len(true) :], 1


def footer_of_a_thousand_levels() -> tuple[bytes, int]:
    """Columns within columns, as deep as a reader's stack and deeper."""
    level = b"\x48\x01a\x15\x02\x00"  # name "a", one child
    root = b"\x15\x02" + b"\x19\xfc" + varint(150_000) + level * 150_000
    return b"PAR1" + root + len(root).to_bytes(4, "little") + b"PAR1", 1


def footer_of_too_many_bytes() -> tuple[bytes, int]:
    table = pa.table({"a": [1]}).replace_schema_metadata({"x": "y" * (2 << 20)})
    return written(table), 1


def rows_that_say_more() -> tuple[bytes, int]:
    """100,000,000 rows in a few bytes, and the record says 1."""
    return written(pa.table({"n": pa.array([7] * 10_000_000, pa.int64())}), use_dictionary=True), 1


BOMBS = (
    bomb_of_nulls, bomb_of_a_text, bomb_of_many_pages, bomb_of_a_list, bomb_of_empty_lists,
    page_that_says_two_gigabytes, footer_of_a_thousand_levels, footer_of_too_many_bytes, rows_that_say_more,
    bomb_of_a_dictionary,
)  # fmt: skip


def written(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **{"compression": "zstd", "use_dictionary": False, **options})
    return bytes(sink.getvalue())


def labels_like(texts: pa.Array) -> pa.Table:
    return pa.table({"source": texts})


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


LIMITED = """
import json, resource, sys, time
resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
from gliolake.cli.app import main
from pathlib import Path

def run(lake, *arguments):
    sys.argv = ["gliolake", *arguments, "--lake", lake]
    begun = time.monotonic()
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0), time.monotonic() - begun
    return 0, time.monotonic() - begun

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for lake in sys.argv[2:]:
    ended = [run(lake, *each) for each in (("status",), ("sql", "FROM labels"), ("audit", "--phi"), ("verify",))]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Path(OUT).open("a") as out:
        out.write(json.dumps([lake, ended, peak - before]) + "\\n")
"""


@pytest.mark.long
def test_commands_on_a_strangers_lake_end_in_words_whatever_its_files_would_unpack_to(tmp_path: Path) -> None:
    lakes = []
    for bomb in (bomb_of_a_text, rows_that_say_more, footer_of_a_thousand_levels, page_that_says_two_gigabytes):
        lake = Lake(tmp_path / bomb.__name__, create=True)
        lake.transact(lambda tx: tx.append("labels", [label(1, cohort="ucsf_pdgm")]), run_id="r")
        data, rows = bomb()
        assert len(data) < 4 << 20, bomb.__name__
        forge(lake, data, rows=rows)
        lakes.append(lake.root)
    out = tmp_path / "out"
    script = LIMITED.replace("OUT", repr(str(out)))
    done = subprocess.run(
        [sys.executable, "-c", script, "", *lakes], capture_output=True, encoding="utf-8", timeout=400, check=False,
        env={**os.environ, "MALLOC_ARENA_MAX": "2"},
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr[-3000:]
    told = [json.loads(line) for line in out.read_text().splitlines()]
    assert [lake for lake, _, _ in told] == lakes, done.stderr[-3000:]
    for lake, ended, grown in told:
        assert [code for code, _ in ended] == [2, 2, 2, 1], lake
        assert max(seconds for _, seconds in ended) < 60
        assert grown < 1 << 20, "kilobytes"  # what libraries take, and no more


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: bomb.__name__)
def test_a_file_that_would_unpack_to_much_is_refused_before_a_row_of_it_is_read(bomb: Any) -> None:
    data, _ = bomb()
    with pytest.raises((pa.ArrowInvalid, OSError)):
        check_parquet(data)


SAID: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a path that leaves the lake": lambda file: file.update(path="../../.ssh/id_rsa"),
    "an absolute path": lambda file: file.update(path="/etc/passwd"),
    "a file of ours with another name": lambda file: file.update(path="labels/cohort=brats21/id_rsa"),
    "a path in another table's folder": lambda file: file.update(path=file["path"].replace("labels/", "volume_sets/")),
    "a path of another partition": lambda file: file.update(path=file["path"].replace("brats21", "ucsf_pdgm")),
    "a path that quotes otherwise": lambda file: file.update(path=file["path"].replace("brats21", "b%72ats21")),
    "a path in _quarantine": lambda file: file.update(path=f"_quarantine/{file['path']}"),
    "a path that says another sha256": lambda file: file.update(sha256="0" * 64),
    "no path but a list": lambda file: file.update(path=["labels"]),
    "a table that there is not": lambda file: file.update(table="secrets"),
    "a table of a list": lambda file: file.update(table=["labels"]),
    "a partition of another column": lambda file: file.update(partition={"scan_id": "brats21"}),
    "a partition that leads out": lambda file: file.update(partition={"cohort": "../.."}),
    "a partition of a number": lambda file: file.update(partition={"cohort": 1}),
    "a partition with half a letter": lambda file: file.update(partition={"cohort": "\ud800"}),
    "no rows": lambda file: file.update(rows=0),
    "fewer rows than none": lambda file: file.update(rows=-1),
    "rows without end": lambda file: file.update(rows=10**400),
    "rows that are true": lambda file: file.update(rows=True),
    "half a row": lambda file: file.update(rows=1.5),
    "rows that are no number": lambda file: file.update(rows=float("nan")),
    "a terabyte": lambda file: file.update(bytes=1 << 40),
    "a key of numbers": lambda file: file.update(first=[1, 2, 3]),
    "a key that is too short": lambda file: file.update(last=file["last"][:1]),
    "a last key before the first": lambda file: file.update(first=file["last"], last=["a"] * len(file["last"])),
    "keys of another partition": lambda file: [file["first"].__setitem__(0, "aaa"), file["last"].__setitem__(0, "zzz")],
    "a field more": lambda file: file.update(owner="somebody"),
}  # fmt: skip


@pytest.mark.parametrize("what", SAID)
@pytest.mark.parametrize("where", ["record", "checkpoint"])
def test_what_a_record_says_that_gliolake_would_not_write_makes_it_a_damaged_one(
    lake: Lake, what: str, where: str
) -> None:
    lake.transact(lambda tx: tx.append("labels", [label(1), label(2)]), run_id="r")
    log.write_checkpoint(lake.files, lake.state())
    path = log.record_path(1) if where == "record" else log.checkpoint_path(1)
    content = json.loads(lake.files.get(path) or b"")
    del content["sha256"]
    SAID[what](content["added" if where == "record" else "files"][0])
    lake.files.put(path, encode(content))
    if where == "record":
        with pytest.raises(DamagedFile, match="not a whole commit record"):
            log.read_commit(lake.files, 1)
    else:
        assert log.read_checkpoint(lake.files, path) is None
        assert Lake(lake.root).read("labels").num_rows == 2  # from the record


@pytest.mark.parametrize("depth", [10_000, 5_000_000])
def test_a_record_of_brackets_or_of_more_bytes_than_any_has_is_a_damaged_one(lake: Lake, depth: int) -> None:
    lake.files.put(log.record_path(1), b"[" * depth + b"]" * depth)
    with pytest.raises(DamagedFile, match="not a whole commit record"):
        Lake(lake.root)
    huge = Path(lake.root, log.record_path(1))
    with huge.open("r+b") as file:
        file.truncate(1 << 40)  # takes no room
    with pytest.raises(DamagedFile, match="are expected at most"):
        Lake(lake.root)


def test_a_data_file_with_more_bytes_than_its_record_says_is_not_read(lake: Lake) -> None:
    lake.transact(lambda tx: tx.append("labels", [label(1)]), run_id="r")
    (file,) = lake.state().of_table("labels")
    os.truncate(Path(lake.root, file.path), 1 << 40)
    with pytest.raises(DamagedFile, match="has more than the"):
        lake.read("labels")
    with pytest.raises(DamagedFile, match="has more than the"), damage_named():
        connect(lake).sql("FROM labels").fetchall()
    assert [finding.kind for finding in verify(lake).findings] == ["altered file"]
    assert verify(lake, repair=True).sound


def test_a_commit_that_nobody_would_read_is_not_made(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "COMMIT", 300)
    with pytest.raises(GliolakeError, match="is too large"):
        lake.transact(lambda tx: tx.append("labels", [label(1)]), run_id="r")
    assert Lake(lake.root, create=True).version == 0


def test_a_strangers_record_has_no_file_moved_that_a_folder_leads_to(lake: Lake, tmp_path: Path) -> None:
    lake.transact(lambda tx: tx.append("labels", [label(1)]), run_id="r")
    (file,) = lake.state().of_table("labels")
    mine = tmp_path / "mine" / "cohort=brats21"
    mine.mkdir(parents=True)
    (mine / Path(file.path).name).write_text("my key")
    Path(lake.root, "labels").rename(tmp_path / "theirs")
    Path(lake.root, "labels").symlink_to(tmp_path / "mine", target_is_directory=True)
    for repair in (False, True):
        with suppress(GliolakeError):
            assert not verify(lake.root, repair=repair, grace=-1).sound
    assert [path.read_text() for path in mine.iterdir()] == ["my key"]
    assert not Path(lake.root, "_quarantine").exists() or not [*Path(lake.root, "_quarantine").rglob("*.parquet")]
