"""A scan before its files are opened: its files, and a tumour box from the user."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GivenBox:
    """A box as somebody gave it: its bounds, where it was read, and what is wrong with it, if anything is."""

    bounds: tuple[int, ...]
    place: str
    fault: str = ""


@dataclass(frozen=True)
class FoundFile:
    """A file on disk, or the folder of a DICOM series: then ``bytes`` is the sum of its files, ``mtime_ns`` the latest.

    refused: why it is not opened (``LEAVES``, ``NOT_A_FILE``), or "". A scan's own folder, if it is refused, stands
    among its files without a role.
    """

    role: str
    uri: str
    bytes: int
    mtime_ns: int
    refused: str = ""


@dataclass(frozen=True)
class FoundScan:
    """A scan's files, whatever their number, in the order of roles and names, before any of them is opened.

    alike: the ids, this one among them, that differ in nothing but capital and small letters; or none.
    """

    cohort: str
    scan_id: str
    source_id: str
    subject_id: str
    visit_day: int
    folder: str
    files: tuple[FoundFile, ...]
    fingerprint: str
    box: GivenBox | None = None
    alike: tuple[str, ...] = ()
