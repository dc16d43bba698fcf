"""Folders of scans: which files belong to which scan and role, by their names alone. Nothing is opened.

A cohort's patterns are matched against the end of each path: the images folder may be the cohort's own or one above it.
The folder of a DICOM series counts as one file; its URI ends in /. What is followed and what is refused:
``gliolake.ingest.scans.listing``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from unicodedata import normalize

from gliolake import limits
from gliolake.errors import InputError
from gliolake.ingest.cohorts.description import Cohort, ImageRules
from gliolake.ingest.cohorts.patterns import PatternTooSlow
from gliolake.ingest.cohorts.scan_ids import ScanName
from gliolake.ingest.exclusions import (
    LEAVES,
    NOT_A_FILE,
    TOO_DEEP,
    UNLISTED,
    UNREADABLE_ID,
    UNREADABLE_NAME,
    Row,
    exclusion,
)
from gliolake.ingest.scans.listing import Entry, Listing, walk
from gliolake.ingest.scans.model import FoundFile, FoundScan
from gliolake.ingest.scans.path_patterns import Patterns, first_match
from gliolake.paths import absolute

if TYPE_CHECKING:
    pass

STEP = "images"

WHAT = {
    LEAVES: "it is, or holds, a symbolic link that leaves the images folder. If you made it on purpose, give "
    "--linked-images; or give a folder that has both.",
    NOT_A_FILE: "it is, or holds, no regular file but a pipe, a device, or a link that leads nowhere.",
    UNREADABLE_NAME: "its name is no UTF-8. Rename it.",
    TOO_DEEP: f"it lies more than {limits.FOLDERS_DEEP} folders deep.",
}
"""Why something below an images folder is not opened, in words."""


@dataclass
class Found:
    """What an images folder, ``root``, holds for a cohort: its scans, and rows for what is no part of any.

    unchanged: ids of scans that are as they were when their fingerprints were taken; ``scans`` has the others.
    files: how many of them have a file. unlisted: folders that could not be listed.
    """

    root: Path
    scans: list[FoundScan] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    exclusions: list[Row] = field(default_factory=list)
    files: int = 0
    unlisted: list[str] = field(default_factory=list)

    @property
    def present(self) -> set[str]:
        """Ids of all scans that are there."""
        return {*self.unchanged, *(scan.scan_id for scan in self.scans)}


def find_scans(
    cohort: Cohort,
    root: Path,
    known: Mapping[str, Container[str]] = MappingProxyType({}),
    *,
    linked: bool = False,
    may_be_gone: bool = False,
) -> Found:
    """The scans below ``root``, in the order of their ids.

    A folder that bears a scan's id and holds none of its files is a scan with no files, so that it is not overlooked.

    Args:
        cohort: its description.
        root: the images folder.
        known: scan id -> fingerprints of a scan of which nothing need be said while it has one of them.
        linked: whether links may leave the folder.
        may_be_gone: whether the folder need not be there: then nothing is found.

    Raises:
        InputError: ``root`` is no folder, cannot be listed, or holds more than any cohort, or the cohort's description
            says nothing of images.
    """
    if cohort.images is None:
        raise InputError(
            f"The description of {cohort.name} says nothing of images.", hint="Add an [images] section to it."
        )
    root = absolute(root)
    if not root.is_dir():
        if may_be_gone and not os.path.lexists(root):
            return Found(root)
        raise InputError(f"The images folder {root} is not a folder.", hint="Check --images.")
    sorting = _Sorting(cohort, cohort.images, root)
    for listing in walk(root, linked=linked):
        if listing.error and not listing.below:
            raise InputError(f"The images folder {root} cannot be listed: {listing.error}.", hint="Check --images.")
        try:
            sorting.take(listing)
        except PatternTooSlow as error:
            raise InputError(f"{error} They lie in {listing.path}.", hint=error.hint) from None
    return _grouped(sorting, known)


@dataclass
class _Named:
    """The files that bear a name, the folders that have it, and those of them that hold files."""

    files: list[FoundFile] = field(default_factory=list)
    places: set[str] = field(default_factory=set)
    places_of_files: set[str] = field(default_factory=set)


class _Sorting:
    """Files and folders of a walk, sorted by the names that their paths give."""

    def __init__(self, cohort: Cohort, rules: ImageRules, root: Path) -> None:
        self.cohort, self.rules, self.root = cohort, rules, root
        self.names: dict[str, _Named] = defaultdict(_Named)
        self.strange: list[Row] = []
        self.unlisted: list[str] = []
        self.found: set[str] = set()
        self._roles = {normalize("NFC", name): role for role, names in rules.roles.items() for name in names}
        self._patterns = Patterns(rules)

    def take(self, listing: Listing) -> None:
        """Sort what a folder is and holds."""
        if listing.error:
            self.unlisted.append(listing.path)
            detail = f"{listing.path} could not be listed: {listing.error}. Known scans below it are left as they are."
            self.strange.append(exclusion(self.cohort.name, "", STEP, UNLISTED, detail, source=listing.path))
        elif match := first_match(self._patterns.series, listing.below[:-1]):
            role = self._roles[match["role"]]
            if self._is_new(listing, match["scan_id"], listing.real):
                self._take(match["scan_id"], listing.path.rpartition("/")[0], found_series(role, listing))
        elif not listing.again and (match := first_match(self._patterns.folders, listing.below[:-1])):
            self._take(match["scan_id"], listing.path)
        for entry in listing.files:
            self._take_file(listing, entry)
        for entry in listing.folders:
            if entry.refused and not listing.again:
                self._take_refused(listing, entry)

    def _is_new(self, listing: Listing, name: str, real: str) -> bool:
        """Whether what is matched in a folder that a link leads to was not found as a scan's under its own name."""
        if self.cohort.ids.parse(name) is None:
            return not listing.again
        is_new = not (listing.again and real in self.found)
        self.found.add(real)
        return is_new

    def _take_file(self, listing: Listing, entry: Entry) -> None:
        if entry.refused == UNREADABLE_NAME:
            if not listing.again:
                self._take_strange(listing, entry)
        elif (match := first_match(self._patterns.files, listing.below + entry.name)) and self._is_new(
            listing, match["scan_id"], f"{listing.real}/{entry.name}"
        ):
            path = f"{listing.path}/{entry.name}"
            file = FoundFile(self._roles[match["role"]], path, entry.bytes, entry.mtime_ns, entry.refused)
            self._take(match["scan_id"], listing.path, file)

    def _take_refused(self, listing: Listing, entry: Entry) -> None:
        """A folder that is not entered."""
        path, relative = f"{listing.path}/{entry.name}", listing.below + entry.name
        if entry.refused in (UNREADABLE_NAME, TOO_DEEP):
            self._take_strange(listing, entry)
        elif match := first_match(self._patterns.series, relative):
            series = FoundFile(self._roles[match["role"]], f"{path}/", 0, entry.mtime_ns, entry.refused)
            self._take(match["scan_id"], listing.path, series)
        elif (match := first_match(self._patterns.folders, relative)) and self.cohort.ids.parse(match["scan_id"]):
            self._take(match["scan_id"], path, FoundFile("", f"{path}/", 0, entry.mtime_ns, entry.refused))
        else:
            self._take_strange(listing, entry)

    def _take(self, name: str, place: str, *files: FoundFile) -> None:
        named = self.names[name]
        named.places.add(place)
        named.files += files
        named.places_of_files |= {place} if files else set()

    def _take_strange(self, listing: Listing, entry: Entry) -> None:
        """A row for something that no scan's name leads to."""
        shown = (listing.below + entry.name).encode(errors="backslashreplace").decode()
        detail = f"{shown}: {WHAT[entry.refused]}"
        source = str(self.root / shown)
        name = shown[: limits.NAME]
        self.strange.append(exclusion(self.cohort.name, name, STEP, entry.refused, detail, source=source))


def found_series(role: str, listing: Listing) -> FoundFile:
    """The DICOM series in a folder.

    The folder's own time tells of slices that came, went or were renamed, the latest of its files of other content.

    One slice that is refused is enough for the whole series to be.
    """
    refused = next((file.refused for file in listing.files if file.refused), "")
    latest = max([listing.mtime_ns, *(file.mtime_ns for file in listing.files)])
    return FoundFile(role, f"{listing.path}/", sum(file.bytes for file in listing.files), latest, refused)


def _grouped(sorting: _Sorting, known: Mapping[str, Container[str]]) -> Found:
    """Files under all the names of a scan brought together: two folders of one scan are two files for each modality."""
    cohort = sorting.cohort
    found = Found(sorting.root, exclusions=sorting.strange, unlisted=sorting.unlisted)
    names_of: dict[str, list[tuple[str, ScanName, _Named]]] = defaultdict(list)
    for name, named in sorted(sorting.names.items()):
        parsed = cohort.ids.parse(name)
        if parsed is not None and (named.files or name == parsed.written_id):
            names_of[parsed.scan_id].append((name, parsed, named))
        elif any(os.path.realpath(file.uri) not in sorting.found for file in named.files):
            detail = f"{name!r} is no scan id of {cohort.name}, though its files are named like those of a scan."
            for source in sorted(named.places_of_files):
                found.exclusions.append(exclusion(cohort.name, name, STEP, UNREADABLE_ID, detail, source=source))
    spelt: dict[str, list[str]] = defaultdict(list)
    for scan_id in sorted(names_of):
        spelt[scan_id.casefold()].append(scan_id)
    order = {role: position for position, role in enumerate(["", *sorting.rules.roles])}
    for scan_id, names in sorted(names_of.items()):
        files = [file for *_, named in names for file in named.files]
        files.sort(key=lambda file: (order[file.role], file.uri))
        folder = min(place for *_, named in names for place in named.places)
        alike = tuple(ids) if len(ids := spelt[scan_id.casefold()]) > 1 else ()
        digest = fingerprint(sorting.rules, folder, files, alike)
        found.files += bool(files)
        if digest in known.get(scan_id, ()):
            found.unchanged.append(scan_id)
            continue
        source_id, parsed, _ = names[0]
        found.scans.append(
            FoundScan(
                cohort=cohort.name,
                scan_id=scan_id,
                source_id=source_id,
                subject_id=parsed.subject_id,
                visit_day=parsed.visit_day,
                folder=folder,
                files=tuple(files),
                fingerprint=digest,
                alike=alike,
            )
        )
    return found


def fingerprint(rules: ImageRules, folder: str, files: Sequence[FoundFile], alike: Sequence[str] = ()) -> str:
    """Digest of where a scan's files lie, of their sizes and times, and of the rules that they are judged by.

    Whole paths go in, since a scan's row gives them: a folder that has moved is read again and its rows follow it.
    """
    judged_by = [rules.patterns, sorted(rules.roles.items()), sorted(rules.mask_labels), rules.several_grids]
    return hashlib.sha256(
        json.dumps([judged_by, folder, [[*vars(file).values()] for file in files], *alike]).encode()
    ).hexdigest()
