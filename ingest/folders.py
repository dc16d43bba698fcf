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
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from ingest.boxes import GivenBox
from ingest.cohort import Cohort, ImageRules
from ingest.exclusions import LEAVES, NOT_A_FILE, TOO_DEEP, UNREADABLE_ID, UNREADABLE_NAME, Row, exclusion
from ingest.ids import ScanName
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
    """What an images folder, ``root``, holds for a cohort: its scans, and rows for what is no part of any."""

    root: Path
    scans: list[FoundScan] = field(default_factory=list)
    exclusions: list[Row] = field(default_factory=list)


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


def find_scans(cohort: Cohort, root: Path) -> Found:
    """The scans below ``root``, in the order of their ids.

    A folder that bears a scan's id and holds none of its files is a scan with no files, so that it is not overlooked.

    Raises:
        InputError: ``root`` is no folder or holds more than any cohort, or the cohort's description says nothing of
            images.
    """
    if cohort.images is None:
        raise InputError(
            f"The description of {cohort.name} says nothing of images.", hint="Add an [images] section to it."
        )
    if not root.is_dir():
        raise InputError(f"The images folder {root} is not a folder.", hint="Check --images.")
    root = root.absolute()
    rules = cohort.images
    roles = {suffix: role for role, suffixes in rules.roles.items() for suffix in suffixes}
    files, series, folders = _matchers(rules, roles)
    by_name: dict[str, list[FoundFile]] = defaultdict(list)
    places: dict[str, set[str]] = defaultdict(set)
    strange: list[Row] = []
    real_root = os.path.realpath(root)
    for place, entry, relative, is_folder, refused in _walk(root, real_root):
        if refused in (UNREADABLE_NAME, TOO_DEEP):
            strange.append(_refused(cohort, root, relative, refused))
        elif match := _first_match(series if is_folder else files, relative):
            name, role = match["scan_id"], roles[match["role"]]
            found = _found_series(role, entry, refused, real_root) if is_folder else _found_file(role, entry, refused)
            places[name].add(place)
            by_name[name].append(found)
        elif is_folder and (match := _first_match(folders, relative)) and not refused:
            places[match["scan_id"]].add(entry.path)
        elif is_folder and match and cohort.ids.parse(match["scan_id"]):
            places[match["scan_id"]].add(entry.path)
            by_name[match["scan_id"]].append(_refused_file("", entry, refused, "/"))
        elif is_folder and refused:
            strange.append(_refused(cohort, root, relative, refused))
    found_here = _grouped(root, cohort, rules, by_name, places)
    found_here.exclusions += strange
    return found_here


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


def _found_file(role: str, entry: os.DirEntry[str], refused: str) -> FoundFile:
    if refused:
        return _refused_file(role, entry, refused)
    status = entry.stat()
    return FoundFile(role, entry.path, status.st_size, status.st_mtime_ns)


def _found_series(role: str, folder: os.DirEntry[str], refused: str, real_root: str) -> FoundFile:
    """A folder's own time tells of slices that came, went or were renamed, the latest of its files of other content.

    One slice that is refused is enough for the whole series to be.
    """
    if refused:
        return _refused_file(role, folder, refused, "/")
    with os.scandir(folder) as entries:
        slices = sorted((one for one in entries if not _is(one.is_dir)), key=attrgetter("name"))
    refused = next((why for one in slices if (why := _fault(one, real_root))), "")
    seen = [one.stat(follow_symlinks=not refused) for one in slices]
    latest = max(status.st_mtime_ns for status in (folder.stat(), *seen))
    return FoundFile(role, f"{folder.path}/", sum(one.st_size for one in seen), latest, refused)


def _refused_file(role: str, entry: os.DirEntry[str], refused: str, ending: str = "") -> FoundFile:
    return FoundFile(role, f"{entry.path}{ending}", 0, entry.stat(follow_symlinks=False).st_mtime_ns, refused)


def _fault(entry: os.DirEntry[str], real_root: str) -> str:
    """Why something that is no folder is refused, or ""."""
    if entry.is_symlink() and not _inside(os.path.realpath(entry.path), real_root):
        return LEAVES
    return "" if _is(entry.is_file) else NOT_A_FILE


def _is(kind: Callable[[], bool]) -> bool:
    """What ``is_dir`` and ``is_file`` say; a link that leads nowhere, or round in a circle, is neither."""
    try:
        return kind()
    except OSError:
        return False


def _inside(real: str, real_root: str) -> bool:
    return os.path.commonpath([real_root, real]) == real_root


def _grouped(
    root: Path,
    cohort: Cohort,
    rules: ImageRules,
    by_name: Mapping[str, list[FoundFile]],
    places: Mapping[str, set[str]],
) -> Found:
    """Files under all the names of a scan brought together: two folders of one scan are two files for each modality."""
    found = Found(root)
    names_of: dict[str, list[tuple[str, ScanName]]] = defaultdict(list)
    for name in sorted(places):
        parsed = cohort.ids.parse(name)
        if parsed is not None and (by_name.get(name) or name == parsed.written_id):
            names_of[parsed.scan_id].append((name, parsed))
        elif by_name.get(name):
            detail = f"{name!r} is no scan id of {cohort.name}, though its files are named like those of a scan."
            found.exclusions.append(exclusion(cohort.name, name, STEP, UNREADABLE_ID, detail, source=min(places[name])))
    judged_by = _judged_by(rules)
    order = {"": -1} | {role: position for position, role in enumerate(rules.roles)}
    for scan_id, parsed_names in sorted(names_of.items()):
        names = [name for name, _ in parsed_names]
        source_id, first = parsed_names[0]
        files = sorted((f for name in names for f in by_name.get(name, ())), key=lambda f: (order[f.role], f.uri))
        folder = min(place for name in names for place in places[name])
        found.scans.append(
            FoundScan(
                cohort=cohort.name,
                scan_id=scan_id,
                source_id=source_id,
                subject_id=first.subject_id,
                visit_day=first.visit_day,
                folder=folder,
                files=tuple(files),
                fingerprint=_fingerprint(judged_by, folder, files),
            )
        )
    return found


def _judged_by(rules: ImageRules) -> tuple[str, str]:
    """The rules that files are judged by, as JSON: what stands before the files in a fingerprint, and after them."""
    before = json.dumps([rules.patterns, sorted(rules.roles.items()), sorted(rules.mask_labels)])
    return f"{before[:-1]}, ", ', "several grids"]' if rules.several_grids else "]"


def _fingerprint(judged_by: tuple[str, str], folder: str, files: Iterable[FoundFile]) -> str:
    """Digest of where the files lie, their sizes and times, and of the rules they are judged by.

    Whole paths go in, since a scan's row gives them: a folder that has moved is read again and its rows follow it.
    """
    before, after = judged_by
    seen: list[object] = [folder, [(file.role, file.uri, file.bytes, file.mtime_ns) for file in files]]
    seen += [[file.uri, file.refused] for file in files if file.refused]
    return hashlib.sha256(f"{before}{json.dumps(seen)[1:-1]}{after}".encode()).hexdigest()


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


def _walk(root: Path, real_root: str) -> Iterator[tuple[str, os.DirEntry[str], str, bool, str]]:
    """Everything below ``root``, after the folder that it lies in: its path from ``root``, whether it is a folder, and
    why it is refused, or "".

    Links are followed where they stay below ``root``, but no folder is entered twice: a loop of links ends. Of what is
    neither link nor folder nothing is asked but what the folder itself tells: a large cohort has half a million files.

    Raises:
        InputError: there is more than ``limits.ENTRIES`` of it.
    """
    entered, seen = {real_root}, 0
    waiting = [(str(root), real_root, "")]
    while waiting:
        current, real_current, below = waiting.pop()
        entries = _entries(current)
        seen += len(entries)
        if seen > limits.ENTRIES:
            raise InputError(
                f"There are more than {limits.ENTRIES:,} files and folders below {root}.",
                hint="Give the cohort's own folder as --images.",
            )
        deep = below.count("/") >= limits.FOLDERS_DEEP
        folders: list[os.DirEntry[str]] = []
        for entry in entries:
            if _is(entry.is_dir):
                folders.append(entry)
            else:
                why = _fault(entry, real_root) if _is_text(entry.name) else UNREADABLE_NAME
                yield current, entry, below + entry.name, False, why
        inner: list[tuple[str, str, str]] = []
        for entry in sorted(folders, key=os.DirEntry.is_symlink):  # so that a folder is found under its own name
            linked, relative = entry.is_symlink(), below + entry.name
            real = os.path.realpath(entry.path) if linked else f"{real_current}/{entry.name}"
            if not _is_text(entry.name):
                yield current, entry, relative, True, UNREADABLE_NAME
            elif linked and not _inside(real, real_root):
                yield current, entry, relative, True, LEAVES
            elif deep:
                yield current, entry, relative, True, TOO_DEEP
            else:
                yield current, entry, relative, True, ""
                if real not in entered:
                    entered.add(real)
                    inner.append((entry.path, real, f"{relative}/"))
        waiting += reversed(inner)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """What a folder holds, by name; nothing where it may not be listed."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=attrgetter("name"))
    except OSError:
        return []


def _is_text(name: str) -> bool:
    """Whether a name can stand in a table: names on disk are bytes, and need not be any text."""
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)
