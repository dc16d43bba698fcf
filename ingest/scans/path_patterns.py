"""A cohort's patterns of paths, matched against the end of each path: which scan and role a file belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from gliolake.ingest.cohorts.description import ImageRules
from gliolake.ingest.cohorts.patterns import TimedPattern

if TYPE_CHECKING:
    import regex


class Patterns:
    """Expressions for files, for folders of series, and for the folders that a scan is named by.

    A pattern stands for the last parts of a path: as many as it has itself.
    """

    def __init__(self, rules: ImageRules, *, any_case: bool = False, names_alone: bool = False) -> None:
        """To find what comes near: capitals may be ignored, and so may the folders that a file lies in."""
        role = "|".join(re.escape(suffix) for suffixes in rules.roles.values() for suffix in sorted(suffixes))
        files = [pattern for pattern in rules.patterns if not pattern.endswith("/")]
        series = [pattern.rstrip("/") for pattern in rules.patterns if pattern.endswith("/")]
        parents = {pattern.rpartition("/")[0] for pattern in (*files, *series)}
        named = [parent for parent in sorted(parents) if "{scan_id}" in parent and "{role}" not in parent]
        if names_alone:
            files = [name for pattern in files if "{role}" in (name := pattern.rpartition("/")[2])]
        before = "(?i)" if any_case else ""
        self.files, self.series, self.folders = (
            [
                (pattern.count("/") + 1, TimedPattern(before + _expression(pattern, role), written=pattern))
                for pattern in several
            ]
            for several in (files, series, named)
        )

    def of_file(self, path: str) -> regex.Match[str] | None:
        """What the path of a file says."""
        return first_match(self.files, path)

    def first_of(self, paths: Iterable[str]) -> str | None:
        """The first path of a file that says something."""
        return next((path for path in paths if self.of_file(path)), None)


def first_match(patterns: Iterable[tuple[int, TimedPattern]], path: str) -> regex.Match[str] | None:
    """The match of the first pattern that fits the end of a path."""
    parts = path.split("/")
    for depth, pattern in patterns:
        if len(parts) >= depth and (match := pattern.fullmatch("/".join(parts[-depth:]))):
            return match
    return None


def _expression(pattern: str, role: str) -> str:
    groups = {"scan_id": "[^/]+?", "role": role}
    parts: list[str] = []
    for piece in re.split(r"(\{scan_id\}|\{role\})", pattern):
        if (name := piece.strip("{}")) in groups and piece.startswith("{"):
            seen = any(f"(?P<{name}>" in part for part in parts)
            parts.append(f"(?P={name})" if seen else f"(?P<{name}>{groups[name]})")
        else:
            parts.append("[^/]*".join(map(re.escape, piece.split("*"))))
    return "".join(parts)
