"""Paths from users. Names on disk are bytes; a name that is not UTF-8 cannot be stored in a table or in JSON."""

from __future__ import annotations

import os
from pathlib import Path

from gliolake.errors import InputError


def absolute(path: str | Path) -> Path:
    """The path from the root on, without "..".

    Raises:
        InputError: it is no UTF-8.
    """
    whole = Path(path).absolute()
    if ".." in whole.parts:
        whole = Path(os.path.realpath(whole))
    check_text(str(whole))
    return whole


def check_text(path: str) -> None:
    """Raises InputError for a path, or any other argument, that is no UTF-8, or that Python did not read as such."""
    try:
        path.encode()
    except UnicodeEncodeError:
        if text := _as_utf8(path):
            raise InputError(
                f"{text} is not plain ASCII, and Python reads nothing else here.",
                hint="Set PYTHONUTF8=1, or a locale of UTF-8: LC_ALL=C.UTF-8.",
            ) from None
        shown = path.encode(errors="backslashreplace").decode()
        raise InputError(
            f"{shown} is no UTF-8: its bytes are of another encoding, such as Latin-1.",
            hint="Rename it, or give a link to it that has another name.",
        ) from None


def _as_utf8(path: str) -> str:
    """What the path's bytes say in UTF-8; nothing where they are none."""
    try:
        return os.fsencode(path).decode()
    except UnicodeError:
        return ""
