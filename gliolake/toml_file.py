"""A strict reader of TOML files: every key is asked for once, and none may be left over.

Messages name the file, the section and the key.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from gliolake import limits
from gliolake.errors import InputError

K = TypeVar("K", str, int)
V = TypeVar("V")

_NAMES = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "a table",
    list: "a list of texts",
}


def read_toml(path: Path) -> Section:
    """The top of a TOML file.

    Raises:
        InputError: it cannot be read, or is no TOML.
    """
    try:
        text = limits.read_whole(path, limits.DESCRIPTION).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}.", hint="Give a UTF-8 TOML file.") from error
    return parse_toml(text, str(path))


def parse_toml(text: str, file: str) -> Section:
    """The top of a TOML text; ``file`` names it in messages. Raises InputError."""
    try:
        return Section(file, "", tomllib.loads(text))
    except (ValueError, RecursionError) as error:  # brackets within brackets, or a number of 5,000 digits
        raise InputError(
            f"{file} cannot be read: it is not a TOML file: {error}.", hint="Compare it with a shipped TOML file."
        ) from error


class Section:
    """One table of a TOML file. ``name`` is its dotted name, "" at the top."""

    def __init__(self, file: str, name: str, content: Mapping[str, Any]) -> None:
        self.file = file
        self.name = name
        self.content = content
        self._known: set[str] = set()

    def __iter__(self) -> Iterator[str]:
        """The keys that are there."""
        return iter(self.content)

    def __contains__(self, key: str) -> bool:
        self._known.add(key)
        return key in self.content

    def wrong(self, key: str, what: str, hint: str = "") -> InputError:
        """An error about one key."""
        where = f"{self.name}.{key}" if self.name else key
        return InputError(
            f"{self.file}: {where} {what}.", hint=hint or "Correct the file, or compare it with one that is shipped."
        )

    def text(self, key: str, default: str | None = None) -> str:
        """A text; required where there is no default."""
        return str(self._take(key, str, default))

    def unknown(self, key: str, name: str, known: Iterable[str]) -> InputError:
        """An error about a name that a key gives."""
        return self.wrong(key, f"names {name!r}, which is not known", _nearest(name, known))

    def choices(self, key: str, known: Iterable[str], default: tuple[str, ...]) -> tuple[str, ...]:
        """Some of the texts that are known."""
        names = self.texts(key, default, may_be_empty=True)
        for name in names:
            if name not in (every := tuple(known)):
                raise self.unknown(key, name, every)
        return names

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        return bool(self._take(key, bool, default))

    def texts(self, key: str, default: tuple[str, ...] | None = None, *, may_be_empty: bool = False) -> tuple[str, ...]:
        """A list of texts, or a single one."""
        if isinstance(self.content.get(key), str):
            return (self.text(key),)
        values = self._take(key, list, default)
        if not (values or may_be_empty) or not all(isinstance(value, str) for value in values):
            raise self.wrong(key, f"is {values!r}; expected a list of texts")
        return tuple(values)

    def whole(self, key: str, default: int | None = None, *, least: int = 0) -> int:
        """A whole number, at least ``least``."""
        value = int(self._take(key, int, default))
        if value < least:
            raise self.wrong(key, f"is {value}; expected at least {least}")
        return value

    def share(self, key: str, default: float | None = None) -> float:
        """A number from 0 to below 1."""
        value = self.content.get(key, default)
        if isinstance(value, int) and not isinstance(value, bool):
            self._known.add(key)
            value = float(value)
        else:
            value = float(self._take(key, float, default))
        if not 0 <= value < 1:
            raise self.wrong(key, f"is {value:g}; expected 0 to below 1")
        return value

    def choice(self, key: str, choices: Iterable[str], default: str | None = None) -> str:
        """One of some texts."""
        value = self.text(key, default)
        if value not in (known := list(choices)):
            raise self.wrong(key, f"is {value!r}; expected {' or '.join(known)}", _nearest(value, known))
        return value

    def section(self, key: str) -> Section:
        """A table within this one."""
        return Section(self.file, f"{self.name}.{key}".lstrip("."), self._take(key, dict, None))

    def sections(self, key: str) -> list[Section]:
        """The tables of an array of tables; none where there is no such key. A table is known by its number."""
        given = self._take(key, list, ())
        if not all(isinstance(each, dict) for each in given):
            raise self.wrong(key, f"is no array of tables; write [[{key}]]")
        return [
            Section(self.file, f"{self.name}.{key} {number}".lstrip("."), each) for number, each in enumerate(given, 1)
        ]

    def over(self, defaults: Section) -> Section:
        """This table, with the keys of another where it has none."""
        return Section(self.file, self.name, {**defaults.content, **self.content})

    def mapping(self, key: str, keys: type[K], values: type[V], default: dict[K, V] | None = None) -> dict[K, V]:
        """A table whose keys are not fixed: texts, as in TOML, or numbers made of them."""
        found: dict[K, V] = {}
        for name, value in self._take(key, dict, default).items():
            try:
                found[keys(name)] = value
            except ValueError:
                raise self.wrong(key, f"has a key {name!r}; expected {_NAMES[keys]}") from None
            if not isinstance(value, values) or (values is int and isinstance(value, bool)):
                raise self.wrong(key, f"says {name} = {value!r}; expected {_NAMES.get(values, values.__name__)}")
        return found

    def end(self) -> None:
        """Refuse keys that nothing asked for: a misspelt key would otherwise be ignored."""
        for key in self.content:
            if key not in self._known:
                raise self.wrong(key, "is a key that gliolake does not know", _nearest(key, self._known))

    def _take(self, key: str, kind: type, default: object) -> Any:
        self._known.add(key)
        if key not in self.content:
            if default is None:
                unasked = [given for given in self.content if given not in self._known]
                near = difflib.get_close_matches(key, unasked, n=1, cutoff=0.6)
                raise self.wrong(key, "is missing" + (f"; there is a {near[0]!r}" if near else ""))
            return default
        value = self.content[key]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.wrong(key, f"is {value!r}; expected {_NAMES[kind]}")
        return value


def _nearest(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"Did you mean {near[0]}?" if near else f"Known: {', '.join(names)}."
