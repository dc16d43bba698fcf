"""`gliolake audit --phi`: searches every text of a lake for information that may identify a patient.

Texts of all committed tables are searched with ``gliolake.sql.phi.patterns``, and the headers of stored volumes are
compared with the few words that gliolake writes into them. No finding shows its value: an audit that spread what it
found would be worse than none.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gliolake.log.progress import track
from gliolake.schema.registry import TABLES
from gliolake.sql.phi.patterns import HOST, TEXT, kinds_in, shape_in
from gliolake.storage.lake import Lake
from gliolake.text_shape import shape_of

OWN = {
    "run_id": re.compile(r"\d{8}T\d{6}-[a-z-]+-[0-9a-f]{8}"),
    "host": re.compile(r"[\w.+-]+, Python \d[\w.+]*, \d+ cores"),
}
"""Columns that gliolake alone fills, and how: the date is a run's, and the machine has no name."""

NAMES = {"scans": ("source_id", "scan_id"), "labels": ("source_id",), "exclusions": ("scan_id",)}
"""By table, the columns that name scans as their folders or files do."""

MOST_SHAPES, FEWER = 12, 6
"""Shapes of names that are listed for a column; of more, so many of the most frequent and of the rarest."""

HEADER_TEXTS = ("descrip", "aux_file", "intent_name", "db_name", "data_type")
HEADER_WORDS = {"", "gliolake synthetic"}
"""What the texts of a kept volume's header may say."""

_VOXELS_AT = 352
"""The byte of a kept volume at which its voxels begin, right behind the header: nothing lies between."""


@dataclass(frozen=True)
class Identity:
    """Something found: where, of what kind, in how many rows, and its shape (``gliolake.text_shape.shape_of``)."""

    table: str
    column: str
    kind: str
    rows: int
    shape: str


@dataclass(frozen=True)
class Naming:
    """A way in which scans of a cohort are named in a table: the shape of the names, and how many have it."""

    cohort: str
    table: str
    column: str
    shape: str
    names: int


@dataclass(frozen=True)
class AuditReport:
    """What was looked through, what was found, and the shapes of names, which only a person can judge."""

    tables: int
    rows: int
    volumes: int
    findings: tuple[Identity, ...]
    namings: tuple[Naming, ...]


def audit(lake: Lake) -> AuditReport:
    """Look through a lake. Nothing is written.

    Raises:
        DamagedFile: a committed file is missing or holds other bytes.
    """
    state = lake.state()
    names = [name for name in TABLES if state.of_table(name)]
    packed = state.of_table("voxels")
    counts: Counter[tuple[str, str, str]] = Counter()
    shapes: dict[tuple[str, str, str], str] = {}
    rows = 0

    def note(table: str, column: str, kind: str, text: str, times: int) -> None:
        counts[table, column, kind] += times
        shape = shape_in(text, kind)
        shapes[table, column, kind] = min(shape, shapes.get((table, column, kind), shape))

    with track("auditing", total=len(names) + len(packed)) as advance:
        for name in names:
            columns = [field.name for field in TABLES[name].schema if _holds_text(field.type)]
            read = lake.data.read_files(TABLES[name], state.of_table(name), columns=columns)
            rows += read.num_rows
            for column in columns:
                for text, times in _texts(read.column(column)):
                    for kind in _kinds(column, text):
                        note(name, column, kind, text, times)
            advance()
        for file in packed:
            for nifti in lake.data.load(file, ["nifti"]).column("nifti"):
                for place, kind, text in _of_header(nifti.as_buffer()):
                    note("voxels", f"nifti.{place}", kind, text, 1)
            advance()
    findings = (Identity(*place, count, shapes[place]) for place, count in sorted(counts.items()))
    return AuditReport(
        tables=len(names), rows=rows, volumes=sum(file.rows for file in packed), findings=tuple(findings),
        namings=tuple(_namings(lake)),
    )  # fmt: skip


def _namings(lake: Lake) -> Iterator[Naming]:
    """How scans are named, by cohort, table and column; of many shapes the most frequent and the rarest."""
    for name, columns in NAMES.items():
        rows = lake.read(name, columns=["cohort", *columns]).to_pylist()
        for column in columns:
            found: dict[str, Counter[str]] = defaultdict(Counter)
            for cohort, text in {(row["cohort"], row[column]) for row in rows if row[column]}:
                found[cohort][shape_of(text)] += 1
            for cohort, shapes in sorted(found.items()):
                listed = shapes.most_common()
                for shape, count in listed if len(listed) <= MOST_SHAPES else listed[:FEWER] + listed[-FEWER:]:
                    yield Naming(cohort, name, column, shape, count)


def _holds_text(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind):
        return _holds_text(kind.value_type)
    if pa.types.is_struct(kind):
        return any(_holds_text(field.type) for field in kind)
    return bool(pa.types.is_string(kind))


def _texts(column: pa.ChunkedArray) -> Iterator[tuple[str, int]]:
    """The different texts of a column, and in how many rows each stands."""
    if pa.types.is_string(column.type):
        found = pc.value_counts(column.drop_null())
        yield from zip(found.field(0).to_pylist(), found.field(1).to_pylist(), strict=True)
        return
    counts: Counter[str] = Counter()
    for value in column.to_pylist():
        counts.update(set(_within(value)))
    yield from counts.items()


def _within(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _within(part)


def _kinds(column: str, text: str) -> tuple[str, ...]:
    own = OWN.get(column)
    if own and own.fullmatch(text):
        return ()
    return kinds_in(text) or ((HOST,) if column == "host" else ())


def _of_header(nifti: pa.Buffer) -> Iterator[tuple[str, str, str]]:
    """What the header of a kept volume holds beyond what gliolake writes: the place, the kind and the text."""
    import nibabel as nib

    header = nib.Nifti1Header(bytes(nifti[: nib.Nifti1Header.sizeof_hdr]), check=False)
    for place in HEADER_TEXTS:
        text = bytes(header[place].item()).rstrip(b"\0").decode("latin-1")
        if text not in HEADER_WORDS:
            for kind in kinds_in(text) or (TEXT,):
                yield place, kind, text
    between = bytes(nifti[nib.Nifti1Header.sizeof_hdr : int(header["vox_offset"])])
    if between != bytes(_VOXELS_AT - nib.Nifti1Header.sizeof_hdr):
        text = between.decode("latin-1")
        for kind in kinds_in(text) or (TEXT,):
            yield "extensions", kind, text
