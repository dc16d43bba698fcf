"""Scan ids: the many ways in which folders and label files write one scan's name, brought to one form.

All of it is data from a cohort's description: a pattern that reads a name, a form that writes it again, the digits that
numbers are padded to, and aliases, i.e. other ids under which a release lists the same scan.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lake import limits
from lake.errors import InputError

if TYPE_CHECKING:
    import regex

_OPTIONAL = re.compile(r"\[([^\[\]]*)\]")
_FIELD = re.compile(r"\{(\w+)\}")

_SECONDS = 1.0
"""Time that a pattern has for one name: a stranger's pattern may try more ways than there are."""

_DIGITS_OF_A_DAY = 5


@dataclass(frozen=True)
class ScanName:
    """A name that was understood. ``alias_of`` tells under which id the source listed it, where that is another."""

    scan_id: str
    subject_id: str
    visit_day: int
    written_id: str

    @property
    def by_alias(self) -> bool:
        """Whether the source listed the scan under an alias."""
        return self.written_id != self.scan_id


@dataclass(frozen=True)
class IdRules:
    """How a cohort's scan ids are read and written.

    pattern: regular expression with named groups that a whole name has to match, compiled by ``regex``, which can be
    stopped.
    form: the id, with ``{group}`` for groups and ``[…]`` around a part that is left out where its group is empty.
    subject: form of the id without its visit. visit_day: group that holds the visit's day, or "".
    digits: group -> digits it is padded to with leading zeros. aliases: id -> the id of the same scan.
    """

    pattern: regex.Pattern[str]
    form: str
    subject: str
    visit_day: str = ""
    digits: Mapping[str, int] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)

    def parse(self, name: str) -> ScanName | None:
        """Understand a name; None where it is no scan of this cohort. Normal ids parse to themselves.

        Raises:
            InputError: the pattern takes too long over it.
        """
        written = self._groups(name)
        if written is None:
            return None
        written_id = _fill(self.form, written)
        groups = self._groups(self.aliases.get(written_id, written_id))
        if groups is None:
            return None
        day = groups.get(self.visit_day) or "0"
        if not day.isdecimal() or len(day) > _DIGITS_OF_A_DAY:
            return None
        return ScanName(_fill(self.form, groups), _fill(self.subject, groups), int(day), written_id)

    def _groups(self, name: str) -> dict[str, str] | None:
        if len(name) > limits.NAME:
            return None
        try:
            match = self.pattern.fullmatch(name.strip(), timeout=_SECONDS)
        except TimeoutError:
            raise InputError(
                f"The pattern of scan ids takes more than {_SECONDS:g} s over the name {name!r}.",
                hint="Write it without repeats within repeats, such as (a+)+.",
            ) from None
        if match is None:
            return None
        groups = {key: value or "" for key, value in match.groupdict().items()}
        for key, width in self.digits.items():
            if value := groups.get(key):
                groups[key] = value.lstrip("0").rjust(width, "0")
        return groups


def fields_of(form: str) -> set[str]:
    """Names of the groups that a form uses."""
    return set(_FIELD.findall(form))


def _fill(form: str, groups: Mapping[str, str]) -> str:
    def part(match: re.Match[str]) -> str:
        inner = match.group(1)
        return inner if all(groups.get(name) for name in fields_of(inner)) else ""

    return _FIELD.sub(lambda match: groups.get(match.group(1), ""), _OPTIONAL.sub(part, form))
