"""Check a lake against its log, and take out what does not hold.

Damage is a committed file that is missing, truncated or altered, or cannot be read; and a record or a checkpoint of the
log that is not whole. Litter is what no commit names: half-written temporary files, data files of a commit that never
came, and files that later commits replaced. What is foreign to a lake is named and left alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from lake import log, tables
from lake.errors import GliolakeError
from lake.files import TEMPORARY, Entry, LocalFiles
from lake.history import History, read_history, rebuilt
from lake.progress import track
from lake.runs import start_run
from lake.state import DataFile, State
from lake.store import Lake
from lake.transaction import Transaction

QUARANTINE = "_quarantine"
GRACE = 900.0
"""Seconds for which litter is left alone: a command that is running writes its files before it commits them."""

REPLACED, FOREIGN = "replaced file", "foreign file"
DAMAGE = ("missing file", "truncated file", "altered file", "unreadable file")
LOG_DAMAGE = ("damaged record", "missing record", "damaged checkpoint", "record behind a gap")

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

Making: TypeAlias = Callable[[Transaction], None]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. ``kind`` is one of ``DAMAGE`` or ``LOG_DAMAGE``, temporary file, uncommitted file,
    replaced file or foreign file. ``lasting``: a repair can do nothing for it."""

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
        elif any(finding.lasting for finding in self.findings) and self.repaired:
            yield "Not all could be mended: restore from a backup, or correct, what is named as left."
        elif not self.sound:
            yield "Run `gliolake verify --repair` to take out what is damaged and delete what is left over."
        if self.repaired and (commands := self.restore_commands()):
            yield f"The damaged files are out of the lake. Run again: {', '.join(commands)}"

    def _done(self, finding: Finding) -> str:
        if finding.kind == FOREIGN:
            return " (left alone)"
        if not self.repaired or finding.lasting:
            return " -> left" if self.repaired else ""
        if finding.kind in LOG_DAMAGE:
            return " -> written again"
        return " -> taken out of the lake" if finding.is_damage else " -> deleted"

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "sound": self.sound}

    def restore_commands(self) -> list[str]:
        """The commands that bring back the rows that were lost."""
        lost = {finding.table for finding in self.findings if finding.kind in DAMAGE and not finding.lasting}
        return sorted({RESTORED_BY.get(table, "gliolake ingest") for table in lost})


def verify(
    lake: Lake,
    *,
    repair: bool = False,
    grace: float = GRACE,
    made_anew: Mapping[str, Making] = MappingProxyType({}),
) -> Verification:
    """Read every committed file and compare size, sha256, page checksums and row count with the log.

    Args:
        lake: the lake.
        repair: take damaged files out of the lake (altered ones are moved to ``_quarantine``), so that the commands
            that made them make them again; delete litter older than ``grace``.
        grace: seconds for which litter is left alone.
        made_anew: table -> what makes its rows from those of other tables, in the commit that takes a damaged file out.

    Raises:
        DamagedFile: a record after the newest sound checkpoint is damaged; nothing says what the lake was after it.
    """
    state = lake.state()
    history = read_history(lake.files, state)
    damage = list(_damage(lake, state))
    found = [*_log_damage(history), *(finding for _, finding in damage), *_litter(lake, history, grace)]
    if repair:
        _mend_log(lake, history)
        _repair(lake, [file for file, finding in damage if not finding.lasting], made_anew)
        for finding in found:
            if not finding.is_damage and not finding.young and finding.kind != FOREIGN:
                lake.files.delete(finding.path)
    rows = sum(file.rows for file in state.files.values())
    return Verification(state.version, len(state.files), rows, tuple(found), repair)


def _log_damage(history: History) -> Iterator[Finding]:
    for number, what in history.faults.items():
        yield Finding(
            f"{what} record", log.record_path(number), "a later checkpoint has what it led to; no row is lost"
        )
    for path in history.checkpoints:
        yield Finding("damaged checkpoint", path, "the records have what it had; no row is lost")
    for number in history.beyond:
        gap = log.record_path(history.state.version + 1)
        lost = f"{gap} before it is missing, so that its rows are not seen; restore that one, and write nothing before"
        yield Finding("record behind a gap", log.record_path(number), lost, lasting=True)


def _damage(lake: Lake, state: State) -> Iterator[tuple[DataFile, Finding]]:
    with track("checking files", len(state.files)) as advance:
        for path in sorted(state.files):
            file = state.files[path]
            if fault := _fault(lake, file):
                kind, detail, lasting = fault
                yield file, Finding(kind, path, f"{detail}, {file.rows} rows", file.table, file.rows, lasting=lasting)
            advance()


def _fault(lake: Lake, file: DataFile) -> tuple[str, str, bool] | None:
    """What kind of damage a file has, in words, and whether a repair can do nothing for it."""
    try:
        data = lake.files.get(file.path)
    except GliolakeError:
        raise
    except PermissionError:
        return "unreadable file", "it is there, and this user may not read it", True
    except OSError as error:
        return "unreadable file", str(error.strerror), False
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
        pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        return str(error).splitlines()[0].rstrip(".")
    return "the pages that hold its rows are whole"


def _litter(lake: Lake, history: History, grace: float) -> Iterator[Finding]:
    once = history.ever_committed()
    for entry in sorted(lake.files.list(), key=lambda entry: entry.path):
        kind = _litter_kind(entry, history.state, once)
        if kind:
            detail = f"{entry.size:,} bytes, {entry.age:.0f} s old"
            yield Finding(kind, entry.path, detail, bytes=entry.size, young=entry.age < grace)


def _litter_kind(entry: Entry, state: State, once: set[str]) -> str:
    top = entry.path.split("/", 1)[0]
    if top == TEMPORARY:
        return "temporary file"
    if entry.path in state.files or top in (log.FOLDER, QUARANTINE):
        return ""
    if entry.path in once:
        return REPLACED
    return "uncommitted file" if top in tables.TABLES else FOREIGN


def _take_out(transaction: Transaction, damaged: list[DataFile], made_anew: Mapping[str, Making]) -> None:
    for file in damaged:
        if file.path in transaction.snapshot.files:  # another process may have replaced it since
            transaction.remove_file(file)
    for table in sorted(made_anew.keys() & {file.table for file in damaged}):
        made_anew[table](transaction)


def _repair(lake: Lake, damaged: list[DataFile], made_anew: Mapping[str, Making]) -> None:
    if not damaged:
        return
    with start_run(lake, "verify", {"repair": True}) as run:
        run.transact(partial(_take_out, damaged=damaged, made_anew=made_anew))
    for file in damaged:
        _set_aside(lake, file.path)


def _mend_log(lake: Lake, history: History) -> None:
    for record in rebuilt(history):
        _set_aside(lake, log.record_path(record.version))
        log.write_record(lake.files, record)
    if history.checkpoints:
        for path in history.checkpoints:
            _set_aside(lake, path)
        log.write_checkpoint(lake.files, history.state)


def _set_aside(lake: Lake, path: str) -> None:
    """Move into ``_quarantine`` what lies at a path: in a folder also what is no file."""
    if isinstance(lake.files, LocalFiles):
        source, target = (lake.files.folder / name for name in (path, f"{QUARANTINE}/{path}"))
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            source.replace(target)
    elif (data := lake.files.get(path)) is not None:
        lake.files.put(f"{QUARANTINE}/{path}", data)
        lake.files.delete(path)
