"""Check a lake against its log, and take out what does not hold.

Damage is a committed file that is missing, truncated or altered, or cannot be read; and a record or a checkpoint of the
log that is not whole. Litter is what no commit names: half-written temporary files, data files of a commit that never
came, and files that later commits replaced. What is foreign to a lake is named and left alone. While a commit is lost
(``lake.history``), nothing but the rest of the log is mended: what seems to be litter may be that commit's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Set
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

import pyarrow as pa
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from lake import log, tables
from lake.errors import StorageUnreachable
from lake.files import Entry, Files, open_files
from lake.history import MISSING, History, read_history
from lake.mend import Making, mend_log, mend_tables, set_aside, superseded
from lake.names import QUARANTINE, TEMPORARY
from lake.parquet import open_parquet
from lake.progress import track
from lake.rows import Key
from lake.state import DataFile, State
from lake.store import Lake

GRACE = 900.0
"""Seconds for which litter is left alone: a command that is running writes its files before it commits them."""

REPLACED, FOREIGN, UNCLAIMED = "replaced file", "foreign file", "unclaimed file"
LOST, OLDER = "lost commit", "older rows"

DAMAGE = ("missing file", "truncated file", "altered file", "unreadable file")
LOG_DAMAGE = ("damaged record", "missing record", "damaged checkpoint", LOST)
DONE = {
    **dict.fromkeys(DAMAGE, "taken out of the lake"),
    **dict.fromkeys(LOG_DAMAGE, "written again"),
    LOST: "given up",
    OLDER: "taken out",
    UNCLAIMED: f"moved into {QUARANTINE}",
}
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
    """One thing that is wrong. ``kind`` is one of ``DAMAGE`` or ``LOG_DAMAGE``, older rows, temporary file,
    uncommitted file, unclaimed file (the same, in a lake of which a commit was lost: it may be that commit's),
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
        return self.kind in (*DAMAGE, *LOG_DAMAGE, OLDER)

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
        elif any(finding.kind == LOST and finding.lasting for finding in self.findings):
            yield "The lake cannot be opened. Restore the records of lost commits from a backup, or go on without "
            yield "them and with the commits after: gliolake verify --repair --give-up-lost-commits"
        elif any(finding.lasting for finding in self.findings) and self.repaired:
            yield "Not all could be mended: restore from a backup, or correct, what is named as left."
        elif not self.sound:
            yield "Run `gliolake verify --repair` to take out what is damaged and delete what is left over."
        if self.repaired and (commands := self.restore_commands()):
            yield f"The damaged files are out of the lake. Run again: {', '.join(commands)}"
        if any(finding.kind == LOST and not finding.lasting for finding in self.findings):
            yield "What lost commits changed is as it was before them. Run again the commands that made them."

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
    give_up: bool = False,
    grace: float = GRACE,
    made_anew: Mapping[str, Making] = MappingProxyType({}),
) -> Verification:
    """Read every committed file and compare size, sha256, page checksums and row count with the log.

    Args:
        lake: the lake, or where it lies: one of which a commit is lost cannot be opened.
        repair: take damaged files out of the lake (altered ones are moved to ``_quarantine``), so that the commands
            that made them make them again; delete litter older than ``grace``; write damaged records again.
        give_up: whether a repair goes on without lost commits, as ``lake.history`` tells. Files that no record names
            are then moved to ``_quarantine`` and not deleted.
        grace: seconds for which litter is left alone.
        made_anew: table -> what makes its rows from those of other tables, in the commit that takes a damaged file out,
            and in a lake of which a commit was given up.

    Raises:
        NotALake: there is no lake.
        StorageUnreachable: its log may not be read, or the object store does not answer.
        CommitConflict: another process took the number of a lost commit meanwhile.
    """
    files = open_files(lake) if isinstance(lake, str) else lake.files
    history = read_history(files)
    if isinstance(lake, str) and not (history.records or history.faults or history.lost):
        Lake(lake)  # says that there is none
    given_up = bool(history.lost) and repair and give_up
    closed = bool(history.lost) and not given_up
    of_log = [*_log_damage(history, closed)]
    if repair:
        mend_log(files, history, give_up=give_up)
    if given_up:
        history = read_history(files)
    damage = list(_damage(files, history.state))
    older = superseded(files, history)
    rest = [*(finding for _, finding in damage), *_older(history, older), *_litter(files, history, grace)]
    if repair and not closed:
        if isinstance(lake, str) or given_up:
            lake = Lake(files.root)
        damaged = [file for file, finding in damage if not finding.lasting]
        tables_made = {*made_anew} if history.given_up() else {file.table for file in damaged}
        mend_tables(lake, damaged, older, [made_anew[name] for name in sorted(made_anew.keys() & tables_made)])
        _clear(lake, rest)
    found = *of_log, *(replace(finding, lasting=finding.lasting or closed) for finding in rest)
    rows = sum(file.rows for file in history.state.files.values())
    return Verification(history.state.version, len(history.state.files), rows, found, repair)


def _log_damage(history: History, closed: bool) -> Iterator[Finding]:
    for number, fault in history.faults.items():
        kind = "missing record" if fault == MISSING else "damaged record"
        yield Finding(kind, log.record_path(number), "a later checkpoint has what it led to; no row is lost")
    for path in history.checkpoints:
        yield Finding("damaged checkpoint", path, "the records have what it had; no row is lost")
    for number, fault in history.lost.items():
        behind = [later for later in history.records if later > number]
        runs = {record.run_id: None for near in (number - 1, number + 1) if (record := history.records.get(near))}
        detail = f"nothing has what it added and took out but its record. {fault}"
        detail += f" {len(behind)} sound commits, up to number {max(behind)}, lie behind it." if behind else ""
        detail += f" Commits beside it are of {' and '.join(runs)}." if runs else ""
        yield Finding(LOST, log.record_path(number), detail, lasting=closed)


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


def _older(history: History, older: Mapping[str, Set[Key]]) -> Iterator[Finding]:
    for path, keys in sorted(older.items()):
        detail = f"{len(keys)} rows that later commits wrote anew, or took out"
        yield Finding(OLDER, path, detail, history.state.files[path].table, len(keys))


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
    if entry.path in history.state.files or top == QUARANTINE:
        return ""
    if top == log.FOLDER:
        return FOREIGN if entry.path in history.strays else ""
    if entry.path in once:
        return REPLACED
    if top not in tables.TABLES or entry.kind != "file":
        return FOREIGN
    return UNCLAIMED if history.lost or history.given_up() else "uncommitted file"


def _clear(lake: Lake, found: list[Finding]) -> None:
    committed = lake.state().files  # also what was committed since
    for finding in found:
        if finding.is_damage or finding.young or finding.kind == FOREIGN or finding.path in committed:
            continue
        if finding.kind == UNCLAIMED:
            set_aside(lake.files, finding.path)
        else:
            lake.files.delete(finding.path)
