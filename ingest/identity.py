"""What in a text may tell who a patient is, or who handled the data: dates, names, numbers, addresses, host names.

These are patterns, and patterns know forms, not people: a name written like any other word goes unseen. What must not
come in at all is kept out where files are read (``ingest.dicom``, ``features.volumes.pack``), not here.
"""

from __future__ import annotations

import re
from functools import lru_cache

DATE, NAME, UID, NUMBER, MAIL = "date", "person's name", "DICOM UID", "patient's or accession number", "e-mail address"
USER_PATH, HOST, TEXT = "path with a user's name", "host name", "text that gliolake does not write"

_TOP = "com|org|net|edu|gov|info|io|cloud|eu|de|at|ch|uk|fr|it|es|nl|be|se|no|dk|fi|pl|us|ca|au|jp|cn|in|br"
_PRIVATE = "local|lan|localdomain|internal|intranet|corp|home|hospital|clinic"
_YEAR, _MONTH, _DAY = r"(?:19|20)\d\d", r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])"

KINDS: dict[str, re.Pattern[str]] = {
    DATE: re.compile(
        rf"(?<![\w.]){_YEAR}(?P<by>[-/._]?){_MONTH}(?P=by){_DAY}(?=T?\d{{6}}(?!\w)|T\d\d:|(?![\w]))"
        rf"|(?<![\w.])(?:{_DAY}[./-]{_MONTH}|{_MONTH}[/-]{_DAY})[./-]{_YEAR}(?!\w)"
    ),
    NAME: re.compile(r"[^\W\d_][^\W\d_' -]*\^+[^\W\d_]|\b(?:Dr|Prof|Mr|Mrs|Ms|Herr|Frau)\.? [^\W\d_a-z][^\W\d_]+"),
    UID: re.compile(r"(?<![\w.])[012](?:\.(?:0|[1-9]\d*)){4,}(?!\w)"),
    NUMBER: re.compile(
        r"\b(?:accession|acc\.? ?no|mrn|patient[ _']?s?[ _]?(?:id|name|number)|birth[ _]?date|dob|ssn)\b\W{0,3}\w",
        re.IGNORECASE,
    ),
    MAIL: re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    USER_PATH: re.compile(
        r"(?<![\w])/(?:home|Users|export/home|var/home)/[^/\s\"']+|[A-Za-z]:[\\/]+Users[\\/]+[^\\/\s]|(?<![\w/])~\w+/",
    ),
    HOST: re.compile(
        rf"(?<![\w@.-])(?:[a-z\d](?:[a-z\d-]*[a-z\d])?\.)+(?:{_TOP}|{_PRIVATE})(?![\w.-])"
        r"|(?<!\\)\\\\[\w.-]+\\|\b(?:smb|nfs|cifs|ssh|sftp|ftp)://[\w.-]+"
    ),
}
"""By kind, the forms that it has."""


@lru_cache(maxsize=1 << 16)
def kinds_in(text: str) -> tuple[str, ...]:
    """The kinds of identity whose forms occur in a text, in the order of ``KINDS``."""
    return tuple(kind for kind, pattern in KINDS.items() if pattern.search(text))


def shape_of(text: str, kind: str) -> str:
    """What was found, with an a for each letter and a 9 for each digit: enough to know it by, too little to tell it."""
    match = KINDS[kind].search(text) if kind in KINDS else None
    found = match[0] if match else text
    shape = re.sub(r"[^\W\d_]", "a", re.sub(r"\d", "9", found))
    return shape if len(shape) <= 40 else shape[:39] + "…"
