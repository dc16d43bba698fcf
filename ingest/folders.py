"""Folders of scans: which files belong to which scan and role, by their names alone. Nothing is opened.

A cohort's patterns are matched against the end of each path: the images folder may be the cohort's own or one above it.
The folder of a DICOM series counts as one file; its URI ends in /. Links within the images folder are followed; one
that leaves it is refused, and so is what is neither file nor folder: a stranger's archive could name any file so.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from json.encoder import encode_basestring_ascii as _json
from operator import itemgetter
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from ingest.boxes import GivenBox
from ingest.cohort import Cohort, ImageRules
from ingest.exclusions import LEAVES, NOT_A_FILE, TOO_DEEP, UNREADABLE_ID, UNREADABLE_NAME, Row, exclusion
from ingest.ids import ScanName
from ingest.listing import FILE, FOLDER, LINK, Ahead, Entry, entries_of
from lake import limits
from lake.errors import InputError

STEP = "images"

WHAT = {
    LEAVES: "it is, or holds, a symbolic link that leaves the images folder. Copy what it leads to into the folder, or "
    "give as --images a folder that has both.",
    NOT_A_FILE: "it is, or holds, no regular file but a pipe, a device, or a link that leads nowhere.",
    UNREADABLE_NAME: "its name is no UTF-8. Rename it.",
    TOO_DEEP: f"it lies more than {limits.FOLDERS_DEEP} folders deep.",
}
"""Why something below an images folder is not opened, in words."""


class FoundFile(NamedTuple):
    """A file on disk, or the folder of a DICOM series: then ``bytes`` is the sum of its files, ``mtime_ns`` the latest.

    refused: why it is not opened (``LEAVES``, ``NOT_A_FILE``), or "". A scan's own folder, if it is refused, stands
    among its files without a role.
    """

    role: str
    uri: str
    bytes: int
    mtime_ns: int
    refused: str = ""


_File: TypeAlias = tuple[str, str, int, int, str]
"""What a ``FoundFile`` has, as long as nobody asks for it by name: a tenth of its cost, half a million times."""


@dataclass(frozen=True)
class FoundScan:
    """A scan's files, whatever their number, in the order of roles and names, before any of them is opened."""

    cohort: str
    scan_id: str
    source_id: str
    subject_id: str
    visit_day: int
    folder: str
    files: tuple[FoundFile, ...]
    fingerprint: str
    box: GivenBox | None = None


@dataclass
class Found:
    """What an images folder, ``root``, holds for a cohort: its scans, and rows for what is no part of any.

    unchanged: ids of scans that are as they were when their fingerprints were taken; ``scans`` has the others.
    """

    root: Path
    scans: list[FoundScan] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    exclusions: list[Row] = field(default_factory=list)

    @property
    def present(self) -> set[str]:
        """Ids of all scans that are there."""
        return {*self.unchanged, *(scan.scan_id for scan in self.scans)}


@contextmanager
def nothing_collected() -> Iterator[None]:
    """While scans are gathered Python looks for no garbage: there is none, and looking costs a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def listed_ahead(cohort: Cohort, root: Path) -> Ahead:
    """A second process that lists an images folder from now on: ``find_scans`` takes its word, to be done sooner.

    Raises:
        InputError: ``root`` is no folder, or the cohort's description says nothing of images.
    """
    rules = _image_rules(cohort)
    if not root.is_dir():
        raise InputError(f"The images folder {root} is not a folder.", hint="Check --images.")
    patterns, _, _ = _matchers(rules, _roles(rules))
    return Ahead(str(root.absolute()), patterns)


def _image_rules(cohort: Cohort) -> ImageRules:
    if cohort.images is None:
        raise InputError(
            f"The description of {cohort.name} says nothing of images.", hint="Add an [images] section to it."
        )
    return cohort.images


def find_scans(
    cohort: Cohort, root: Path, known: Mapping[str, str] = MappingProxyType({}), ahead: Ahead | None = None
) -> Found:
    """The scans below ``root``, in the order of their ids.

    A folder that bears a scan's id and holds none of its files is a scan with no files, so that it is not overlooked.

    Args:
        cohort: its description.
        root: the images folder.
        known: scan id -> fingerprint of a scan of which nothing need be told while it has this one.
        ahead: what ``listed_ahead`` began for this cohort and folder; begun here where None.

    Raises:
        InputError: ``root`` is no folder or holds more than any cohort, or the cohort's description says nothing of
            images.
    """
    with ahead or listed_ahead(cohort, root) as listing:
        root = root.absolute()
        sorting = _Sorting(cohort, _image_rules(cohort), root, os.path.realpath(root))
        for place in _walk(root, sorting.real_root, listing):
            sorting.take_files(place)
            sorting.take_folders(place)
    return _grouped(root, cohort, sorting, known)


@dataclass(slots=True)
class _Named:
    """What bears a name: its files, where they lie, and what the name says: None where it is none of the cohort's.

    fingerprint: of the files in their order, as long as they are of one folder; or "".
    """

    files: list[_File] = field(default_factory=list)
    places: set[str] = field(default_factory=set)
    parsed: ScanName | None = None
    fingerprint: str = ""


class _Sorting:
    """Files and folders of a walk, sorted by the names that their paths tell.

    What can be said of a name when it has its first files is said then: meanwhile the walk's second process goes on.
    """

    def __init__(self, cohort: Cohort, rules: ImageRules, root: Path, real_root: str) -> None:
        self.cohort, self.root, self.real_root = cohort, root, real_root
        self.roles = _roles(rules)
        _, self.series, self.folders = _matchers(rules, self.roles)
        self.names: dict[str, _Named] = {}
        self.strange: list[Row] = []
        self._judged_by = _judged_by(rules)
        self._order = {"": -1} | {role: position for position, role in enumerate(rules.roles)}

    def take_files(self, place: _Place) -> None:
        by_name: dict[str, list[_File]] = {}
        for name, _, size, mtime_ns, scan, role in place.files:  # half a million, of a hundred thousand scans
            if scan:
                file = (self.roles[role], f"{place.path}/{name}", size, mtime_ns, "")
                by_name.setdefault(scan, []).append(file)
        for (name, *_, scan, role), refused in place.refused:
            if refused == UNREADABLE_NAME:
                self.strange.append(_refused(self.cohort, self.root, place.below + name, refused))
            elif scan:
                file = _refused_file(self.roles[role], f"{place.path}/{name}", refused)
                by_name.setdefault(scan, []).append(file)
        for name, files in by_name.items():
            self._take(name, place.path, files)

    def take_folders(self, place: _Place) -> None:
        for entry, refused in place.folders:
            path, relative = f"{place.path}/{entry[0]}", place.below + entry[0]
            if refused in (UNREADABLE_NAME, TOO_DEEP):
                self.strange.append(_refused(self.cohort, self.root, relative, refused))
            elif match := _first_match(self.series, relative):
                series = _found_series(self.roles[match["role"]], path, refused, self.real_root)
                self._take(match["scan_id"], place.path, [series])
            elif (match := _first_match(self.folders, relative)) and not refused:
                self._take(match["scan_id"], path, [])
            elif match and self.cohort.ids.parse(match["scan_id"]):
                self._take(match["scan_id"], path, [_refused_file("", path, refused, "/")])
            elif refused:
                self.strange.append(_refused(self.cohort, self.root, relative, refused))

    def _take(self, name: str, place: str, files: list[_File]) -> None:
        named = self.names.get(name)
        if named is None:
            named = self.names[name] = _Named()
        named.places.add(place)
        if named.files:
            named.fingerprint = ""
            named.files += files
        elif files:
            named.parsed = self.cohort.ids.parse(name)
            named.files = files
            named.fingerprint = self.fingerprint(place, files)

    def fingerprint(self, folder: str, files: list[_File]) -> str:
        """Of the files, which are put in the order of roles and names."""
        files.sort(key=itemgetter(1))
        files.sort(key=lambda file: self._order[file[0]])  # it leaves the names of a role in order
        return _fingerprint(self._judged_by, folder, files)


def _refused(cohort: Cohort, root: Path, relative: str, reason: str) -> Row:
    """A row for something below ``root`` that no scan's name leads to."""
    shown = relative.encode(errors="backslashreplace").decode()
    detail = f"{shown}: {WHAT[reason]}"
    return exclusion(cohort.name, shown[: limits.NAME], STEP, reason, detail, source=str(root / shown))


def _first_match(matchers: Iterable[re.Pattern[str]], relative: str) -> re.Match[str] | None:
    for matcher in matchers:
        if match := matcher.search(relative):
            return match
    return None


def _found_series(role: str, folder: str, refused: str, real_root: str) -> FoundFile:
    """A folder's own time tells of slices that came, went or were renamed, the latest of its files of other content.

    One slice that is refused is enough for the whole series to be.
    """
    if refused:
        return _refused_file(role, folder, refused, "/")
    slices = [(f"{folder}/{one[0]}", one) for one in entries_of(folder) if not _is_folder(f"{folder}/{one[0]}", one)]
    refused = next((why for path, one in slices if (why := _fault(path, one, real_root))), "")
    seen = [_size_and_time(path, one, follow=not refused) for path, one in slices]
    latest = max([Path(folder).stat().st_mtime_ns, *(mtime_ns for _, mtime_ns in seen)])
    return FoundFile(role, f"{folder}/", sum(size for size, _ in seen), latest, refused)


def _size_and_time(path: str, entry: Entry, *, follow: bool = True) -> tuple[int, int]:
    """Bytes and time of a file: of a link, where it is followed, those of what it leads to."""
    if entry[1] == FILE:
        return entry[2:4]
    status = Path(path).stat(follow_symlinks=follow)
    return status.st_size, status.st_mtime_ns


def _refused_file(role: str, path: str, refused: str, ending: str = "") -> FoundFile:
    return FoundFile(role, f"{path}{ending}", 0, Path(path).lstat().st_mtime_ns, refused)


def _is_folder(path: str, entry: Entry) -> bool:
    """Whether it is a folder, or a link to one."""
    # Not Path's: it raises where a link may not be followed or is too long, and one file would cost all others.
    return entry[1] == FOLDER or (entry[1] == LINK and os.path.isdir(path))  # noqa: PTH112


def _fault(path: str, entry: Entry, real_root: str) -> str:
    """Why something that is no folder is refused, or ""."""
    if entry[1] == LINK and not _inside(os.path.realpath(path), real_root):
        return LEAVES
    # Not Path's, for the same reason as above.
    return "" if entry[1] == FILE or (entry[1] == LINK and os.path.isfile(path)) else NOT_A_FILE  # noqa: PTH113


def _inside(real: str, real_root: str) -> bool:
    return os.path.commonpath([real_root, real]) == real_root


def _grouped(root: Path, cohort: Cohort, sorting: _Sorting, known: Mapping[str, str]) -> Found:
    """Files under all the names of a scan brought together: two folders of one scan are two files for each modality."""
    found = Found(root, exclusions=sorting.strange)
    names_of: dict[str, list[tuple[str, ScanName, _Named]]] = defaultdict(list)
    for name, named in sorted(sorting.names.items()):
        parsed = named.parsed if named.files else cohort.ids.parse(name)
        if parsed is not None and (named.files or name == parsed.written_id):
            names_of[parsed.scan_id].append((name, parsed, named))
        elif named.files:
            detail = f"{name!r} is no scan id of {cohort.name}, though its files are named like those of a scan."
            source = min(named.places)
            found.exclusions.append(exclusion(cohort.name, name, STEP, UNREADABLE_ID, detail, source=source))
    for scan_id, names_of_it in sorted(names_of.items()):
        source_id, first, named = names_of_it[0]
        files, places, fingerprint = named.files, named.places, named.fingerprint
        if len(names_of_it) > 1 or len(places) > 1 or not fingerprint:
            files = [file for *_, named in names_of_it for file in named.files]
            places = {place for *_, named in names_of_it for place in named.places}
            fingerprint = sorting.fingerprint(min(places), files)
        if known.get(scan_id) == fingerprint:
            found.unchanged.append(scan_id)
            continue
        found.scans.append(
            FoundScan(
                cohort=cohort.name,
                scan_id=scan_id,
                source_id=source_id,
                subject_id=first.subject_id,
                visit_day=first.visit_day,
                folder=min(places),
                files=tuple(map(FoundFile._make, files)),
                fingerprint=fingerprint,
            )
        )
    return found


def _roles(rules: ImageRules) -> dict[str, str]:
    """Roles by the suffixes that say them."""
    return {suffix: role for role, suffixes in rules.roles.items() for suffix in suffixes}


def _judged_by(rules: ImageRules) -> tuple[str, str]:
    """The rules that files are judged by, as JSON: what stands before the files in a fingerprint, and after them."""
    before = json.dumps([rules.patterns, sorted(rules.roles.items()), sorted(rules.mask_labels)])
    return f"{before[:-1]}, ", ', "several grids"]' if rules.several_grids else "]"


def _fingerprint(judged_by: tuple[str, str], folder: str, files: Sequence[_File]) -> str:
    """Digest of where the files lie, their sizes and times, and of the rules they are judged by, as JSON.

    Whole paths go in, since a scan's row gives them: a folder that has moved is read again and its rows follow it.
    """
    before, after = judged_by
    # Put together here: json.dumps takes three times as long, which is a second of a hundred thousand scans.
    told = ", ".join([f"[{_json(role)}, {_json(uri)}, {size}, {time}]" for role, uri, size, time, _ in files])
    refused = "".join([f", [{_json(uri)}, {_json(why)}]" for _, uri, _, _, why in files if why])
    return hashlib.sha256(f"{before}{_json(folder)}, [{told}]{refused}{after}".encode()).hexdigest()


def _matchers(rules: ImageRules, suffixes: Iterable[str]) -> tuple[list[re.Pattern[str]], ...]:
    """Expressions for the files, for the folders of series, and for the folders that a scan is named by.

    All are relative to the images folder, and are searched for: a name may lie at any depth.
    """
    role = "|".join(re.escape(suffix) for suffix in sorted(suffixes))
    files = [pattern for pattern in rules.patterns if not pattern.endswith("/")]
    series = [pattern.rstrip("/") for pattern in rules.patterns if pattern.endswith("/")]
    parents = {pattern.rpartition("/")[0] for pattern in (*files, *series)}
    named = [parent for parent in sorted(parents) if "{scan_id}" in parent and "{role}" not in parent]
    return tuple([_matcher(pattern, role) for pattern in patterns] for patterns in (files, series, named))


def _matcher(pattern: str, role: str) -> re.Pattern[str]:
    groups = {"scan_id": "[^/]+?", "role": role}
    parts: list[str] = []
    for piece in re.split(r"(\{scan_id\}|\{role\})", pattern):
        if (name := piece.strip("{}")) in groups and piece.startswith("{"):
            seen = any(f"(?P<{name}>" in part for part in parts)
            parts.append(f"(?P={name})" if seen else f"(?P<{name}>{groups[name]})")
        else:
            parts.append("[^/]*".join(map(re.escape, piece.split("*"))))
    return re.compile(f"(?:^|/){''.join(parts)}\\Z")


class _Place(NamedTuple):
    """A folder: its path, the same from the images folder on, with a / at the end, and what is in it: files, with what
    is refused beside them and why; and folders, each with why it is refused, or ""."""

    path: str
    below: str
    files: list[Entry]
    refused: list[tuple[Entry, str]]
    folders: list[tuple[Entry, str]]


def _walk(root: Path, real_root: str, listing: Ahead) -> Iterator[_Place]:
    """Every folder below ``root``, after the one that it lies in.

    Links are followed where they stay below ``root``, but no folder is entered twice: a loop of links ends. Of what is
    no link nothing is asked but what its folder tells: a large cohort has half a million files.

    Raises:
        InputError: there is more than ``limits.ENTRIES`` of it.
    """
    entered, seen = {real_root}, 0
    waiting = [(str(root), real_root, "")]
    while waiting:
        current, real_current, below = waiting.pop()
        unlinked = f"{real_root}/{below}".rstrip("/") == real_current
        entries = listing.entries_of(current, below) if unlinked else listing.linked(current, below)
        seen += len(entries)
        if seen > limits.ENTRIES:
            raise InputError(
                f"There are more than {limits.ENTRIES:,} files and folders below {root}.",
                hint="Give the cohort's own folder as --images.",
            )
        place = _place(current, below, entries, real_root)
        yield place
        inner: list[tuple[str, str, str]] = []
        for (name, kind, *_), refused in place.folders:
            path = f"{current}/{name}"
            real = os.path.realpath(path) if kind == LINK else f"{real_current}/{name}"
            if not refused and real not in entered:
                entered.add(real)
                inner.append((path, real, f"{below}{name}/"))
        waiting += reversed(inner)


def _place(path: str, below: str, entries: Sequence[Entry], real_root: str) -> _Place:
    files = [entry for entry in entries if entry[1] == FILE and entry[0].isascii()]
    place = _Place(path, below, files, [], [])
    if len(files) == len(entries):
        return place
    folders: list[Entry] = []
    for entry in entries:
        name, kind, *_ = entry
        inner = f"{path}/{name}"
        if kind == FILE and name.isascii():
            continue
        if _is_folder(inner, entry):
            folders.append(entry)
        elif refused := _fault(inner, entry, real_root) if _is_text(name) else UNREADABLE_NAME:
            place.refused.append((entry, refused))
        else:
            place.files.append((name, FILE, *_size_and_time(inner, entry), *entry[4:]))
    folders.sort(key=lambda entry: entry[1] == LINK)  # so that a folder is found under its own name
    place.folders.extend((entry, _fault_of_folder(path, below, entry, real_root)) for entry in folders)
    return place


def _fault_of_folder(path: str, below: str, entry: Entry, real_root: str) -> str:
    if not _is_text(entry[0]):
        return UNREADABLE_NAME
    if entry[1] == LINK and not _inside(os.path.realpath(f"{path}/{entry[0]}"), real_root):
        return LEAVES
    return TOO_DEEP if below.count("/") >= limits.FOLDERS_DEEP else ""


def _is_text(name: str) -> bool:
    """Whether a name can stand in a table: names on disk are bytes, and need not be any text."""
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)
