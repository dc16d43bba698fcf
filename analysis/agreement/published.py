"""The study's Table S4, the concordance that it published of each feature, as a table of the lake."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gliolake.errors import InputError
from gliolake.ingest.readers.csv_file import CsvFile, read_csv
from gliolake.runs import start_run
from gliolake.schema.vocabulary import FEATURE_LENGTH
from gliolake.text_shape import shape_of

if TYPE_CHECKING:
    from gliolake.storage.lake import Lake

FEATURE = "feature"
PAIRS = ("vivit_slowfast", "vivit_ircsn", "vivit_i3d", "slowfast_ircsn", "slowfast_i3d", "i3d_ircsn")
"""Columns of the table: two networks each."""

HINT = f"The table has the columns {FEATURE}, {', '.join(PAIRS)}, and a row for each of {FEATURE_LENGTH} features."


@dataclass(frozen=True)
class PublishedReport:
    """What was read: the file's name, how many features it has, and by pair of networks the mean over them."""

    source: str
    features: int
    means: dict[str, float]


def ingest_published(lake: Lake, file: str | Path) -> PublishedReport:
    """Bring Table S4 into table published_ccc, in place of a former one.

    Raises:
        InputError: the file cannot be read, or is not that table; the message names line and column.
    """
    table = read_csv(Path(file), (FEATURE, *PAIRS))
    rows = published_rows(table)
    with start_run(lake, "ccc", {"published": str(file)}) as run:
        run.transact(lambda transaction: transaction.replace("published_ccc", {}, rows))
    means = {
        pair: math.fsum(row["ccc"] for row in rows if f"{row['first']}_{row['second']}" == pair) / FEATURE_LENGTH
        for pair in PAIRS
    }
    return PublishedReport(table.path.stem, FEATURE_LENGTH, means)


def published_rows(table: CsvFile) -> list[dict[str, Any]]:
    """Rows of table published_ccc.

    Raises:
        InputError: a column or a feature is missing, there twice or unknown, or a value is none that a concordance
            can have.
    """
    wanted = (FEATURE, *PAIRS)
    if sorted(table.header) != sorted(wanted):
        missing = [name for name in wanted if name not in table.header]
        other = [name for name in table.header if name not in wanted or table.header.count(name) > 1]
        told = [f"lacks {', '.join(missing)}"] if missing else []
        told += [f"has {', '.join(map(shape_of, dict.fromkeys(other)))}"] if other else []
        raise InputError(f"{table.path} is not the published table: it {' and '.join(told)}.", hint=HINT)
    rows: list[dict[str, Any]] = []
    lines: dict[int, int] = {}
    for line, fields in table.rows:
        if len(fields) != len(table.header):
            raise InputError(f"{table.path}, line {line}: {len(fields)} fields, not {len(wanted)}.", hint=HINT)
        cells = dict(zip(table.header, fields, strict=True))
        feature = _feature(table, line, cells[FEATURE])
        if feature in lines:
            raise InputError(f"{table.path}, line {line}: feature {feature} is in line {lines[feature]} already.")
        lines[feature] = line
        for pair in PAIRS:
            first, second = pair.split("_")
            rows.append(
                {
                    "source": table.path.stem, "first": first, "second": second, "feature": feature,
                    "ccc": _ccc(table, line, pair, cells[pair]), "source_sha256": table.sha256,
                }
            )  # fmt: skip
    if absent := set(range(1, FEATURE_LENGTH + 1)) - lines.keys():
        raise InputError(f"{table.path} has no row for {len(absent)} features, the first {min(absent)}.", hint=HINT)
    return rows


def _feature(table: CsvFile, line: int, text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= FEATURE_LENGTH):
        raise InputError(
            f"{table.path}, line {line}, column {FEATURE}: {shape_of(text)} is no whole number "
            f"from 1 to {FEATURE_LENGTH}.",
            hint="Features are counted from 1, in the order of the network's output.",
        )
    return int(text)


def _ccc(table: CsvFile, line: int, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not -1 <= value <= 1:
        raise InputError(
            f"{table.path}, line {line}, column {column}: {shape_of(text)} is no number from -1 to 1.",
            hint="A concordance is one; numbers are written with a point.",
        )
    return value
