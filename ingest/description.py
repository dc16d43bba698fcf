"""A strict reader of a TOML description: every key is asked for once, and none may be left over.

Messages name the file, the section and the key.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from lake.errors import InputError

K = TypeVar("K", str, int)
V = TypeVar("V")

_NAMES = {str: "text", int: "a whole number", bool: "true or false", dict: "a table", list: "a list of texts"}


class Section:
    """One table of a TOML file. ``name`` is its dotted name, "" at the top."""

    def __init__(self, file: str, name: str, content: Mapping[str, Any]) -> None:
        self.file = file
        self.name = name
        self._content = content
        self._known: set[str] = set()

    def __contains__(self, key: str) -> bool:
        self._known.add(key)
        return key in self._content

    def wrong(self, key: str, what: str, hint: str = "") -> InputError:
        """An error about one key."""
        where = f"{self.name}.{key}" if self.name else key
        return InputError(
            f"{self.file}: {where} {what}.", hint=hint or "Correct the description, or compare it with a shipped one."
        )

    def text(self, key: str, default: str | None = None) -> str:
        """A text; required where there is no default."""
        return str(self._take(key, str, default))

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        return bool(self._take(key, bool, default))

    def texts(self, key: str, default: tuple[str, ...] | None = None, *, may_be_empty: bool = False) -> tuple[str, ...]:
        """A list of texts, or a single one."""
        if isinstance(self._content.get(key), str):
            return (self.text(key),)
        values = self._take(key, list, default)
        if not (values or may_be_empty) or not all(isinstance(value, str) for value in values):
            raise self.wrong(key, f"is {values!r}; expected a list of texts")
        return tuple(values)

    def choice(self, key: str, choices: Iterable[str]) -> str:
        """One of some texts."""
        value = self.text(key)
        if value not in (known := list(choices)):
            raise self.wrong(key, f"is {value!r}; expected {' or '.join(known)}", _nearest(value, known))
        return value

    def section(self, key: str) -> Section:
        """A table within this one."""
        return Section(self.file, f"{self.name}.{key}".lstrip("."), self._take(key, dict, None))

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
        for key in self._content:
            if key not in self._known:
                raise self.wrong(key, "is a key that gliolake does not know", _nearest(key, self._known))

    def _take(self, key: str, kind: type, default: object) -> Any:
        self._known.add(key)
        if key not in self._content:
            if default is None:
                unasked = [given for given in self._content if given not in self._known]
                near = difflib.get_close_matches(key, unasked, n=1, cutoff=0.6)
                raise self.wrong(key, "is missing" + (f"; there is a {near[0]!r}" if near else ""))
            return default
        value = self._content[key]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.wrong(key, f"is {value!r}; expected {_NAMES[kind]}")
        return value


def _nearest(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"Did you mean {near[0]}?" if near else f"Known: {', '.join(names)}."
