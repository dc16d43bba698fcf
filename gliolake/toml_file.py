"""TOML files, read into frozen dataclasses by pydantic; all errors of a file are reported at once, by file and key.

The classes are the standard library's, so that a module which has one is imported without pydantic: MXNet's workers,
which read no files, have none, and ``gliolake --help`` need not wait for it.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar, get_args, get_type_hints

from gliolake import limits
from gliolake.errors import InputError

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema, ErrorDetails

T = TypeVar("T")
Place = tuple[str | int, ...]

NO_TOML = "Give a UTF-8 TOML file."
CORRECT = "Correct the file, or compare it with one that is shipped."


class Table:
    """A table of a TOML file: base of dataclasses, whose fields are all the keys that it may have."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid", "strict": True}


class Wrong(ValueError):
    """What is wrong with a value, in words that follow its key; ``known`` are names, the nearest of which is told.

    A table's ``__post_init__`` says which of its keys it means.
    """

    def __init__(self, what: str, *, key: str = "", known: Iterable[str] = (), value: str = "") -> None:
        super().__init__(what)
        self.faults: tuple[tuple[str, str, str], ...] = ((key, what, nearest(value, known)),)

    def within(self, place: str) -> Wrong:
        """The same, of a key of a table within this one."""
        self.faults = tuple((f"{place}.{key}" if key else place, what, near) for key, what, near in self.faults)
        return self

    @classmethod
    def all_of(cls, faults: Iterable[Wrong]) -> None:
        """Raise them as one, if there are any."""
        if found := list(faults):
            found[0].faults = tuple(fault for each in found for fault in each.faults)
            raise found[0]


class Check:
    """In ``Annotated``: a function that takes the value, and returns what it becomes or raises ValueError."""

    def __init__(self, check: Callable[[Any], Any], *, first: bool = False, of: Any = None) -> None:
        """``first``: before the value's type is looked at, not after it. ``of``: the type that the file has."""
        self.check, self.first, self.of = check, first, of

    def __get_pydantic_core_schema__(self, kind: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        schema = handler.generate_schema(self.of) if self.of else handler(kind)
        if self.first:
            return core_schema.no_info_before_validator_function(self.check, schema)
        return core_schema.no_info_after_validator_function(self.check, schema)


class Beside:
    """In ``Annotated``: a path, which starts at the file's folder where it is relative.

    ending: of a text that is a path; any other stays as it is.
    """

    def __init__(self, ending: str = "") -> None:
        self.ending = ending

    def __get_pydantic_core_schema__(self, kind: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        def placed(path: Any, info: Any) -> Any:
            return type(path)(info.context / _expanded(path)) if str(path).endswith(self.ending) else path

        return core_schema.with_info_after_validator_function(placed, handler(kind))


def at_least(least: int) -> Check:
    """A number that is no smaller."""

    def check(value: int) -> int:
        if value < least:
            raise Wrong(f"is {value}; expected at least {least}")
        return value

    return Check(check)


def one_of(names: Iterable[str]) -> Check:
    """A text that is one of these."""
    known = tuple(names)

    def check(value: str) -> str:
        if value not in known:
            raise Wrong(f"is {value!r}; expected {' or '.join(known)}", value=value, known=known)
        return value

    return Check(check)


def some_of(names: Iterable[str]) -> Check:
    """Texts that are all among these."""
    known = tuple(names)

    def check(values: Iterable[str]) -> Iterable[str]:
        for value in values:
            if value not in known:
                raise Wrong(f"names {value!r}, which is not known", value=value, known=known)
        return values

    return Check(check)


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _filled(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values:
        raise Wrong("is []; expected a list of texts")
    return values


Texts = Annotated[tuple[str, ...], Check(_listed, first=True)]
"""A list of texts, or a single one."""

SomeTexts = Annotated[Texts, Check(_filled)]
"""At least one text."""

Positive = Annotated[int, at_least(1)]
FilePath = Annotated[Path, Beside()]
FilePaths = Annotated[tuple[FilePath, ...], Check(_listed, first=True)]
"""A list of paths, or a single one."""


def text_of(path: Path) -> str:
    """The text of a TOML file.

    Raises:
        InputError: it cannot be read, or is too large.
    """
    try:
        return limits.read_whole(path, limits.DESCRIPTION).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}.", hint=NO_TOML) from error


def load_toml(text: str, file: str) -> dict[str, Any]:
    """The tables of a TOML text, unchecked; ``file`` names it in messages. Raises InputError."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # brackets within brackets, or a number of 5,000 digits
        raise InputError(
            f"{file} cannot be read: it is not a TOML file: {error}.", hint="Compare it with a shipped TOML file."
        ) from error


def read_table(content: Mapping[str, Any], kind: type[T], file: str) -> T:
    """Tables as a dataclass.

    Raises:
        InputError: keys are unknown or missing, or values are not what they have to be; names all of them.
    """
    from pydantic import TypeAdapter, ValidationError

    try:  # as JSON, since a strict reader of Python's values takes no list for a tuple
        text = json.dumps(content, default=lambda moment: {"date": str(moment)})
        return TypeAdapter(kind).validate_json(text, context=Path(file).parent)
    except ValidationError as error:
        found = error.errors()
        unasked = {each["loc"] for each in found if each["type"] == "unexpected_keyword_argument"}
        faults = [fault for each in found for fault in _faults(each, content, kind, unasked)]
    except RecursionError as error:
        faults = [("it", f"nests too deep ({error})", "")]
    if len(faults) == 1:
        ((place, what, near),) = faults
        raise InputError(f"{file}: {place} {what}.", hint=near or CORRECT) from None
    lines = [f"\n  {place} {what}.{f' {near}' if near else ''}" for place, what, near in faults]
    raise InputError(f"{file} has {len(faults)} faults:{''.join(lines)}", hint=CORRECT) from None


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence with the nearest of some names, else with all; "" where there are none."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"Did you mean {near[0]}?" if near else f"Known: {', '.join(names)}." if names else ""


def _faults(error: ErrorDetails, content: Any, kind: Any, unasked: set[Place]) -> Iterable[tuple[str, str, str]]:
    """Place, what is wrong there, and the nearest name, of one of pydantic's errors."""
    place = error["loc"]
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, Wrong):
        for key, what, near in cause.faults:
            yield _name((*place, *([key] if key else [])), content), what, near
    elif error["type"] == "missing":
        others = [str(each[-1]) for each in unasked if each[:-1] == place[:-1]]
        similar = difflib.get_close_matches(str(place[-1]), others, n=1, cutoff=0.6)
        yield _name(place, content), "is missing" + (f"; there is a {similar[0]!r}" if similar else ""), ""
    elif error["type"] == "unexpected_keyword_argument":
        yield _name(place, content), "is a key that gliolake does not know", nearest(str(place[-1]), _keys(kind, place))
    elif place[-1:] == ("[key]",):
        yield _name(place[:-2], content), f"has a key {place[-2]!r}; expected {_expected(error)}", ""
    elif error["type"] == "json_invalid":
        yield "it", f"nests too deep ({error['msg']})", ""
    elif isinstance(cause, InputError):
        yield _name(place, content), f"is refused: {str(cause).rstrip('.')}", cause.hint
    else:
        yield _name(place, content), f"is {_shown(error['input'])}; expected {_expected(error)}", ""


_EXPECTED = {
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "tuple": "a list",
    "path": "a path",
}


def _expected(error: ErrorDetails) -> str:
    return _EXPECTED.get(error["type"].split("_")[0], "a table")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _name(place: Place, content: Any) -> str:
    """A place in words: a table of an array is known by its name, else by its number."""
    words = ""
    for part in place:
        try:
            content = content[part]
        except (LookupError, TypeError):  # it is missing
            content = None
        if isinstance(part, int):
            named = content.get("name") if isinstance(content, dict) else None
            words += f" {named!r}" if isinstance(named, str) else f" {part + 1}"
        else:
            words += f".{part}"
    return words.lstrip(".") or "it"


def _keys(kind: Any, place: Place) -> list[str]:
    """The keys that the table may have in which a place lies."""
    table = _table_within(kind)
    for part in place[:-1]:
        table = _table_within(get_type_hints(table, include_extras=True).get(str(part))) or table
    return [field.name for field in fields(table) if field.init]


def _table_within(kind: Any) -> Any:
    """The dataclass that a type is or has, as in ``tuple[Row, ...] | None``; of one made by a check, what from."""
    if isinstance(kind, type) and is_dataclass(kind):
        return kind
    made_of = [each.of for each in getattr(kind, "__metadata__", ()) if isinstance(each, Check)]
    return next((found for inner in (*made_of, *get_args(kind)) if (found := _table_within(inner))), None)


def _expanded(path: str | Path) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise Wrong(f"is {str(path)!r}; there is no such account") from None
