"""The shape of a text: letters and digits by class. Messages show it in place of a cell."""

from __future__ import annotations

import unicodedata
from itertools import groupby

_KEPT = " -_./,:;+@()"
_RUN = 8
_LONGEST = 30


def shape_of(text: str) -> str:
    """The text with A for a capital, a for another letter, 9 for a digit and * for most other signs.

    Runs and the whole are cut short, and a text without any letter or digit is only counted, so that no cell can be
    read from its shape: ``shape_of("Smith, John 5.3.1958") == "Aaaaa, Aaaa 9.9.9999"``.
    """
    composed = unicodedata.normalize("NFC", text).strip()
    if not composed:
        return "(empty)"
    classes = [_class(character) for character in composed if unicodedata.category(character)[0] != "M"]
    if not {*classes} & {*"Aa9"}:
        return f"({len(composed):,} sign{'s' * (len(composed) > 1)})"
    shape = ""
    for sign, run in groupby(classes):
        length = len(list(run))
        shape += sign * length if length <= _RUN else f"{sign * _RUN}…"
    return shape if len(shape) <= _LONGEST else f"{shape[: _LONGEST - 1]}…"


def _class(character: str) -> str:
    category = unicodedata.category(character)
    if category[0] == "L":
        return "A" if category in ("Lu", "Lt") else "a"
    if category[0] == "N":
        return "9"
    if category == "Zs":
        return " "
    return character if character in _KEPT else "*"
