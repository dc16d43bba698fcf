"""Lists of scans that a user gives, e.g. a paper's table of its external patients."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from gliolake.errors import InputError
from gliolake.ingest.cohorts.description import Cohort, load_cohort
from gliolake.ingest.readers.csv_file import CsvFile, read_csv
from gliolake.ingest.report import ListReport
from gliolake.runs import start_run
from gliolake.text_shape import shape_of

if TYPE_CHECKING:
    from gliolake.storage.lake import Lake


def ingest_list(lake: Lake, cohort: str | Path, name: str, file: str | Path) -> ListReport:
    """Bring a list into the table ``scan_lists``, in place of a former list of this name and cohort.

    The ids are taken from the column in which most entries are scan ids of the cohort, headed or not. A scan
    named twice is one row with two entries; entries that are no id of the cohort are reported and left out.

    Raises:
        InputError: the name is empty, the file cannot be read, or no column holds ids of the cohort.
    """
    described = load_cohort(cohort, lake)
    if not name.strip():
        raise InputError("The list has no name.", hint="Give it one, e.g. table_s2.")
    table = read_csv(Path(file))
    entries = _entries(described, table)
    parsed = [(line, entry, described.ids.parse(entry)) for line, entry in entries]
    counts = Counter(scan.scan_id for _, _, scan in parsed if scan)
    rows = [
        {"list": name, "cohort": described.name, "scan_id": scan_id, "entries": count, "source_sha256": table.sha256}
        for scan_id, count in sorted(counts.items())
    ]
    former = lake.read("scan_lists", {"list": name, "cohort": described.name}, ["source_sha256"])
    replaced = former.num_rows if {*former["source_sha256"].to_pylist()} - {table.sha256} else 0
    with start_run(lake, "ingest-list", {"cohort": str(cohort), "name": name, "file": str(file)}) as run:
        run.transact(lambda tx: tx.replace("scan_lists", {"list": name, "cohort": described.name}, rows))
    where = {"cohort": described.name}
    known = {row["scan_id"] for kind in ("scans", "labels") for row in lake.read(kind, where, ["scan_id"]).to_pylist()}
    return ListReport(
        name=name,
        cohort=described.name,
        entries=len(entries),
        scans=len(counts),
        repeated=tuple(scan_id for scan_id, count in sorted(counts.items()) if count > 1),
        unreadable=tuple(f"line {line} ({shape_of(entry)})" for line, entry, scan in parsed if scan is None),
        unknown=tuple(sorted(set(counts) - known)),
        replaced=replaced,
        notes=table.notes,
    )


def _entries(cohort: Cohort, table: CsvFile) -> list[tuple[int, str]]:
    """The entries of the column that holds the ids, with their lines; its first counts only if it is an id itself."""
    lines = [(table.header_line, table.header), *table.rows]
    width = max(len(fields) for _, fields in lines)
    columns = [[(line, fields[i]) for line, fields in lines if i < len(fields) and fields[i]] for i in range(width)]
    understood = [sum(cohort.ids.parse(entry) is not None for _, entry in column) for column in columns]
    best = understood.index(max(understood))
    if not understood[best]:
        raise InputError(
            f"{table.path} names no scan of {cohort.name}.",
            hint="It should have a column of scan ids, as the cohort's label file or folders write them.",
        )
    first, *rest = columns[best]
    return [first, *rest] if cohort.ids.parse(first[1]) else rest
