"""Scan ids: the many ways in which folders and label files write one scan's name, brought to one form.

All of it is data from a cohort's description: a pattern that reads a name, a form that writes it again, the digits that
numbers are padded to, and aliases, i.e. other ids under which a release lists the same scan.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Annotated, NamedTuple

from gliolake import limits
from gliolake.ingest.cohorts.patterns import TimedPattern, read_pattern
from gliolake.toml_file import Check, Table, Wrong

_OPTIONAL = re.compile(r"\[([^\[\]]*)\]")
_FIELD = re.compile(r"\{(\w+)\}")

_DIGITS_OF_A_DAY = 5

_WIDEST = 20
"""Digits that a number in a scan's id is padded to, at most."""


class ScanName(NamedTuple):
    """A name that was understood. ``alias_of`` tells under which id the source listed it, where that is another."""

    scan_id: str
    subject_id: str
    visit_day: int
    written_id: str

    @property
    def by_alias(self) -> bool:
        """Whether the source listed the scan under an alias."""
        return self.written_id != self.scan_id


def _width(digits: int) -> int:
    if not 0 <= digits <= _WIDEST:
        raise Wrong(f"is {digits}; expected 0 to {_WIDEST} digits")
    return digits


@dataclass(frozen=True, kw_only=True)
class IdRules(Table):
    """How a cohort's scan ids are read and written.

    pattern: expression with named groups that a whole name has to match.
    form: the id, with ``{group}`` for groups and ``[…]`` around a part that is left out where its group is empty.
    subject: form of the id without its visit, if that is another. visit_day: group that holds the visit's day, or "".
    digits: group -> digits it is padded to with leading zeros. aliases: id -> the id of the same scan.
    """

    pattern: Annotated[TimedPattern, Check(read_pattern, of=str)]
    form: str
    subject: str = ""
    visit_day: str = ""
    digits: Mapping[str, Annotated[int, Check(_width)]] = field(default_factory=dict, hash=False)
    aliases: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Raises:
        Wrong: a group or an alias is none.
        """
        object.__setattr__(self, "subject", self.subject or self.form)
        groups = self.pattern.groups
        used = {"form": fields_of(self.form), "subject": fields_of(self.subject),
                "visit_day": {self.visit_day} - {""}, "digits": {*self.digits}}  # fmt: skip
        Wrong.all_of(
            Wrong(
                f"names {min(names - groups)!r}, which is no group of the pattern ({', '.join(sorted(groups))})",
                key=key,
            )
            for key, names in used.items()
            if names - groups
        )
        plain = replace(self, aliases={}) if self.aliases else self
        Wrong.all_of(
            Wrong(f"names {scan_id!r}, which is not an id in normal form", key="aliases")
            for scan_id in dict.fromkeys([*self.aliases, *self.aliases.values()])
            if (parsed := plain.parse(scan_id)) is None or parsed.scan_id != scan_id
        )

    def parse(self, name: str) -> ScanName | None:
        """Understand a name; None where it is no scan of this cohort. Normal ids parse to themselves.

        Raises:
            InputError: the pattern takes too long over it.
        """
        written = self.groups_of(name)
        if written is None:
            return None
        written_id = _fill(self.form, written)
        normal = self.aliases.get(written_id, written_id)
        groups = written if normal == name else self.groups_of(normal)
        if groups is None:
            return None
        day = groups.get(self.visit_day) or "0"
        if not day.isdecimal() or len(day) > _DIGITS_OF_A_DAY:
            return None
        scan_id = written_id if groups is written else _fill(self.form, groups)
        return ScanName(scan_id, _fill(self.subject, groups), int(day), written_id)

    def groups_of(self, name: str) -> dict[str, str] | None:
        """The groups of a name that matches, their numbers padded."""
        if len(name) > limits.NAME:
            return None
        match = self.pattern.fullmatch(name.strip())
        if match is None:
            return None
        groups = match.groupdict("")
        for key, width in self.digits.items():
            if value := groups.get(key):
                groups[key] = value.lstrip("0").rjust(width, "0")
        return groups


def fields_of(form: str) -> set[str]:
    """Names of the groups that a form uses."""
    return set(_FIELD.findall(form))


def _fill(form: str, groups: Mapping[str, str]) -> str:
    return "".join([text.format_map(groups) for text, needed in _parts(form) if all(map(groups.get, needed))])


@cache
def _parts(form: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """A form in parts that have no brackets, each with the groups that it is left out without."""
    parts = [part for part in enumerate(_OPTIONAL.split(form)) if part[1]]
    return tuple((_template(part), tuple(_FIELD.findall(part)) if place % 2 else ()) for place, part in parts)


def _template(part: str) -> str:
    """The part as ``str.format_map`` takes it: braces that name no group are letters."""
    pieces = enumerate(_FIELD.split(part))  # texts and names in turn
    return "".join(f"{{{p}}}" if place % 2 else p.replace("{", "{{").replace("}", "}}") for place, p in pieces)
