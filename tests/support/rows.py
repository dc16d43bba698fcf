"""Rows for tests: of any table, and of table labels."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from gliolake.schema.types import Table, moment
from gliolake.schema.vocabulary import FEATURE_LENGTH


def row(table: Table, number: int) -> dict[str, Any]:
    """A row of any table, another one for each number, all in one partition. Some of what may be null is."""
    made: dict[str, Any] = {}
    for place, column in enumerate(table.columns):
        if column.name in table.partition_by:
            made[column.name] = "all"
        elif column.name == "values":
            made[column.name] = [number + place / 4 for place in range(FEATURE_LENGTH)]
        else:
            made[column.name] = None if column.optional and (place + number) % 3 == 0 else value(column.type, number)
    return made


def value(kind: pa.DataType, number: int) -> Any:
    """A value of a type."""
    if pa.types.is_list(kind):
        return [value(kind.value_type, number + place) for place in range(number % 3)]
    if pa.types.is_struct(kind):
        return {field.name: value(field.type, number) for field in kind}
    return {
        "string": f'{{"é": {number}}}',  # some texts have to be JSON
        "binary": bytes([number]),
        "bool": number % 2 == 0,
        "float": number + 0.5,
        "double": number + 0.1,
        str(moment): datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number),
    }.get(str(kind), number)


def label(number: int, cohort: str = "brats21", **values: Any) -> dict[str, Any]:
    """A row of table labels."""
    return {
        "cohort": cohort,
        "scan_id": f"scan-{number:04d}",
        "source": "made",
        "source_id": str(number),
        "source_row": number + 2,
        "source_sha256": "0" * 64,
        "mgmt_status": "methylated",
        "label_rule": "brats21",
        **values,
    }
