"""Untrusted text files: detects the kind of file and its encoding.

UTF-8 is tried first, since hardly anything else passes for it. What is not UTF-8 could be several things: whoever knows
which parts of the text matter reads them in each encoding, and ``fitting_of`` says which readings make sense.
"""

from __future__ import annotations

import codecs
import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gliolake import limits
from gliolake.errors import InputError

CSV_AGAIN = "Export the table as CSV, in UTF-8."

_KINDS = (
    (b"PK\x03\x04", "a ZIP archive, as spreadsheets (XLSX, ODS) are"),
    (b"\xd0\xcf\x11\xe0", "a spreadsheet of old Excel (XLS)"),
    (b"%PDF", "a PDF"),
    (b"\x1f\x8b", "compressed by gzip"),
    (b"BZh", "compressed by bzip2"),
    (b"\xfd7zXZ", "compressed by xz"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"{\\rtf", "a text of a word processor (RTF)"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
)
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_MARKUP = re.compile(r"\s*<(!doctype|html|table|\?xml|head|body|meta)\b", re.IGNORECASE)

_DOS = "cp850"
"""Counts only where Western Windows makes no sense: it reads some German of Windows as Portuguese."""

GUESSES = ("cp1252", "cp1250", "mac_roman", _DOS)
"""Western Windows (Latin-1 is the same with fewer signs), Central European Windows, the Mac, and DOS."""

_SIGNS = frozenset("°±µ²³½¼€–—‘’‚“”„…•× ")
_WITHIN_WORDS = frozenset("’–")
_ODD_LETTERS = frozenset("ﬁﬂƒıªºˆˇ")
_WORDS_OF_ONE_LETTER = frozenset("àÀáéèòóôöÖåÅ")
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class TextFile:
    """A file's bytes and, where it is plain, their text; "" stands for an encoding that has to be found."""

    path: Path
    data: bytes
    sha256: str
    encoding: str

    def text(self, encoding: str = "") -> str:
        """The text, composed (NFC) and with line ends as ``\\n``. What the encoding lacks becomes U+FFFD."""
        text = self.data.decode(encoding or self.encoding, "replace").removeprefix("\ufeff").rstrip("\x1a\0")
        return unicodedata.normalize("NFC", re.sub(r"\r*\n|\r", "\n", text) if "\r" in text else text)


def read_text(path: Path, encoding: str = "") -> TextFile:
    """Read a text file whole.

    Args:
        path: the file.
        encoding: what it is written in if it is not UTF-8, "" where nobody said.

    Raises:
        InputError: it cannot be read, is too large, is no text, or is not in the encoding that was given.
    """
    try:
        data = limits.read_whole(path, limits.TABLE)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "that is no path"
        raise InputError(f"{path} cannot be read: {reason}.", hint="Check the path.") from None
    if kind := next((kind for mark, kind in _KINDS if data.startswith(mark)), None):
        raise InputError(f"{path} is no CSV file but {kind}.", hint=CSV_AGAIN)
    file = TextFile(path, data, hashlib.sha256(data).hexdigest(), _encoding(path, data, encoding))
    text = file.text(file.encoding or "latin-1")
    if _MARKUP.match(text):
        raise InputError(f"{path} is no CSV file but a page or a table in HTML or XML.", hint=CSV_AGAIN)
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise InputError(f"{path} is no text file: line {line:,} holds a zero byte.", hint=CSV_AGAIN)
    return file


def _encoding(path: Path, data: bytes, given: str) -> str:
    marked = next((name for mark, name in _MARKS if data.startswith(mark)), "")
    start = data[:200].rstrip(b"\0")
    if not marked and start.count(b"\0") * 4 >= len(start) > 1:  # of ASCII in UTF-16, every second byte is 0
        marked = "utf-16-be" if data[0] == 0 else "utf-16-le"
    for encoding in [marked] if marked else ["utf-8", *filter(None, [given])]:
        try:
            codecs.lookup(given or encoding)
            data.decode(encoding)
            return encoding
        except LookupError:
            raise InputError(
                f"There is no text encoding named {given!r}.", hint="Known are e.g. cp1252, cp1250 and mac_roman."
            ) from None
        except UnicodeError as error:
            if encoding in (marked, given):
                line = data[: getattr(error, "start", 0)].count(b"\n") + 1
                raise InputError(f"{path}, line {line:,}, is not {encoding}.", hint=CSV_AGAIN) from None
    return ""


def fitting_of(readings: Mapping[str, str]) -> tuple[str, ...]:
    """The encodings in which a text makes sense; of several that read it in the same way, the first.

    Args:
        readings: encoding, of those in ``GUESSES``, -> the text as it reads it.
    """
    sensible = [name for name in GUESSES if name in readings and makes_sense(readings[name])]
    if sensible and sensible[0] == GUESSES[0]:
        sensible = [name for name in sensible if name != _DOS]
    by_text = {readings[name]: name for name in reversed(sensible)}
    return tuple(sorted(by_text.values(), key=GUESSES.index))


def makes_sense(text: str) -> bool:
    """Whether what is not ASCII in a text stands where it does in texts of European languages."""
    if text.isascii():
        return True
    for place, sign in enumerate(text):
        if not sign.isascii() and not sign.isalpha():
            between = text[place - 1 : place].isalpha() and text[place + 1 : place + 2].isalpha()
            if sign not in _SIGNS or (between and sign not in _WITHIN_WORDS):
                return False
    return all(_is_word(word) for word in _WORD.findall(text) if not word.isascii())


def _is_word(word: str) -> bool:
    foreign = sum(not letter.isascii() for letter in word)
    if {*word} & _ODD_LETTERS or (len(word) > 2 and foreign * 2 > len(word)):
        return False
    if len(word) == 1:
        return word in _WORDS_OF_ONE_LETTER
    for place in range(1, len(word)):
        before, letter = word[place - 1], word[place]
        if before.isascii() and letter.isascii():
            continue
        if before.islower() and letter.isupper():
            return False
        if letter.islower() and word[max(place - 2, 0) : place].isupper() and place > 1:
            return False
    return True
