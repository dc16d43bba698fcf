"""The log of a lake: numbered records, each naming the files that one commit added and removed.

A record is a JSON file ``_log/<number>.json``. Numbers have no gaps, and a record is created only if its number is
free, so commits are in one order that all readers agree on, and a commit is visible as a whole or not at all.
The state of the lake at a version is what remains after its records are replayed. Every ``CHECKPOINT_EVERY``
records the state is also written out, so that opening a lake costs the records since then and not all of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

from gliolake import limits
from gliolake.errors import DamagedFile, GliolakeError, NewerLake, Obstructed, OlderLake, StorageUnreachable
from gliolake.storage.backend.files import Files
from gliolake.storage.layout import MARKER
from gliolake.storage.log_entries import digest_of_the_rest, encode, parse_files
from gliolake.storage.snapshot import Commit, Snapshot

FORMAT = 3
"""Version of everything this module writes and of the tables (``gliolake.schema``). A lake with another is
refused."""

FOLDER = "_log"
CHECKPOINT_EVERY = 50
"""Records between two checkpoints of a small lake. A larger lake has more, so that a commit's share of their cost does
not grow with the lake (``checkpoint_due``)."""

CHECKPOINT_FILES = 200
"""Files of a lake for each record between its checkpoints."""

NEWEST = f"{FOLDER}/newest_checkpoint.json"
"""Where the newest checkpoint is looked up: a lake of many commits is then opened without a listing of them all. It
may say an old one, or nothing: an older checkpoint leads to the same state."""

ADVICE = "`gliolake verify` names all damage. Restore these files from a backup, or ingest again into a new folder."


def record_path(version: int) -> str:
    """Where the record of this number lies."""
    return f"{FOLDER}/{version:020d}.json"


def checkpoint_path(version: int) -> str:
    """Where the state at this version lies, if it was written out."""
    return f"{FOLDER}/{version:020d}.state.json"


def is_marked(files: Files) -> bool:
    """Whether somebody has begun a lake here.

    Raises:
        NewerLake: a newer gliolake did.
        DamagedFile: what lies there is no marker.
    """
    data = read_bytes(files, MARKER)
    return data is not None and bool(_parse(files, MARKER, data))


def mark(files: Files) -> None:
    """Begin a lake here: write the file by which it is known before it has a commit."""
    files.create([MARKER], encode({"format": FORMAT, "what": "A lake of gliolake."}))


def read_bytes(files: Files, path: str) -> bytes | None:
    """What lies at a path of the log; None where nothing does.

    Raises:
        DamagedFile: it is no file but a folder, a pipe, or a link; or a file that is too large.
        StorageUnreachable: the storage does not answer; or what lies there is not for this user.
    """
    try:
        return files.get(path, limits.CHECKPOINT if path.endswith(".state.json") else limits.COMMIT)
    except Obstructed:  # not this file, but a folder on the way to it
        raise
    except DamagedFile as error:
        raise _damaged(files, path, str(error).rstrip(".")) from error
    except PermissionError as error:
        raise StorageUnreachable(
            f"{files.url(path)} may not be read: {error.strerror}.", hint="Run this as a user who may read the lake."
        ) from error


def read_commit(files: Files, version: int) -> Commit | None:
    """The record of this number, or None where there is none yet.

    Raises:
        NewerLake, OlderLake: another version of gliolake wrote it.
        DamagedFile: it is not a whole record.
    """
    path = record_path(version)
    data = read_bytes(files, path)
    if data is None:
        return None
    content = _parse(files, path, data)
    try:
        if not content["after"] < version:
            raise ValueError("it is that of another commit")
        added, removed = parse_files(content["added"]), parse_files(content["removed"])
        run_id, committed, commit_uuid = (str(content[name]) for name in ("run_id", "committed", "commit_uuid"))
        return Commit(version, run_id, committed, added, removed, commit_uuid)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(files, path, error) from error


def write_commit(files: Files, record: Commit, others: Iterable[int] = ()) -> Commit | None:
    """Make a commit visible under its number or, where that is taken, the first of ``others`` that is not.

    What is written does not hold the number, so that it need not be written again when rivals take one. It says after
    which commit it was begun, and its commit_uuid: by them a record that was copied to another number is known.

    Args:
        files: the lake's.
        record: has the number that is tried first.
        others: are asked for one after another, as each turns out to be taken.

    Returns:
        The record with the number that it got; None where there were no more of them.

    Raises:
        GliolakeError: it names so many files that nobody would read it.
    """
    content = {name: value for name, value in vars(record).items() if name != "version"}
    content |= {"added": [*map(vars, record.added)], "removed": [*map(vars, record.removed)]}
    content |= {"format": FORMAT, "after": record.version - 1}
    data = encode(content)
    if len(data) > limits.COMMIT:
        raise GliolakeError(
            f"A commit of {len(record.added) + len(record.removed):,} files is too large: its record would have "
            f"{len(data):,} bytes, and {limits.COMMIT:,} may be read.",
            hint="Do the work in parts, e.g. by cohort.",
        )
    path = files.create(map(record_path, chain([record.version], others)), data)
    return replace(record, version=int(PurePosixPath(path).stem)) if path else None


def checkpoint_due(state: Snapshot) -> bool:
    """Whether the state at this version is to be written out: the more files it has, the more seldom."""
    files = sum(map(len, state.parts.values()))
    every = CHECKPOINT_EVERY
    while every * CHECKPOINT_FILES < files:
        every *= 2
    return state.version % every == 0


def write_checkpoint(files: Files, state: Snapshot) -> None:
    """Write the state out, unless nobody would read as much. Any process may: it is a function of the version."""
    content = {
        "format": FORMAT,
        "version": state.version,
        "files": [vars(state.files[p]) for p in sorted(state.files)],
    }
    data = encode(content)
    if len(data) > limits.CHECKPOINT:
        return
    files.put(checkpoint_path(state.version), data)
    files.put(NEWEST, encode({"format": FORMAT, "version": state.version}))


def latest_snapshot(files: Files, known: Snapshot | None = None) -> tuple[Snapshot, list[Commit]]:
    """The newest state, and the records read to reach it from ``known`` or from the newest checkpoint.

    Who opens a lake, so has no ``known`` state, also looks whether one record is missing: a commit would take its
    number, and what the records behind it say would be said of another lake. That costs one look, and no listing.

    Raises:
        DamagedFile: a record is missing, or not whole.
        NewerLake, OlderLake: another version of gliolake wrote one.
    """
    state = _newest_checkpoint(files) if known is None else known
    read: list[Commit] = []
    marks: set[str] = set()
    while True:
        number = state.version + len(read) + 1
        if record := read_commit(files, number):
            if record.commit_uuid in marks:
                raise _damaged(files, record_path(number), "it is a copy of an earlier one")
            marks.add(record.commit_uuid)
            read.append(record)
        elif known is not None or read_bytes(files, record_path(number + 1)) is None:
            return _after(state, read), read
        elif read_bytes(files, record_path(number)) is None:  # looked for again: rivals may just have made both
            raise _damaged(files, record_path(number), "it is missing, and a later one is there")


def _after(state: Snapshot, records: list[Commit]) -> Snapshot:
    if not records:
        return state
    try:
        return state.after(records)
    except GliolakeError as error:  # each is whole, but they are not of one lake
        raise DamagedFile(str(error), hint=ADVICE) from error


def _newest_checkpoint(files: Files) -> Snapshot:
    if known := read_checkpoint(files, looked_up(files)):
        return known
    found = sorted((e.path for e in files.list(FOLDER) if e.path.endswith(".state.json")), reverse=True)
    # An older checkpoint than a damaged one, or the records alone, give the same state.
    return next((state for path in found if (state := read_checkpoint(files, path))), Snapshot())


def looked_up(files: Files) -> str:
    """Where the newest checkpoint is said to lie; "" where nothing sound says so."""
    try:
        version = _parse(files, NEWEST, read_bytes(files, NEWEST) or b"")["version"]
        return checkpoint_path(version) if type(version) is int else ""
    except (DamagedFile, KeyError):
        return ""


def read_checkpoint(files: Files, path: str) -> Snapshot | None:
    """The state in a checkpoint; None where there is none, or it is damaged."""
    try:
        content = _parse(files, path, (path and read_bytes(files, path)) or b"")
        version = content["version"]
        if type(version) is not int or checkpoint_path(version) != path:
            return None  # it is the state at another version
        return Snapshot.of(version, parse_files(content["files"]))
    except (DamagedFile, KeyError, TypeError, ValueError):
        return None


def _parse(files: Files, path: str, data: bytes) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(data, parse_constant=_no_number)
        version, digest = content["format"], content.pop("sha256", None)
        if type(version) is not int:
            raise ValueError(f"its format is {version!r}")
        if version <= FORMAT and digest != digest_of_the_rest(data):
            raise ValueError("its own sha256 does not match")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(files, path, error) from error
    if version > FORMAT:
        raise NewerLake(
            f"The lake at {files.root} was written by a newer gliolake, in format {version}; this one reads {FORMAT}.",
            hint="Update gliolake, or open the lake with the version that wrote it.",
        )
    if version < FORMAT:
        raise OlderLake(
            f"The lake at {files.root} was written by an older gliolake, in format {version}; this one reads {FORMAT}.",
            hint="Ingest again into a new folder. Nothing was changed here; the version that wrote the lake reads it.",
        )
    return content


def _no_number(text: str) -> float:
    raise ValueError(f"it says {text} where a number has to be")


def _damaged(files: Files, path: str, fault: Exception | str) -> DamagedFile:
    return DamagedFile(
        f"{files.url(path)} is not a whole commit record: {fault}.",
        hint=ADVICE,
    )
