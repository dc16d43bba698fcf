"""Cells of tables: what counts as missing, and numbers as spreadsheets, R and people write them."""

from __future__ import annotations

import re

MISSING = frozenset(
    ["", "na", "n/a", "#n/a", "<na>", "nan", "null", "none", "nil", "nd", "n.d.", "-", "--", "–", "—", ".", "..", "?",
     "missing", "unknown", "not available", "not known", "not recorded", "not reported", "not applicable",
     "#null!", "#num!", "#value!", "#ref!", "#div/0!", "#name?"]
)  # fmt: skip
"""What a cell says that knows nothing, in small letters. What a cohort's description gives a meaning to comes first."""

_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u00ad"))
_QUOTED = re.compile(r"=\"(.*)\"|'(.*)'|'(\d.*)", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_FRACTION = re.compile(r"[+-]?\d+,(\d{1,2}|\d{4,})", re.ASCII)
_AMERICAN = re.compile(r"[+-]?\d{1,3}(,\d{3})+\.\d+", re.ASCII)
_EUROPEAN = re.compile(r"[+-]?\d{1,3}(\.\d{3})+,\d+", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}([ ,'])\d{3}(?:\1\d{3})*", re.ASCII)
_SCIENTIFIC = re.compile(r"\d+([.,]\d+)?[eE][+-]?\d+", re.ASCII)
_DATE = re.compile(
    r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}( \d\d?:\d\d.*)?|\d{1,2}[-. /]+[a-z]{3,9}\.?([-. /]+\d{2,4})?|[a-z]{3}[- ]\d{2,4}",
    re.ASCII | re.IGNORECASE,
)


def clean(text: str) -> str:
    """A cell without what surrounds its text: blanks of all kinds, invisible signs, and quotes that force a text."""
    text = " ".join(text.translate(_INVISIBLE).split())
    found = _QUOTED.fullmatch(text)
    return next(group for group in found.groups() if group is not None).strip() if found else text


def number(text: str, *, comma: bool = False) -> float | None:
    """The number that a cell says, None for none. 66,5 is one; ``comma``: so is 1,303, which may be a thousand else."""
    text = text.replace("\N{MINUS SIGN}", "-")
    if _AMERICAN.fullmatch(text):
        text = text.replace(",", "")
    elif _EUROPEAN.fullmatch(text) or _FRACTION.fullmatch(text) or (comma and "." not in text):
        text = text.replace(".", "").replace(",", ".")
    return float(text) if _NUMBER.fullmatch(text) else None


def whole(text: str, *, comma: bool = False) -> int | None:
    """The whole number that a cell says: ``1``, ``1.0``, ``1 303``; None for none.

    With ``comma``, neither 1,303 nor 1.303 is plain: a thousand, or a fraction.
    """
    value = number(text, comma=comma)
    if value is not None and abs(value) < 2**53 and value == int(value):
        return int(value)
    grouped = _THOUSANDS.fullmatch(text)
    if grouped and not (comma and grouped[1] == ","):
        return int(text.replace(grouped[1], ""))
    return None


def spoilt(text: str) -> str:
    """What a spreadsheet probably made of a cell, in words; "" where there is no sign of that."""
    if _SCIENTIFIC.fullmatch(text):
        return "a number in scientific notation, as spreadsheets make of long ids"
    return "a date, as spreadsheets make of ids and ratios" if _DATE.fullmatch(text) else ""
