"""JSON in cells of a stranger's lake is an object, or an error that names the row and the column."""

from __future__ import annotations

import pickle

import pytest

from gliolake.errors import DamagedFile
from gliolake.storage.json_cell import json_cell


@pytest.mark.parametrize(
    "text", ["", "{", "nonsense", "[" * 200_000, '{"a":' * 200_000, "[1]", '"steps"', "3", "null", None]
)
def test_what_is_no_object_names_the_row_and_the_column(text: str | None) -> None:
    with pytest.raises(DamagedFile, match=r"Column recipe of 'i3d-1' is") as caught:
        json_cell({"feature_set": "i3d-1", "recipe": text}, "recipe", "feature_set")
    assert len(str(caught.value)) < 200
    assert caught.value.hint


def test_a_key_that_is_missing_is_named_with_its_row_also_on_a_worker() -> None:
    fields = json_cell({"feature_set": "i3d-1", "recipe": '{"clip": {}}'}, "recipe", "feature_set")
    assert fields == {"clip": {}}
    for each in (fields, pickle.loads(pickle.dumps(fields))):  # noqa: S301
        assert each.get("steps") is None
        with pytest.raises(DamagedFile, match=r"Column recipe of 'i3d-1' has no 'steps'"):
            each["steps"]
