"""The log of a lake: numbered records, each naming the files that one commit added and removed.

A record is a JSON file ``_log/<number>.json``. Numbers have no gaps, and a record is created only if its number is
free, so commits are in one order that all readers agree on, and a commit is visible as a whole or not at all.
The state of the lake at a version is what remains after its records are replayed. Every ``CHECKPOINT_EVERY``
records the state is also written out, so that opening a lake costs the records since then and not all of them.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Any

from lake.errors import DamagedFile, GliolakeError, NewerLake
from lake.files import Files

FORMAT = 1
"""Version of everything this module writes. A lake with a larger one is refused."""

FOLDER = "_log"
CHECKPOINT_EVERY = 50


@dataclass(frozen=True)
class DataFile:
    """A Parquet file of a table.

    ``partition`` maps the table's partition columns to this file's values; ``first`` and ``last`` are its smallest
    and largest primary key, by which most files are passed over when a key is looked for.
    """

    table: str
    path: str
    partition: Mapping[str, str]
    rows: int
    bytes: int
    sha256: str
    first: tuple[Any, ...]
    last: tuple[Any, ...]


@dataclass(frozen=True)
class Record:
    """One commit: what it added, the paths it removed, the run it belongs to, and when (ISO 8601, UTC)."""

    version: int
    run_id: str
    committed: str
    added: tuple[DataFile, ...]
    removed: tuple[DataFile, ...]

    def touches(self) -> Iterator[DataFile]:
        """The files added and removed."""
        yield from self.added
        yield from self.removed


@dataclass(frozen=True)
class State:
    """The lake at a version: its files by path. Version 0 is an empty lake."""

    version: int = 0
    files: Mapping[str, DataFile] = field(default_factory=dict)

    def after(self, record: Record) -> State:
        """The state once ``record`` is applied.

        Raises:
            GliolakeError: the record is not the next one, or removes a file that is not there.
        """
        files = dict(self.files)
        for file in record.removed:
            if files.pop(file.path, None) is None:
                raise GliolakeError(f"Commit {record.version} removes {file.path}, which no commit before it added.")
        files.update((file.path, file) for file in record.added)
        return State(record.version, files)

    def of_table(self, table: str, partition: Mapping[str, Any] | None = None) -> list[DataFile]:
        """The files of a table, in the order of their paths, whose partition agrees with ``partition``."""
        wanted = {key: str(value) for key, value in (partition or {}).items()}
        return sorted(
            (
                file
                for file in self.files.values()
                if file.table == table and all(file.partition.get(key, value) == value for key, value in wanted.items())
            ),
            key=lambda file: file.path,
        )


def record_path(version: int) -> str:
    """Where the record of this number lies."""
    return f"{FOLDER}/{version:020d}.json"


def checkpoint_path(version: int) -> str:
    """Where the state at this version lies, if it was written out."""
    return f"{FOLDER}/{version:020d}.state.json"


def read_record(files: Files, version: int) -> Record | None:
    """The record of this number, or None where there is none yet.

    Raises:
        NewerLake: a newer gliolake wrote it.
        DamagedFile: it is not a whole record.
    """
    path = record_path(version)
    data = files.get(path)
    if data is None:
        return None
    content = _parse(files, path, data)
    try:
        run_id, committed = str(content["run_id"]), str(content["committed"])
        return Record(version, run_id, committed, _files(content["added"]), _files(content["removed"]))
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(files, path, error) from error


def write_record(files: Files, record: Record) -> bool:
    """Make a commit visible; False where another commit took the number first."""
    # The mark makes a record unlike that of a rival who commits the same at the same moment (``Files.create``).
    content = {"format": FORMAT, "mark": uuid.uuid4().hex, **asdict(record)}
    return files.create(record_path(record.version), _encode(content))


def write_checkpoint(files: Files, state: State) -> None:
    """Write the state out. Any process may: the content is a function of the version."""
    content = {
        "format": FORMAT,
        "version": state.version,
        "files": [asdict(state.files[p]) for p in sorted(state.files)],
    }
    files.put(checkpoint_path(state.version), _encode(content))


def latest_state(files: Files, known: State | None = None) -> tuple[State, list[Record]]:
    """The newest state, and the records read to reach it from ``known`` or from the newest checkpoint."""
    state = _newest_checkpoint(files) if known is None else known
    read: list[Record] = []
    while record := read_record(files, state.version + 1):
        state = state.after(record)
        read.append(record)
    return state, read


def _newest_checkpoint(files: Files) -> State:
    found = sorted((e.path for e in files.list(FOLDER) if e.path.endswith(".state.json")), reverse=True)
    for path in found:
        data = files.get(path)
        try:
            content = _parse(files, path, data or b"")
            if type(content["version"]) is not int or checkpoint_path(content["version"]) != path:
                raise ValueError("it is the state at another version")
            return State(content["version"], {file.path: file for file in _files(content["files"])})
        except (DamagedFile, KeyError, TypeError, ValueError):
            continue  # an older checkpoint, or the records alone, give the same state
    return State()


def _files(entries: list[dict[str, Any]]) -> tuple[DataFile, ...]:
    """The data files that a record names. Raises KeyError, TypeError or ValueError where one is not what it has to be.

    A lake may come from a stranger: a path that leaves it would have other files read, or deleted, in its name.
    """
    found = tuple(
        DataFile(**{**entry, "first": tuple(entry["first"]), "last": tuple(entry["last"])}) for entry in entries
    )
    for file in found:
        if not isinstance(file.path, str) or file.path.startswith("/") or ".." in PurePosixPath(file.path).parts:
            raise ValueError(f"it names {file.path!r}, which is no file of a lake")
        if not all(isinstance(text, str) for text in (file.table, file.sha256, *file.partition.values())):
            raise ValueError(f"what it says of {file.path} is not text")
        if not all(isinstance(count, int) and count >= 0 for count in (file.rows, file.bytes)):
            raise ValueError(f"{file.path} has no number of rows or bytes")
    return found


def _encode(content: dict[str, Any]) -> bytes:
    digest = hashlib.sha256(_canonical(content)).hexdigest()
    return _canonical({**content, "sha256": digest}) + b"\n"


def _canonical(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":"), sort_keys=True).encode()


def _parse(files: Files, path: str, data: bytes) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(data)
        version, digest = content["format"], content.pop("sha256", None)
        if type(version) is not int:
            raise ValueError(f"its format is {version!r}")
        if version <= FORMAT and digest != hashlib.sha256(_canonical(content)).hexdigest():
            raise ValueError("its own sha256 does not match")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(files, path, error) from error
    if version > FORMAT:
        raise NewerLake(
            f"The lake at {files.root} was written by a newer gliolake, in format {version}; this one reads {FORMAT}.",
            hint="Update gliolake, or open the lake with the version that wrote it.",
        )
    return content


def _damaged(files: Files, path: str, error: Exception) -> DamagedFile:
    return DamagedFile(
        f"{files.url(path)} is not a whole commit record: {error}.",
        hint="Restore this file from a backup; the commits after it cannot be read without it.",
    )
