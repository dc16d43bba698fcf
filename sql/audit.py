"""`gliolake audit --phi`: every text that a lake holds, looked through for what may tell who a patient is.

Texts of all committed tables are held against ``ingest.identity``, and the headers of kept volumes against the few
words that gliolake writes into them. No finding shows its value: an audit that spread what it found would be worse
than none.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from ingest.identity import HOST, TEXT, kinds_in, shape_of
from lake.progress import track
from lake.store import Lake
from lake.tables import TABLES

OWN = {
    "run_id": re.compile(r"\d{8}T\d{6}-[a-z-]+-[0-9a-f]{8}"),
    "host": re.compile(r"[\w.+-]+, Python \d[\w.+]*, \d+ cores"),
}
"""Columns that gliolake alone fills, and how: the date is a run's, and the machine has no name."""

HEADER_TEXTS = ("descrip", "aux_file", "intent_name", "db_name", "data_type")
HEADER_WORDS = {"", "gliolake synthetic"}
"""What the texts of a kept volume's header may say."""

_VOXELS_AT = 352
"""The byte of a kept volume at which its voxels begin, right behind the header: nothing lies between."""


@dataclass(frozen=True)
class Identity:
    """Something found: where, of what kind, in how many rows, and its shape (``ingest.identity.shape_of``)."""

    table: str
    column: str
    kind: str
    rows: int
    shape: str


@dataclass(frozen=True)
class AuditReport:
    """What was looked through and what was found."""

    tables: int
    rows: int
    volumes: int
    findings: tuple[Identity, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """For people: what was looked through, and a line for each finding."""
        yield f"{self.rows:,} rows of {self.tables} tables and {self.volumes:,} headers of kept volumes looked through."
        if self.clean:
            yield "Nothing has the form of a date, name, UID, number, address, user's path or host name."
            return
        table = Table("table", "column", "what", "rows", "its shape", box=None)
        for found in self.findings:
            table.add_row(*map(Text, (found.table, found.column, found.kind, f"{found.rows:,}", found.shape)))
        yield table
        yield "Mend the source (rename the folder, clear the column or the header), and ingest it into a new lake:"
        yield "in this one, former commits and replaced files stay until gliolake verify --repair and gliolake purge."

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "clean": self.clean}


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
        shape = shape_of(text, kind)
        shapes[table, column, kind] = min(shape, shapes.get((table, column, kind), shape))

    with track("auditing", total=len(names) + len(packed)) as advance:
        for name in names:
            columns = [field.name for field in TABLES[name].schema if _holds_text(field.type)]
            read = lake.read_files(TABLES[name], state.of_table(name), columns=columns)
            rows += read.num_rows
            for column in columns:
                for text, times in _texts(read.column(column)):
                    for kind in _kinds(column, text):
                        note(name, column, kind, text, times)
            advance()
        for file in packed:
            for nifti in lake.load(file, ["nifti"]).column("nifti"):
                for place, kind, text in _of_header(nifti.as_buffer()):
                    note("voxels", f"nifti.{place}", kind, text, 1)
            advance()
    findings = (Identity(*place, count, shapes[place]) for place, count in sorted(counts.items()))
    return AuditReport(len(names), rows, sum(file.rows for file in packed), tuple(findings))


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
