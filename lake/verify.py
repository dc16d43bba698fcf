"""Check a lake against its log, and take out what does not hold.

Damage is a committed file that is missing, truncated or altered. Litter is what no commit names: half-written
temporary files, data files of a commit that never came, and files that later commits replaced.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from lake import log, tables
from lake.files import TEMPORARY, Entry
from lake.progress import track
from lake.runs import start_run
from lake.state import DataFile, State
from lake.store import Lake
from lake.transaction import Transaction

QUARANTINE = "_quarantine"
GRACE = 900.0
"""Seconds for which litter is left alone: a command that is running writes its files before it commits them."""

REPLACED = "replaced file"

RESTORED_BY = {
    "volumes": "gliolake preprocess",
    "voxels": "gliolake preprocess",
    "volume_sets": "gliolake preprocess",
    "features": "gliolake extract",
    "feature_sets": "gliolake extract",
    **dict.fromkeys(
        ("experiments", "fits", "predictions", "attention", "metrics", "summaries"), "gliolake train, or study run"
    ),
    **dict.fromkeys(("study_rows", "comparisons", "correlations", "subgroups", "curves"), "gliolake study run"),
    "trials": "gliolake search",
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. ``kind`` is missing file, truncated file, altered file, damaged record, temporary file,
    uncommitted file or replaced file."""

    kind: str
    path: str
    detail: str
    table: str = ""
    rows: int = 0
    bytes: int = 0
    young: bool = False

    @property
    def is_damage(self) -> bool:
        """Whether committed rows are lost."""
        return self.kind in ("missing file", "truncated file", "altered file", "damaged record")


@dataclass(frozen=True)
class Verification:
    """What was looked at and what was found; ``repaired`` says whether it has been put right."""

    version: int
    files: int
    rows: int
    findings: tuple[Finding, ...]
    repaired: bool

    @property
    def sound(self) -> bool:
        """No committed row is lost, and nothing lies about that a broken-off command left.

        Files that later commits replaced are part of a lake's life; they only take up space.
        """
        return self.repaired or not any(
            finding.is_damage or (finding.kind != REPLACED and not finding.young) for finding in self.findings
        )

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """For people: what was checked, each finding, and what to do next."""
        yield f"Commit {self.version}: {self.files} files, {self.rows:,} rows checked."
        replaced = [finding for finding in self.findings if finding.kind == REPLACED]
        for finding in self.findings:
            if finding.kind == REPLACED:
                continue
            note = " (young: a running command may still commit it)" if finding.young else self._done(finding)
            yield Text(f"  {finding.kind}: {finding.path}: {finding.detail}{note}")
        if replaced:
            done = ", deleted" if self.repaired else "; --repair deletes them"
            yield f"  {len(replaced)} files that later commits replaced, {sum(f.bytes for f in replaced):,} bytes{done}"
        if len(replaced) == len(self.findings):
            yield "All files are as committed."
        elif self.repaired and (commands := self.restore_commands()):
            yield f"The damaged files are out of the lake. Run again: {', '.join(commands)}"
        elif not self.sound:
            yield "Run `gliolake verify --repair` to take out what is damaged and delete what is left over."

    def _done(self, finding: Finding) -> str:
        if not self.repaired:
            return ""
        return " -> taken out of the lake" if finding.is_damage else " -> deleted"

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "sound": self.sound}

    def restore_commands(self) -> list[str]:
        """The commands that bring back the rows that were lost."""
        lost = {finding.table for finding in self.findings if finding.is_damage and finding.table}
        return sorted({RESTORED_BY.get(table, "gliolake ingest") for table in lost})


def verify(lake: Lake, *, repair: bool = False, grace: float = GRACE) -> Verification:
    """Read every committed file and compare size, sha256, page checksums and row count with the log.

    Args:
        lake: the lake.
        repair: take damaged files out of the lake (altered ones are moved to ``_quarantine``), so that the commands
            that made them make them again; delete litter older than ``grace``.
        grace: seconds for which litter is left alone.

    Raises:
        DamagedFile: a commit record itself is damaged; the lake cannot be read past it.
    """
    state = lake.state()
    damage = list(_damage(lake, state))
    litter = list(_litter(lake, state, grace))
    if repair:
        _repair(lake, [file for file, _ in damage], [finding for finding in litter if not finding.young])
    findings = (*(finding for _, finding in damage), *litter)
    rows = sum(file.rows for file in state.files.values())
    return Verification(state.version, len(state.files), rows, findings, repair)


def _damage(lake: Lake, state: State) -> Iterator[tuple[DataFile, Finding]]:
    with track("checking files", len(state.files)) as advance:
        for path in sorted(state.files):
            file = state.files[path]
            if fault := _fault(lake, file):
                yield file, Finding(fault[0], path, fault[1], file.table, file.rows)
            advance()


def _fault(lake: Lake, file: DataFile) -> tuple[str, str] | None:
    data = lake.files.get(file.path)
    if data is None:
        return "missing file", f"a commit names it, with {file.rows} rows"
    if len(data) < file.bytes:
        return "truncated file", f"{len(data):,} bytes of {file.bytes:,}, {file.rows} rows"
    if hashlib.sha256(data).hexdigest() != file.sha256:
        return "altered file", f"its sha256 is not the one committed; {_pages(data)}, {file.rows} rows"
    return None


def _pages(data: bytes) -> str:
    """Whether the change lies in the rows: each page carries a checksum of its own."""
    try:
        pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        return str(error).splitlines()[0].rstrip(".")
    return "the pages that hold its rows are whole"


def _litter(lake: Lake, state: State, grace: float) -> Iterator[Finding]:
    once = _ever_committed(lake, state)
    for entry in sorted(lake.files.list(), key=lambda entry: entry.path):
        kind = _litter_kind(entry, state, once)
        if kind:
            detail = f"{entry.size:,} bytes, {entry.age:.0f} s old"
            yield Finding(kind, entry.path, detail, bytes=entry.size, young=entry.age < grace)


def _litter_kind(entry: Entry, state: State, once: set[str]) -> str:
    top = entry.path.split("/", 1)[0]
    if top == TEMPORARY:
        return "temporary file"
    if top not in tables.TABLES or entry.path in state.files:
        return ""
    return REPLACED if entry.path in once else "uncommitted file"


def _ever_committed(lake: Lake, state: State) -> set[str]:
    paths: set[str] = set()
    for version in range(1, state.version + 1):
        if record := log.read_record(lake.files, version):
            paths.update(file.path for file in record.added)
    return paths


def _take_out(transaction: Transaction, damaged: list[DataFile]) -> None:
    for file in damaged:
        if file.path in transaction.snapshot.files:  # another process may have replaced it since
            transaction.remove_file(file)


def _repair(lake: Lake, damaged: list[DataFile], litter: list[Finding]) -> None:
    if damaged:
        with start_run(lake, "verify", {"repair": True}) as run:
            run.transact(partial(_take_out, damaged=damaged))
        for file in damaged:
            data = lake.files.get(file.path)
            if data is not None:
                lake.files.put(f"{QUARANTINE}/{file.path}", data)
                lake.files.delete(file.path)
    for finding in litter:
        lake.files.delete(finding.path)
