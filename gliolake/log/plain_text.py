"""Untrusted text for a terminal: control characters and invisible characters are escaped.

Names of folders, cells and errors of libraries may hold escape sequences (which set the clipboard, or rewrite lines
above), characters that turn the direction of writing, and bytes that are no text. They appear as ``\\x1b`` and the
like. ``guarded`` sees to whatever is printed past our own consoles (``gliolake.cli.console``): tracebacks, logs,
warnings.
"""

from __future__ import annotations

import copy
import io
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, TextIO

_NOT_PLAIN = re.compile(r"[^ -~]")
_NOT_PLAIN_BUT_LINES = re.compile(r"[^ -~\n]")

_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]")
"""What Unicode calls letters or marks and shows as nothing (Default_Ignorable_Code_Point)."""


def shown(text: str, *, lines: bool = False) -> str:
    """The text with each character that is not simply seen written out; ``lines`` leaves line feeds as they are.

    Controls (C0, DEL, C1), format characters (among them those that turn the direction of writing, and those of no
    width), separators of lines and paragraphs, lone surrogates (bytes of names that are no UTF-8), private and
    unassigned characters become ``\\xNN``, ``\\uNNNN`` or ``\\UNNNNNNNN``.
    """
    return (_NOT_PLAIN_BUT_LINES if lines else _NOT_PLAIN).sub(lambda found: _visible(found[0]), text)


@cache
def _visible(character: str) -> str:
    if (character.isprintable() or unicodedata.category(character) == "Zs") and not _UNSEEN.match(character):
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 1 << 8 else f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}"


def without_passwords(text: str) -> str:
    """The text, in which addresses name no user and no password, whatever option they were given to."""
    return re.sub(r"(\b[A-Za-z][A-Za-z0-9+.-]+:/{1,3})[^\s\"']*@", r"\1…@", text)


def shown_within(value: Any) -> Any:
    """A report with all its texts ``shown``: those in dataclasses, lists, tuples and dictionaries.

    It is done before the report is laid out, so that columns have the widths that their cells need.
    """
    if isinstance(value, str):
        return shown(value)
    if type(value) is dict:
        return {shown_within(key): shown_within(each) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)([shown_within(each) for each in value])
    if is_dataclass(value) and not isinstance(value, type):
        made = copy.copy(value)
        for field in fields(value):
            object.__setattr__(made, field.name, shown_within(getattr(value, field.name)))
        return made
    return value


class Guarded:
    """A stream of text that writes out whatever would steer a terminal.

    Rich's consoles write past it, since they steer themselves; what they print is seen to by ``gliolake.cli.console``.
    """

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream

    def write(self, text: str) -> int:
        """Write the text, line feeds and tabs as they are."""
        self.rich_proxied_file.write("\t".join(shown(part, lines=True) for part in text.split("\t")))
        return len(text)

    def writelines(self, texts: Iterable[str]) -> None:
        """Write several."""
        for text in texts:
            self.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


@contextmanager
def guarded() -> Iterator[None]:
    """Inside, nothing that is printed steers the terminal, and what its encoding lacks is written out, too."""
    streams = sys.stdout, sys.stderr
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    guard_streams()
    try:
        yield
    except Exception:  # its traceback is printed later
        raise
    except BaseException:
        sys.stdout, sys.stderr = streams
        raise
    else:
        sys.stdout, sys.stderr = streams


def guard_streams() -> None:
    """From now on nothing that this process prints steers the terminal."""
    sys.stdout, sys.stderr = Guarded(sys.stdout), Guarded(sys.stderr)
