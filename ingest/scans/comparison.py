"""Compares an images folder with the scans in the lake: new, unchanged and missing scans.

One rule for what is gone. A known scan none of whose files is there keeps its row, whether its folder is left or not:
an absence states nothing, the disk may not be mounted. A known scan that lost some of its files is judged by those
that are left. When many lost files at once nothing is changed for any of them, and that is a problem until the files
are back or the user says that they are gone for good: then the rows of those that have none left go, and so does what
``exclusions`` say of them.

Two sites may use the same ids. A scan that is known stays as it is, and what bears its id in another folder, of the
same images folder or of another, is left out by name.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from gliolake.ingest.cohorts.description import Cohort, known_cohorts
from gliolake.ingest.exclusions import CHANGED_FILE, MANY_GONE, NOT_A_FILE, SAME_ID, UNLISTED, Row, exclusion
from gliolake.ingest.scans.boxes import Boxes, attach_boxes, known_boxes, unused_boxes
from gliolake.ingest.scans.discovery import STEP, Found, find_scans, fingerprint
from gliolake.ingest.scans.model import FoundFile, FoundScan
from gliolake.ingest.scans.nearest import nothing_found
from gliolake.ingest.scans.same_id import folder_of, lies_below, lies_elsewhere, same_id, uris_of

if TYPE_CHECKING:
    from gliolake.storage.lake import Lake

FEW = 2
"""Scans that may lose files at once without a question, however few there are."""

SHARE = 0.1
"""Share of a folder's known scans that may lose files at once without a question, however many they are."""

GONE_OPTION = "--vanished-are-gone"


@dataclass(frozen=True)
class News:
    """What an images folder holds that the lake does not know, and what it no longer holds.

    found: scans that are there. waiting: those to be read. exclusions: rows for what is no part of any scan.
    unused: rows for boxes that serve no scan, None where no file of boxes was given. vanished: known scans without a
    file. removed: those of them whose rows go. cleared: rows of ``exclusions`` about what is gone. problems: what is
    wrong with the folder as a whole.
    """

    root: Path
    found: int
    waiting: list[FoundScan]
    exclusions: list[Row]
    unused: list[Row] | None
    vanished: list[str]
    removed: list[str]
    cleared: list[Row]
    problems: list[str]


def compare(
    lake: Lake,
    cohort: Cohort,
    images: Path,
    given: Boxes | None,
    *,
    linked: bool,
    moved: bool,
    gone: bool,
    reread: bool,
) -> News:
    """Compare the folder with the lake.

    Args:
        lake, cohort, images: the lake, the cohort's description, its images folder.
        given: boxes, where the user gave a file of them.
        linked: whether links may leave the folder.
        moved: whether scans that were not taken, as their ids were known from another folder, are to be read.
        gone: whether known scans that are not there are gone for good.
        reread: whether all scans are to be read, known or not.

    Raises:
        InputError: there is no file of any scan, or as ``find_scans``.
    """
    known = _fingerprints(lake, cohort, moved=moved)
    if reread:
        known = dict.fromkeys(known, ())
    boxes = given.of_scan if given else known_boxes(lake, cohort)
    without_box = {scan_id: seen for scan_id, seen in known.items() if scan_id not in boxes}
    found = find_scans(cohort, images, without_box, linked=linked, may_be_gone=gone)
    rows = _known_files(lake, cohort, found)
    doubles = _set_aside_doubles(cohort, found, rows)
    unused = unused_boxes(cohort, given, found.scans, {*known}) if given else None
    absent = _Absent.among(found, rows, cohort.images.roles if cohort.images else ())
    keep = absent.many and not gone
    restated = [*found.exclusions, *doubles]
    problems = [_unlisted(found.unlisted)] if found.unlisted else []
    if keep:
        problems.append(absent.told(found.root))
        restated.append(exclusion(cohort.name, "", STEP, MANY_GONE, problems[-1], source=str(found.root)))
    emptied = {
        scan.scan_id for scan in found.scans if gone and scan.scan_id in known and not any(map(_is_there, scan.files))
    }
    cleared = _cleared(lake, cohort, found, restated, emptied, keep=keep)
    if not found.files and not found.unlisted and not (gone and (absent.vanished or cleared)):
        raise nothing_found(cohort, found, known_cohorts(lake), len(absent.vanished), GONE_OPTION)
    # Not judged by what is there now:
    aside = {*absent.hidden, *absent.vanished, *emptied, *(absent.losing if keep else ())}
    waiting = [
        scan
        for scan in attach_boxes(found.scans, boxes)
        if scan.fingerprint not in known.get(scan.scan_id, ()) and scan.scan_id not in aside
    ]
    return News(
        root=found.root,
        found=len(found.present - {*absent.vanished, *emptied}),
        waiting=waiting,
        exclusions=restated,
        unused=unused,
        vanished=absent.vanished,
        removed=absent.vanished if gone else [],
        cleared=cleared,
        problems=problems,
    )


@dataclass
class _Absent:
    """Known scans of a folder that lost files: all of them, or some; and those of which nothing is known now, since
    they lie in folders that could not be listed."""

    known: int = 0
    vanished: list[str] = field(default_factory=list)
    losing: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)

    @classmethod
    def among(cls, found: Found, rows: Sequence[Row], roles: Collection[str]) -> _Absent:
        """Those among rows of table scans whose scans are not as they were. Files of other roles are no loss."""
        absent = cls(known=len(found.unchanged))
        now = {scan.scan_id: scan.files for scan in found.scans}
        for row in rows:
            scan_id, files = row["scan_id"], now.get(row["scan_id"], ())
            if any(Path(file["uri"]).is_relative_to(folder) for file in row["files"] for folder in found.unlisted):
                absent.hidden.append(scan_id)
            elif lies_below(row, found.root):
                absent.known += 1
                usable = {file.role for file in files if file.bytes and not file.refused}
                if not any(map(_is_there, files)):
                    absent.vanished.append(scan_id)
                elif {file["role"] for file in row["files"]}.intersection(roles) - usable:
                    absent.losing.append(scan_id)
                    absent.refused |= {file.refused for file in files if file.refused}
        return absent

    @property
    def many(self) -> bool:
        lost = len(self.vanished) + len(self.losing)
        return lost > FEW and lost > SHARE * self.known

    def told(self, root: Path) -> str:
        return (
            f"Of {self.known:,} known scans of {root}, {len(self.vanished):,} have no file left and "
            f"{len(self.losing):,} lost some{''.join(f' ({why})' for why in sorted(self.refused))}. Nothing was "
            f"changed for them. Bring the files back; or give {GONE_OPTION} if they are gone for good."
        )


def _is_there(file: FoundFile) -> bool:
    """A link that leads nowhere, and a series without a slice, are what is left of a file that is gone."""
    return file.refused != NOT_A_FILE and not (file.uri.endswith("/") and not file.bytes and not file.refused)


def _unlisted(folders: Sequence[str]) -> str:
    shown = ", ".join(folders[:3]) + (", …" if len(folders) > 3 else "")
    return (
        f"Folders that could not be listed: {len(folders):,} ({shown}). Known scans below them were left as they are. "
        "Let the user who ingests list them (read and search permission), then ingest again."
    )


def _fingerprints(lake: Lake, cohort: Cohort, *, moved: bool) -> dict[str, Collection[str]]:
    """Scan id -> fingerprints of its files when they were last judged; none where they are to be read in any case."""
    columns = ["scan_id", "fingerprint"]
    scans = lake.read("scans", {"cohort": cohort.name}, columns)
    known: dict[str, set[str]] = {
        scan_id: {digest} for scan_id, digest in zip(*(column.to_pylist() for column in scans.columns), strict=True)
    }
    excluded = lake.read("exclusions", {"cohort": cohort.name}, [*columns, "step", "reason"]).to_pylist()
    again = set()
    for row in sorted(excluded, key=lambda row: row["reason"] == SAME_ID):
        scan_id, digest = row["scan_id"], row["fingerprint"]
        if row["reason"] == CHANGED_FILE:
            if digest in known.get(scan_id, ()):  # neither size nor time told that it was changed
                again.add(scan_id)
        elif row["step"] == STEP:
            if not digest or (row["reason"] == SAME_ID and (moved or scan_id not in known)):
                again.add(scan_id)
            known.setdefault(scan_id, set()).add(digest)
    return {scan_id: () if scan_id in again else digests for scan_id, digests in known.items()}


def _known_files(lake: Lake, cohort: Cohort, found: Found) -> list[Row]:
    """Rows of table scans that are not unchanged: their ids and files."""
    ids = lake.read("scans", {"cohort": cohort.name}, ["scan_id"])["scan_id"]
    other = pc.invert(pc.is_in(ids, pa.array(found.unchanged, pa.string())))
    if not pc.any(other).as_py():
        return []
    return lake.read("scans", {"cohort": cohort.name}, ["scan_id", "files"]).filter(other).to_pylist()


def _set_aside_doubles(cohort: Cohort, found: Found, rows: Iterable[Row]) -> list[Row]:
    """Reduce each known scan to the files in the folders that it is known from, where others hold the same roles.

    Returns the rows of ``exclusions`` for the others. Scans that are not known are left as they were found.
    """
    known_uris = {row["scan_id"]: uris_of(row) for row in rows}
    doubles: list[Row] = []
    for place, scan in enumerate(found.scans):
        if cohort.images is None or len({file.role for file in scan.files}) == len(scan.files):
            continue
        folders = {os.path.realpath(folder_of(uri)) for uri in known_uris.get(scan.scan_id, ())}
        known = [file for file in scan.files if os.path.realpath(folder_of(file.uri)) in folders]
        others = [file for file in scan.files if file not in known]
        if {file.role for file in known}.intersection(file.role for file in others):
            here, there = (min(folder_of(file.uri) for file in files) for files in (known, others))
            doubles.append(same_id(replace(scan, folder=there), here))
            digest = fingerprint(cohort.images, here, known, scan.alike)
            found.scans[place] = replace(scan, folder=here, files=tuple(known), fingerprint=digest)
    return doubles


def _cleared(
    lake: Lake, cohort: Cohort, found: Found, restated: Iterable[Row], emptied: Set[str], *, keep: bool
) -> list[Row]:
    """Exclusions of this folder about what it no longer holds, and of folders that are no more.

    With ``keep``, those of scans stay. ``emptied``: scans of which only a folder is left, and that are gone for good.
    """
    excluded = lake.read("exclusions", {"cohort": cohort.name, "step": STEP}).to_pylist()
    seen = found.present - emptied | {row["scan_id"] for row in restated}
    folders = {row["source"] for row in restated if not row["scan_id"]}

    def is_gone(row: Row) -> bool:
        if lies_elsewhere(row, found.root):
            return not row["scan_id"] and not os.path.lexists(row["source"])
        if row["reason"] in (UNLISTED, MANY_GONE):
            return row["source"] not in folders
        if row["reason"] == SAME_ID and not os.path.lexists(row["source"]):
            return True
        hidden = any(Path(row["source"]).is_relative_to(folder) for folder in found.unlisted)
        return row["scan_id"] not in seen and not hidden and not keep

    return [row for row in excluded if is_gone(row)]
