"""Every example query on a lake of 100,000 scans, beside plain DuckDB over the same Parquet files by pattern.

    python tests/bench/bench_queries.py [--json] [--scans N] [--folder DIR]

Each example is asked on a connection of its own, as `gliolake sql` does: seconds of the query, of all processors for
it, and of opening and asking together. The rival has the same views over
`read_parquet('table/**/*.parquet')`: no commit log, no checksum, no refusal to write. The better of two rounds counts.
The lake is kept in the folder if one is given; to the large lake are added one experiment's predictions and attention,
and the agreement of its networks.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from large_lake import COHORTS, SETS, large_lake, scan_id
from telling import tell

from gliolake.schema.registry import TABLES
from gliolake.schema.vocabulary import BRANCHES, FEATURE_LENGTH
from gliolake.sql import catalog
from gliolake.sql.committed_files import DATA_FILES, SCHEME, CommittedFiles
from gliolake.sql.definitions import view_statements
from gliolake.sql.questions import questions
from gliolake.sql.status import status
from gliolake.storage.lake import Lake
from gliolake.storage.transaction import Transaction

AT_MOST_SECONDS = 1.0
REPEATS, FOLDS = 4, 5


def with_results(lake: Lake, scans: int) -> Lake:
    """The lake, with one experiment that was tested on every training scan in each repeat."""
    if lake.state().of_table("predictions"):
        return lake
    first, second = sorted(SETS)
    number = int(scans * COHORTS["brats21"][1])
    inside = {"scans": number, "patients": number}
    pair = {"first": first, "second": second, "scans": scans, "patients": scans}
    rows: dict[str, list[dict[str, Any]]] = {
        "experiments": [
            {
                "experiment": "snn-made", "model": "snn", "feature_set": second, "weights": "untrained",
                "label_rule": "brats21", "split": "training", "settings": "{}", **inside,
            }
        ],
        "summaries": [
            {
                "experiment": "snn-made", "split": "internal", "metric": "auc", "mean": 0.6,
                "ci_low": 0.55, "ci_high": 0.65,
                "optimism": 0.01, "folds": REPEATS * FOLDS, **inside,
            }
        ],
        "ccc_means": [{**pair, "modality": "all", "mean": 0.6, "features": FEATURE_LENGTH, "input_sha256": "0"}],
        "ccc": [
            {**pair, "modality": branch, "feature": n, "ccc": n / FEATURE_LENGTH}
            for branch in BRANCHES
            for n in range(1, FEATURE_LENGTH + 1)
        ],
    }  # fmt: skip
    for name, of_table in rows.items():
        lake.transact(partial(Transaction.append, name=name, rows=of_table), run_id="made")
    stream = np.random.default_rng(0)
    for repeat, fold in np.ndindex(REPEATS, FOLDS):
        numbers = np.arange(fold, number, FOLDS)
        tested = _tested(repeat, fold, numbers)
        called = {
            "patient_id": tested["scan_id"], "methylated": pa.array(numbers % 2 == 0),
            "probability": pa.array(stream.random(len(numbers))),
        }  # fmt: skip
        files = lake.stage("predictions", pa.table(tested | called), run_id="made")
        for branch in BRANCHES:
            seen = {"modality": pa.repeat(branch, len(numbers)), "weight": pa.array(stream.random(len(numbers)) / 5)}
            files += lake.stage("attention", pa.table(tested | seen), run_id="made")
        lake.transact(partial(Transaction.add, files=files), run_id="made")
    return lake


def _tested(repeat: int, fold: int, numbers: np.ndarray) -> dict[str, pa.Array]:
    def same(value: Any) -> pa.Array:
        return pa.repeat(value, len(numbers))

    return {
        "experiment": same("snn-made"), "split": same("internal"), "repeat": same(pa.scalar(repeat, pa.int32())),
        "fold": same(pa.scalar(fold, pa.int32())), "cohort": same("brats21"),
        "scan_id": pa.array(map(scan_id, numbers.tolist())),
    }  # fmt: skip


def plain(lake: Lake, folder: Path) -> duckdb.DuckDBPyConnection:
    """The same views in DuckDB alone, over whatever lies in the tables' folders; other files go into ``folder``."""
    files = CommittedFiles(lake, lake.state())

    def put(path: str) -> str:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(files.open(SCHEME + path).read())
        return str(target)

    connection = duckdb.connect()
    for table in (table for table in TABLES.values() if not table.bulky):
        pattern = f"{table.name}/*"
        there = lake.state().of_table(table.name)
        found = f"{lake.root}/{table.name}/**/*.parquet" if there else put(*files.glob(pattern))
        select = catalog.select(table).replace(SCHEME + pattern, found)
        connection.execute(f'CREATE VIEW "{table.name}" AS {select}')
    for name, value in catalog.variables().items():
        connection.execute(f"SET VARIABLE {name} = $value", {"value": value})
    facts = put(DATA_FILES)
    for _, statement in view_statements():
        connection.execute(statement.replace(SCHEME + DATA_FILES, facts))
    return connection


def asked(open_lake: Callable[[], duckdb.DuckDBPyConnection], statement: str) -> dict[str, float]:
    """Seconds of opening, of the query, and of all processors for the query; and the rows of the answer."""
    start = time.perf_counter()
    with open_lake() as connection:
        opened, used = time.perf_counter(), time.process_time()
        rows = connection.sql(statement).to_arrow_table().num_rows
        end = time.perf_counter()
        return {"query": end - opened, "cpu": time.process_time() - used, "both": end - start, "rows": rows}


def better(measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """The smaller of each figure of two rounds."""
    one, two = measure(), measure()
    return {name: round(min(one[name], two[name]), 3) for name in one}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--scans", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where the lake is kept")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gliolake-bench-") as folder:
        tell(f"making a lake of {arguments.scans:,} scans")
        lake = with_results(large_lake(arguments.folder or Path(folder, "lake"), arguments.scans), arguments.scans)
        found: dict[str, dict[str, float]] = {}
        for name, question in questions().items():
            tell(f"measuring: {name}")
            ours = better(partial(asked, partial(catalog.connect, lake), question.sql))
            rival = better(partial(asked, partial(plain, lake, Path(folder, "plain")), question.sql))
            found[name] = {**ours, "plain": rival["query"], "ratio": round(ours["query"] / rival["query"], 1)}
        start = time.perf_counter()
        status(lake)
        told = time.perf_counter() - start
    if arguments.json:
        print(json.dumps({"status_seconds": round(told, 3), "examples": found}))
        return
    print(f"{'example':33}{'rows':>9}{'query s':>9}{'cpu s':>8}{'with opening':>14}{'plain s':>9}{'ratio':>7}")
    for name, row in found.items():
        print(
            f"{name:33}{row['rows']:9,.0f}{row['query']:9.3f}{row['cpu']:8.3f}{row['both']:14.3f}{row['plain']:9.3f}"
            f"{row['ratio']:7.1f}"
        )
    print(f"gliolake status: {told:.2f} s")
    slow = [name for name, row in found.items() if row["query"] > AT_MOST_SECONDS]
    print(f"over {AT_MOST_SECONDS:.0f} s on an open connection: {', '.join(slow) or 'none'}")


if __name__ == "__main__":
    main()
