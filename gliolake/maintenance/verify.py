"""Checks the files of a lake against its log.

Damage is a committed file that is missing, truncated or altered, or cannot be read; and a record or a checkpoint of the
log that is not whole. What is left over are files of ours that no commit needs: temporary files, data files of a commit
that never came, and files that later commits replaced. A repair moves them into ``_quarantine`` once they are a day
old (``gliolake.storage.quarantine``), and deletes nothing. What has a name that gliolake does not make is
foreign: named and left. While a record is lost (``gliolake.maintenance.log_history``), nothing is touched: what
seems to be left over may be that commit's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

import pyarrow as pa

from gliolake.errors import DamagedFile, Obstructed, StorageUnreachable, TooLarge
from gliolake.log.progress import track
from gliolake.maintenance.log_history import MISSING, History, read_history
from gliolake.maintenance.repair import Making, clear, mend_checkpoints, take_out
from gliolake.schema.registry import TABLES, table_named
from gliolake.storage import commit_log as log
from gliolake.storage.backend.files import Entry, Files
from gliolake.storage.backend.opening import open_files
from gliolake.storage.lake import Lake
from gliolake.storage.layout import QUARANTINE, kind
from gliolake.storage.parquet import open_parquet, rows_of
from gliolake.storage.quarantine import DAY, bring_back, held_back, listed
from gliolake.storage.rows import keys_of
from gliolake.storage.snapshot import DataFile, Snapshot

REPLACED, FOREIGN, UNCOMMITTED, HALF_WRITTEN = "replaced file", "foreign file", "uncommitted file", "temporary file"
DISPLACED = "displaced file"

DAMAGE = ("missing file", "truncated file", "altered file", "unreadable file", "contradictory file")
CHECKPOINT = "damaged checkpoint"
LOG_DAMAGE = ("damaged record", "missing record", CHECKPOINT)
DONE = {
    **dict.fromkeys(DAMAGE, "taken out of the lake"),
    **dict.fromkeys((UNCOMMITTED, HALF_WRITTEN, REPLACED), f"moved into {QUARANTINE}"),
    CHECKPOINT: "written again",
    DISPLACED: "moved back",
}
"""What a repair does, by kind of finding."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: One of ``DAMAGE`` or ``LOG_DAMAGE``; displaced file (a committed one that lies in ``_quarantine``, where
            readers find it), temporary file, uncommitted file, replaced file or foreign file.
        young: Somebody may still need the file: a reader, or a command that is about to commit it.
        lasting: A repair can do nothing for it.
    """

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
    """What was looked at and what was found; ``repaired`` says whether it has been put right.

    ``quarantined``: files and bytes in ``_quarantine`` when it was looked at.
    """

    version: int
    files: int
    rows: int
    findings: tuple[Finding, ...]
    repaired: bool
    quarantined: tuple[int, int] = (0, 0)

    @property
    def sound(self) -> bool:
        """No committed row is lost, and there are no orphan files of an interrupted command.

        Files that later commits replaced are normal; they only take up space.
        """
        return all(finding.is_harmless or (self.repaired and not finding.lasting) for finding in self.findings)

    def restore_commands(self) -> list[str]:
        """The commands that bring back the rows that were lost."""
        lost = {finding.table for finding in self.findings if finding.kind in DAMAGE and not finding.lasting}
        return sorted({" or ".join(TABLES[table].made_by) for table in lost if TABLES[table].made_by})


def verify(
    lake: Lake | str,
    *,
    repair: bool = False,
    grace: float = DAY,
    made_anew: Mapping[str, Making] = MappingProxyType({}),
) -> Verification:
    """Read every committed file and compare size, sha256, page checksums and row count with the log.

    Args:
        lake: the lake, or where it lies: one of which a commit is lost cannot be opened.
        repair: take damaged files out of the lake, so that the commands that made them make them again; move them, and
            what is left over and older than ``grace``, into ``_quarantine``; write damaged checkpoints again.
        grace: seconds for which a left-over file stays: since it was written, and since the commit that replaced it.
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
    if history.lost:  # the lake cannot be opened, and what seems to be left over may be a lost commit's
        return _verification(history, found, repair, [])
    entries = listed(files) if repair else [*files.list()]
    history = history.and_since(files)  # after the listing: a file committed meanwhile is not left over
    damage = [*_damage(files, history.state)]
    left_over = [*_left_over(entries, history, grace)]
    found += [finding for _, finding in damage] + left_over
    if repair:
        lake = Lake(files.root) if isinstance(lake, str) else lake
        mend_checkpoints(files, history)
        for file in (file for file, finding in damage if finding.kind == DISPLACED):
            bring_back(files, file)
        damaged = [file for file, finding in damage if finding.kind in DAMAGE and not finding.lasting]
        tables_made = {file.table for file in damaged}
        take_out(lake, damaged, [made_anew[name] for name in sorted(made_anew.keys() & tables_made)])
        clear(lake, [finding.path for finding in left_over if not finding.young and finding.kind != FOREIGN])
    return _verification(history, found, repair, entries)


def _verification(history: History, found: Sequence[Finding], repaired: bool, entries: Sequence[Entry]) -> Verification:
    files = history.state.files.values()
    aside = [entry.size for entry in entries if entry.path.startswith(f"{QUARANTINE}/")]
    rows = sum(file.rows for file in files)
    return Verification(history.state.version, len(files), rows, tuple(found), repaired, (len(aside), sum(aside)))


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


def _damage(files: Files, state: Snapshot) -> Iterator[tuple[DataFile, Finding]]:
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
        data = files.get(file.path, file.bytes)
    except StorageUnreachable:
        raise
    except TooLarge:
        return "altered file", f"it has more than the {file.bytes:,} bytes committed", False
    except (PermissionError, Obstructed) as error:  # it may be sound: a right, or an option, may just be missing
        return "unreadable file", error.strerror or str(error), True
    except OSError as error:
        return "unreadable file", error.strerror or str(error), False
    if data is not None:
        return _content_fault(file, data)
    if any(held_back(files, file)):
        return DISPLACED, f"a commit names it, and it lies in {QUARANTINE}", False
    return "missing file", "a commit names it", False


def _content_fault(file: DataFile, data: bytes) -> tuple[str, str, bool] | None:
    if len(data) < file.bytes:
        return "truncated file", f"{len(data):,} bytes of {file.bytes:,}", False
    if hashlib.sha256(data).hexdigest() != file.sha256:
        return "altered file", f"its sha256 is not the one committed; {_pages(data)}", False
    if fault := _contradiction(file, data):
        return "contradictory file", f"its record says otherwise: {fault}", False
    return None


def _contradiction(file: DataFile, data: bytes) -> str:
    """What the bytes say that the record, whose sha256 they have, does not; "" where they agree."""
    table = table_named(file.table)
    try:
        keys = keys_of(table, rows_of(table, file, data, table.key))
    except DamagedFile as error:
        return str(error).rstrip(".")
    if any(one >= next_one for one, next_one in pairwise(keys)):
        return "its rows are not in the order of their keys, or some are there twice"
    if (keys[0], keys[-1]) != (file.first, file.last):
        return "its first or its last key is another"
    return ""


def _pages(data: bytes) -> str:
    """Whether the change lies in the rows: each page carries a checksum of its own."""
    try:
        open_parquet(data).read()
    except (pa.ArrowException, OSError) as error:
        return str(error).splitlines()[0].rstrip(".")
    return "the pages that hold its rows are whole"


def _left_over(entries: Sequence[Entry], history: History, grace: float) -> Iterator[Finding]:
    ages = {entry.path: entry.age for entry in entries}
    let_go = history.let_go()
    for entry in sorted(entries, key=lambda entry: entry.path):
        found = _left_over_kind(entry, history, let_go)
        if found:
            size = f"{entry.size:,} bytes" if entry.kind == "file" else f"a {entry.kind}"
            age, detail = entry.age, f"{size}, {entry.age:.0f} s old"
            if found == REPLACED:  # readers have needed it until a later commit let go of it
                age = min(age, ages.get(log.record_path(let_go[entry.path]), 0.0))
                detail = f"{size}, replaced {age:.0f} s ago"
            yield Finding(found, entry.path, detail, bytes=entry.size, young=age < grace)


def _left_over_kind(entry: Entry, history: History, let_go: Mapping[str, int]) -> str:
    name = kind(entry.path)
    if name == "quarantined" or entry.path in history.state.files:
        return ""
    if name == "foreign" or entry.kind != "file" or entry.path in history.strays:
        return FOREIGN
    if name == "data":
        return REPLACED if entry.path in let_go else UNCOMMITTED
    return HALF_WRITTEN if name == "temporary" else ""
