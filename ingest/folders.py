"""Folders of scans: which files belong to which scan and role, by their names alone. Nothing is opened.

A cohort's patterns are matched against the end of each path: the images folder may be the cohort's own or one above it.
The folder of a DICOM series counts as one file; its URI ends in /.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ingest.boxes import GivenBox
from ingest.cohort import Cohort, ImageRules
from ingest.exclusions import UNREADABLE_ID, Row, exclusion
from ingest.ids import ScanName
from lake.errors import InputError

STEP = "images"


@dataclass(frozen=True)
class FoundFile:
    """A file on disk, or the folder of a DICOM series: then ``bytes`` is the sum of its files, ``mtime_ns`` the latest.

    outside: it is reached through a symbolic link that leads out of the images folder.
    """

    role: str
    uri: str
    bytes: int
    mtime_ns: int
    outside: bool = False


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
    """What an images folder, ``root``, holds for a cohort: its scans, and rows for names that are no id of it."""

    root: Path
    scans: list[FoundScan] = field(default_factory=list)
    exclusions: list[Row] = field(default_factory=list)


def find_scans(cohort: Cohort, root: Path) -> Found:
    """The scans below ``root``, in the order of their ids.

    A folder that bears a scan's id and holds none of its files is a scan with no files, so that it is not overlooked.

    Raises:
        InputError: ``root`` is no folder, or the cohort's description says nothing of images.
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
    real_root = os.path.realpath(root)
    for path, is_folder in _walk(root):
        relative = path.relative_to(root).as_posix()
        if match := _first_match(series if is_folder else files, relative):
            found = _found_series if is_folder else _found_file
            places[match["scan_id"]].add(str(path.parent))
            by_name[match["scan_id"]].append(found(roles[match["role"]], path, real_root))
        elif is_folder and (match := _first_match(folders, relative)):
            places[match["scan_id"]].add(str(path))
    return _grouped(root, cohort, rules, by_name, places)


def _first_match(matchers: Iterable[re.Pattern[str]], relative: str) -> re.Match[str] | None:
    return next((match for matcher in matchers if (match := matcher.fullmatch(relative))), None)


def _found_file(role: str, path: Path, real_root: str) -> FoundFile:
    status = path.stat()
    return FoundFile(role, str(path), status.st_size, status.st_mtime_ns, _outside(path, real_root))


def _found_series(role: str, folder: Path, real_root: str) -> FoundFile:
    """A folder's own time tells of slices that came, went or were renamed, the latest of its files of other content."""
    slices = [path.stat() for path in folder.iterdir() if path.is_file()]
    latest = max(status.st_mtime_ns for status in (folder.stat(), *slices))
    return FoundFile(role, f"{folder}/", sum(one.st_size for one in slices), latest, _outside(folder, real_root))


def _outside(path: Path, real_root: str) -> bool:
    return os.path.commonpath([real_root, os.path.realpath(path)]) != real_root


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
    order = {role: position for position, role in enumerate(rules.roles)}
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
                fingerprint=_fingerprint(rules, folder, files),
            )
        )
    return found


def _fingerprint(rules: ImageRules, folder: str, files: Iterable[FoundFile]) -> str:
    """Digest of where the files lie, their sizes and times, and of the rules they are judged by.

    Whole paths go in, since a scan's row gives them: a folder that has moved is read again and its rows follow it.
    """
    seen = [rules.patterns, sorted(rules.roles.items()), sorted(rules.mask_labels), folder]
    seen.append([(file.role, file.uri, file.bytes, file.mtime_ns) for file in files])
    if rules.several_grids:
        seen.append("several grids")
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()


def _matchers(rules: ImageRules, suffixes: Iterable[str]) -> tuple[list[re.Pattern[str]], ...]:
    """Expressions for the files, for the folders of series, and for the folders that a scan is named by.

    All are relative to the images folder.
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
    return re.compile("(?:.*/)?" + "".join(parts))


def _walk(root: Path) -> Iterator[tuple[Path, bool]]:
    """Every file and folder below ``root``, and whether it is a folder.

    Links are followed, as cohorts are often assembled from them, but no folder is entered twice: a loop of links ends.
    """
    entered = {os.path.realpath(root)}
    for current, folders, names in os.walk(root, followlinks=True):
        yield from ((path, False) for path in (Path(current, name) for name in sorted(names)) if path.is_file())
        yield from ((Path(current, name), True) for name in sorted(folders))
        # A folder before the links to it, so that it is found under its own name.
        inner = sorted(
            (path.is_symlink(), name, os.path.realpath(path)) for name in folders for path in [Path(current, name)]
        )
        folders.clear()
        for _, name, real in inner:
            if real not in entered:
                entered.add(real)
                folders.append(name)
