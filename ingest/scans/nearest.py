"""Explains why an images folder has no scan of a cohort: expected names, found names, and the nearest match."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from gliolake import limits
from gliolake.errors import InputError
from gliolake.ingest.cohorts.description import Cohort, ImageRules, load_cohort, shipped_cohorts
from gliolake.ingest.scans.discovery import Found
from gliolake.ingest.scans.listing import walk
from gliolake.ingest.scans.path_patterns import Patterns

_SAMPLE = 5_000
"""Files that are looked at, at most."""

_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar", ".tar.xz", ".tar.bz2")
_DICOM_NAMES = (".dcm", ".ima", ".dicom")


def nothing_found(cohort: Cohort, found: Found, known: Mapping[str, Cohort], vanished: int, option: str) -> InputError:
    """The error for a folder without a file of any scan.

    Args:
        cohort, found: the cohort, whose description says something of images, and what was found of it.
        known: the cohorts that the lake knows; the shipped ones are tried too.
        vanished: known scans of the folder that have no file any more.
        option: the option that says that they are gone.
    """
    files = list(islice(_files(found.root), _SAMPLE))
    counted = f"{len(files):,} files" if len(files) < _SAMPLE else f"more than {_SAMPLE:,} files"
    said = [f"No scan of {cohort.name} was found below {found.root}."]
    said += [f"Expected: {_expected(cohort.images)}."] if cohort.images else []
    if files:
        said.append(f"There are {counted}, such as {_shown(files[0])}.")
    elif any(files for _, _, files in os.walk(found.root)):
        said.append("It holds no files but those that systems leave behind, such as .DS_Store.")
    else:
        said.append("It holds no files.")
    hint = next(_hints(cohort, found, files, known))
    if vanished:
        said.append(f"The lake knows {vanished:,} scans of it, for which nothing was changed.")
        hint = f"{hint if found.exclusions else 'Is its disk mounted?'} If they are gone for good, give {option}."
    return InputError(" ".join(said), hint=hint)


def _files(root: Path) -> Iterator[str]:
    for listing in walk(root):
        for file in listing.files:
            yield listing.below + file.name


def _expected(rules: ImageRules) -> str:
    names = ", ".join(name for several in rules.roles.values() for name in several)
    return f"{' or '.join(rules.patterns)}, where {{role}} is one of {names}"


def _hints(cohort: Cohort, found: Found, files: list[str], known: Mapping[str, Cohort]) -> Iterator[str]:
    """What to do, by what comes nearest; the most telling first."""
    rules = cohort.images
    if rules is None or not (files or found.exclusions):
        yield "Check --images."
        return
    fitting = [name for name, other in _others(known).items() if name != cohort.name and _fits(other, files)]
    if fitting:
        yield f"The names are those of {' or '.join(fitting)}: give --cohort {fitting[0]}."
    if reasons := sorted({row["reason"] for row in found.exclusions}):
        yield f"Left out ({', '.join(reasons)}): {found.exclusions[0]['detail']}"
    above = "/".join(found.root.parts[1:][-3:])
    if Patterns(rules).first_of(f"{above}/{file}" for file in files):
        yield f"The folder is itself part of the path that is expected: give --images {found.root.parent}."
    if loose := Patterns(rules, any_case=True).first_of(files):
        yield f"{_shown(loose)} fits but for capital and small letters: rename, or describe the names as they are."
    if misplaced := Patterns(rules, names_alone=True).first_of(files):
        yield (
            f"{_shown(misplaced)} bears an expected name, but not in the expected folder: move the files, or change "
            "patterns in the cohort's description."
        )
    series = any(pattern.endswith("/") for pattern in rules.patterns)
    if not series and (dicom := next((file for file in files[:20] if _is_dicom(found.root / file)), None)):
        yield (
            f"{_shown(dicom)} is DICOM, and the description expects NIfTI: a pattern that ends in / leads to the "
            "folders of DICOM series."
        )
    if archive := next((file for file in files if file.lower().endswith(_ARCHIVES)), None):
        yield f"{_shown(archive)} is an archive: unpack it."
    yield "Describe the names as they are in the cohort's TOML file ([images], patterns and roles)."


def _others(known: Mapping[str, Cohort]) -> dict[str, Cohort]:
    return {**{name: load_cohort(name) for name in shipped_cohorts()}, **known}


def _fits(cohort: Cohort, files: list[str]) -> bool:
    if cohort.images is None:
        return False
    patterns = Patterns(cohort.images)
    matches = (patterns.of_file(file) for file in files)
    return any(match is not None and cohort.ids.parse(match["scan_id"]) for match in matches)


def _is_dicom(path: Path) -> bool:
    if path.name.lower().endswith(_DICOM_NAMES):
        return True
    try:
        with limits.open_regular(path) as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _shown(name: str) -> str:
    return name.encode(errors="backslashreplace").decode()
