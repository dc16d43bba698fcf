"""Check a lake against its log, and take out what does not hold.

Damage is a committed file that is missing, truncated or altered, or cannot be read; and a record or a checkpoint of the
log that is not whole. Litter is what no commit names: half-written temporary files, data files of a commit that never
came, and files that later commits replaced. What is foreign to a lake is named and left alone. While a record is lost
(``lake.history``), nothing is touched: what seems to be litter may be that commit's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import pyarrow as pa
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from lake import log, tables
from lake.errors import StorageUnreachable
from lake.files import Entry, Files, open_files
from lake.history import MISSING, History, read_history
from lake.mend import Making, mend_checkpoints, mend_tables
from lake.names import MARKER, QUARANTINE, TEMPORARY
from lake.parquet import open_parquet
from lake.progress import track
from lake.state import DataFile, State
from lake.store import Lake

GRACE = 900.0
"""Seconds for which litter is left alone: a command that is running writes its files before it commits them."""

REPLACED, FOREIGN = "replaced file", "foreign file"

DAMAGE = ("missing file", "truncated file", "altered file", "unreadable file")
CHECKPOINT = "damaged checkpoint"
LOG_DAMAGE = ("damaged record", "missing record", CHECKPOINT)
DONE = {**dict.fromkeys(DAMAGE, "taken out of the lake"), CHECKPOINT: "written again"}
"""What a repair does, by kind of finding; others are deleted."""

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
    "links": "gliolake suspects",  # the others are found anew in the same commit (``made_anew``)
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. ``kind`` is one of ``DAMAGE`` or ``LOG_DAMAGE``, temporary file, uncommitted file,
    replaced file or foreign file. ``lasting``: this repair can do nothing for it."""

    kind: str
    path: str
    detail: str
    table: str = ""
    rows: int = 0
    bytes: int = 0
    young: bool = False
    lasting: bool = False

    @property
    def is_damage(self) -> bool:
        """Whether committed rows are lost, or would be with one more file of the log."""
        return self.kind in (*DAMAGE, *LOG_DAMAGE)

    @property
    def is_harmless(self) -> bool:
        """Whether it belongs to a lake's life, or to somebody else."""
        return self.kind in (REPLACED, FOREIGN) or (self.young and not self.is_damage)


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
        return all(finding.is_harmless or (self.repaired and not finding.lasting) for finding in self.findings)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """For people: what was checked, each finding, and what to do next."""
        yield f"Commit {self.version}: {self.files} files, {self.rows:,} rows checked."
        replaced = [finding for finding in self.findings if finding.kind == REPLACED]
        for finding in self.findings:
            if finding.kind == REPLACED:
                continue
            young = finding.young and finding.kind != FOREIGN
            note = " (young: a running command may still commit it)" if young else self._done(finding)
            yield Text(f"  {finding.kind}: {finding.path}: {finding.detail}{note}")
        if replaced:
            done = ", deleted" if self.repaired else "; --repair deletes them"
            yield f"  {len(replaced)} files that later commits replaced, {sum(f.bytes for f in replaced):,} bytes{done}"
        if all(finding.is_harmless for finding in self.findings):
            yield "All files are as committed."
        elif any(finding.kind in LOG_DAMAGE and finding.lasting for finding in self.findings):
            yield "Restore the damaged records from a backup; no repair can write them again."
        elif any(finding.lasting for finding in self.findings) and self.repaired:
            yield "Not all could be mended: restore from a backup, or correct, what is named as left."
        elif not self.sound:
            yield "Run `gliolake verify --repair` to take out what is damaged and delete what is left over."
        if self.repaired and (commands := self.restore_commands()):
            yield f"The damaged files are out of the lake. Run again: {', '.join(commands)}"

    def _done(self, finding: Finding) -> str:
        if finding.kind == FOREIGN:
            return " (left alone)"
        if not self.repaired:
            return ""
        return " -> left" if finding.lasting else f" -> {DONE.get(finding.kind, 'deleted')}"

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "sound": self.sound}

    def restore_commands(self) -> list[str]:
        """The commands that bring back the rows that were lost."""
        lost = {finding.table for finding in self.findings if finding.kind in DAMAGE and not finding.lasting}
        return sorted({RESTORED_BY.get(table, "gliolake ingest") for table in lost})


def verify(
    lake: Lake | str,
    *,
    repair: bool = False,
    grace: float = GRACE,
    made_anew: Mapping[str, Making] = MappingProxyType({}),
) -> Verification:
    """Read every committed file and compare size, sha256, page checksums and row count with the log.

    Args:
        lake: the lake, or where it lies: one of which a commit is lost cannot be opened.
        repair: take damaged files out of the lake (altered ones are moved to ``_quarantine``), so that the commands
            that made them make them again; delete litter older than ``grace``; write damaged checkpoints again.
        grace: seconds for which litter is left alone.
        made_anew: table -> what makes its rows from those of other tables, in the commit that takes a damaged file out.

    Raises:
        NotALake: there is no lake.
        NewerLake, OlderLake: another version of gliolake wrote it.
        StorageUnreachable: its log may not be read, or the object store does not answer.
    """
    files = open_files(lake) if isinstance(lake, str) else lake.files
    history = read_history(files)
    if isinstance(lake, str) and not (history.records or history.faults or history.lost):
        Lake(lake)  # says that there is none
    found = [*_log_damage(history)]
    if history.lost:  # the lake cannot be opened, and what seems to be litter may be a lost commit's
        return _verification(history, found, repair)
    damage = [*_damage(files, history.state)]
    found += [*(finding for _, finding in damage), *_litter(files, history, grace)]
    if repair:
        lake = Lake(files.root) if isinstance(lake, str) else lake
        mend_checkpoints(files, history)
        damaged = [file for file, finding in damage if not finding.lasting]
        tables_made = {file.table for file in damaged}
        mend_tables(lake, damaged, [made_anew[name] for name in sorted(made_anew.keys() & tables_made)])
        _clear(lake, found)
    return _verification(history, found, repair)


def _verification(history: History, found: list[Finding], repaired: bool) -> Verification:
    rows = sum(file.rows for file in history.state.files.values())
    return Verification(history.state.version, len(history.state.files), rows, tuple(found), repaired)


def _log_damage(history: History) -> Iterator[Finding]:
    for number, fault in sorted({**history.faults, **history.lost}.items()):
        kind = "missing record" if fault == MISSING else "damaged record"
        detail = f"restore it from a backup; a later checkpoint has what it led to, so no row is lost. {fault}"
        if number in history.lost:
            behind = [later for later in history.records if later > number]
            detail = f"restore it from a backup; until then the lake cannot be opened. {fault}"
            detail += f" {len(behind)} sound commits, up to number {max(behind)}, lie behind it." if behind else ""
        yield Finding(kind, log.record_path(number), detail, lasting=True)
    for path in history.checkpoints:
        yield Finding(CHECKPOINT, path, "the records have what it had; no row is lost", lasting=bool(history.lost))


def _damage(files: Files, state: State) -> Iterator[tuple[DataFile, Finding]]:
    with track("checking files", len(state.files)) as advance:
        for path in sorted(state.files):
            file = state.files[path]
            if fault := _fault(files, file):
                kind, detail, lasting = fault
                yield file, Finding(kind, path, f"{detail}, {file.rows} rows", file.table, file.rows, lasting=lasting)
            advance()


def _fault(files: Files, file: DataFile) -> tuple[str, str, bool] | None:
    """What kind of damage a file has, in words, and whether a repair can do nothing for it."""
    try:
        data = files.get(file.path)
    except StorageUnreachable:
        raise
    except PermissionError:
        return "unreadable file", "it is there, and this user may not read it", True
    except OSError as error:
        return "unreadable file", error.strerror or str(error), False
    if data is None:
        return "missing file", "a commit names it", False
    if len(data) < file.bytes:
        return "truncated file", f"{len(data):,} bytes of {file.bytes:,}", False
    if hashlib.sha256(data).hexdigest() != file.sha256:
        return "altered file", f"its sha256 is not the one committed; {_pages(data)}", False
    return None


def _pages(data: bytes) -> str:
    """Whether the change lies in the rows: each page carries a checksum of its own."""
    try:
        open_parquet(data).read()
    except (pa.ArrowException, OSError) as error:
        return str(error).splitlines()[0].rstrip(".")
    return "the pages that hold its rows are whole"


def _litter(files: Files, history: History, grace: float) -> Iterator[Finding]:
    once = history.ever_committed()
    for entry in sorted(files.list(), key=lambda entry: entry.path):
        kind = _litter_kind(entry, history, once)
        if kind:
            size = f"{entry.size:,} bytes" if entry.kind == "file" else f"a {entry.kind}"
            detail = f"{size}, {entry.age:.0f} s old"
            yield Finding(kind, entry.path, detail, bytes=entry.size, young=entry.age < grace)


def _litter_kind(entry: Entry, history: History, once: set[str]) -> str:
    top = entry.path.split("/", 1)[0]
    if top == TEMPORARY:
        return "temporary file"
    if entry.path in history.state.files or top == QUARANTINE or entry.path == MARKER:
        return ""
    if top == log.FOLDER:
        return FOREIGN if entry.path in history.strays else ""
    if entry.path in once:
        return REPLACED
    if top not in tables.TABLES or entry.kind != "file":
        return FOREIGN
    return "uncommitted file"


def _clear(lake: Lake, found: list[Finding]) -> None:
    committed = lake.state().files  # also what was committed since
    for finding in found:
        if finding.is_damage or finding.young or finding.kind == FOREIGN or finding.path in committed:
            continue
        lake.files.delete(finding.path)
