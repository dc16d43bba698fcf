"""JSON in cells of a lake's tables: recipes, settings, arguments. The lake may be untrusted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gliolake.errors import DamagedFile

_HINT = "gliolake did not write it so. Restore the lake, or make it anew from its sources."


class Fields(dict[str, Any]):
    """A JSON object; a key that it lacks is an error that says of what."""

    source = ""

    def __missing__(self, key: str) -> Any:
        raise DamagedFile(f"{self.source} has no {key!r}.", hint=_HINT)


def json_cell(row: Mapping[str, Any], column: str, name: str) -> Fields:
    """The object that a cell holds as JSON.

    Args:
        row: of a table.
        column: the cell's.
        name: the column that names the row, for messages.

    Raises:
        DamagedFile: it is no JSON, no object, or nested too deep to be read; or, later, a key is asked for that is not
            there.
    """
    source = f"Column {column} of {row[name]!r}"
    try:
        found = json.loads(row[column])
    except (ValueError, TypeError, RecursionError) as error:
        raise DamagedFile(f"{source} is no JSON ({type(error).__name__}).", hint=_HINT) from None
    if not isinstance(found, dict):
        raise DamagedFile(f"{source} is {type(found).__name__}, and has to be an object.", hint=_HINT)
    fields = Fields(found)
    fields.source = source
    return fields
