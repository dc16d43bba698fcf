"""Error classes: one root for all errors that gliolake raises, and a class for each case that a caller can handle.

A message says what is wrong and where; ``hint`` says what to do next. The command line prints both and no traceback.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class GliolakeError(Exception):
    """Something a person can put right. ``str(error)`` is the fact, ``error.hint`` the next step."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        # Errors travel from Dask workers, and the default reduction would drop the hint.
        return _rebuild, (type(self), str(self), self.hint)


def _rebuild(kind: type[GliolakeError], message: str, hint: str) -> GliolakeError:
    return kind(message, hint=hint)


class InputError(GliolakeError, ValueError):
    """An option, a file or a table handed to gliolake is not what it has to be."""


class NotALake(GliolakeError):
    """The folder holds no lake, or something else."""


class NewerLake(GliolakeError):
    """The lake was written by a gliolake that knows more than this one."""


class OlderLake(GliolakeError):
    """The lake was written by an older gliolake, in a format that this one does not read."""


class StorageFull(GliolakeError, OSError):
    """No space is left; nothing was committed."""


class ReadOnlyLake(GliolakeError, OSError):
    """The lake can be read but not written to; nothing was committed."""


class StorageUnreachable(GliolakeError, OSError):
    """The storage does not answer, fails or refuses; the last commit was made as a whole or not at all."""


class UnsuitedStorage(GliolakeError, OSError):
    """The storage lacks what a lake needs: two writers could overwrite each other's commits there."""


class DamagedFile(GliolakeError, OSError):
    """A committed file is missing, truncated, or holds other bytes than were committed."""


class StaleSnapshot(GliolakeError):
    """A file that was committed when a reader began is not in the lake any more: its rows were merged or replaced."""


class StagedFileGone(GliolakeError):
    """A file that was staged for a commit is no longer there; nothing names it."""


class Obstructed(DamagedFile):
    """A link or a file stands where a folder of the lake has to be; what lies behind it may be sound."""


class TooLarge(DamagedFile):
    """A file has more bytes than it may have; it was not read."""


class CommitConflict(GliolakeError):
    """Other processes kept changing what this commit rests on, for longer than it was willing to try again."""


class DuplicateKey(GliolakeError, ValueError):
    """Rows with this primary key are in the table already, or twice in one commit."""


class ClusterError(GliolakeError):
    """The Dask cluster cannot be reached, or lost its workers."""


NEXT_STEPS: dict[type[GliolakeError], str] = {
    Obstructed: "Look who put it there, and take it away. Links that you made on purpose are allowed by --linked-lake "
    "(GLIOLAKE_LINKED_LAKE=1).",
    DamagedFile: "`gliolake verify --repair` takes it out, to be made again.",
    StaleSnapshot: "Ask again; a connection has to be opened again for it.",
    StorageUnreachable: "Run the same command again.",
}
"""Of errors that come as text alone."""


def within(text: str) -> GliolakeError | None:
    """The error of ours that another library's text is about: DuckDB repeats what was raised as it read our files."""
    for name, said in re.findall(r"^(\w+): (.*)", text, re.MULTILINE):
        kind = globals().get(name)
        if isinstance(kind, type) and issubclass(kind, GliolakeError):
            hint = next((step for parent, step in NEXT_STEPS.items() if issubclass(kind, parent)), "")
            return kind(said, hint=hint)
    return None


def first_line(text: str) -> str:
    """What a library's error says in a line; of a traceback in it, the last one."""
    lines = text.strip().split("\n\n")[0].splitlines() or [""]
    return lines[-1] if lines[0].startswith("Traceback") else lines[0]


def unknown_name(kind: str, name: str, known: Iterable[str], *, hint: str = "") -> InputError:
    """An error for a name that is not among ``known``, with the nearest ones as a suggestion."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        hint = f"Did you mean {' or '.join(near)}? {hint}".strip()
    elif names:
        hint = f"Known: {', '.join(names)}. {hint}".strip()
    return InputError(f"There is no {kind} named {name!r}.", hint=hint)


def check_choice(kind: str, name: str, known: Iterable[str], *, hint: str = "") -> str:
    """The name, if it is among ``known``.

    Raises:
        InputError: it is not; see ``unknown_name``.
    """
    if name not in known:
        raise unknown_name(kind, name, known, hint=hint)
    return name
