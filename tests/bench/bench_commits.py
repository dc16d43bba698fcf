"""A thousand commits by eight processes to one table, in a folder and on an S3 server, each row counted afterwards.

    python tests/bench/bench_commits.py [--json] [--commits N] [--processes N] [--rounds N] [--folder DIR]

Beside them, in turn and with the same rows, partitions and processes, files of pyarrow alone: `plain` makes the Arrow
table of each partition and writes it under a name of its own, `durable` also syncs file and folder and renames, as the
lake does. On S3 (moto's server, one process on this machine) plain files go there by the same client; what is written
is durable there. A commit is of one row, or of what `gliolake extract` commits at a time: 32 scans of five branches,
by its own function. Of several rounds the best counts. Exit code 1 if a row is lost or there twice.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import obstore.store
import pyarrow as pa
import pyarrow.parquet as pq
from telling import tell

sys.path.append(str(Path(__file__).parents[2]))
from gliolake.features.extraction.command import BATCH_SCANS, commit
from gliolake.features.extraction.plan import Plan
from gliolake.features.extraction.recipe import Recipe
from gliolake.features.extraction.scan_task import ScanOutcome, ScanTask, input_digest
from gliolake.schema.registry import TABLES
from gliolake.schema.vocabulary import BRANCHES, FEATURE_LENGTH
from gliolake.storage.lake import Lake
from gliolake.storage.transaction import Transaction
from tests.support.s3_server import new_bucket, requests_so_far, s3_server

RECIPE = Recipe("random_conv", "untrained", "{}")
TABLE = TABLES["features"]


def scan_ids(process: int, number: int, scans: int) -> list[str]:
    return [f"P{process:02d}-{number:05d}-{scan:02d}" for scan in range(scans)]


def vectors(process: int, number: int, count: int) -> np.ndarray:
    """(count, 400) float32, of this commit alone."""
    return np.random.default_rng([process, number]).standard_normal((count, FEATURE_LENGTH), np.float32)


def row(scan: str, branch: str, values: np.ndarray) -> dict[str, Any]:
    return {
        "feature_set": RECIPE.feature_set, "cohort": "brats21", "modality": branch, "scan_id": scan, "values": values,
        "input_sha256": input_digest(branch, ()), "run_id": "bench",
    }  # fmt: skip


def commit_one(lake: Lake, process: int, number: int) -> None:
    (scan,) = scan_ids(process, number, 1)
    new = [row(scan, "T1", vectors(process, number, 1)[0])]
    lake.transact(lambda transaction: transaction.append("features", new), run_id="bench")


def commit_batch(lake: Lake, process: int, number: int) -> None:
    values = iter(vectors(process, number, BATCH_SCANS * len(BRANCHES)))
    batch = [
        (
            ScanTask("brats21", scan, (), (), ()),
            ScanOutcome({RECIPE.feature_set: {branch: next(values) for branch in BRANCHES}}),
        )
        for scan in scan_ids(process, number, BATCH_SCANS)
    ]
    build: Callable[[Transaction], None] = partial(commit, recipes=[RECIPE], plan=Plan(), batch=batch)
    lake.transact(build, run_id="bench")


PAYLOADS: dict[str, tuple[Callable[[Lake, int, int], None], tuple[str, ...], int]] = {
    "one row": (commit_one, ("T1",), 1),
    "extraction's batch": (commit_batch, BRANCHES, BATCH_SCANS),
}
"""What commits it, its branches, and its scans."""


def commits(root: str, payload: str, process: int, each: int) -> None:
    lake = Lake(root, create=True)
    for number in range(each):
        PAYLOADS[payload][0](lake, process, number)


def files(root: str, payload: str, process: int, each: int, *, durable: bool = False) -> None:
    """The rows of each commit as files, one for each partition as in the lake."""
    _, branches, scans = PAYLOADS[payload]
    store = obstore.store.from_url(root) if root.startswith("s3:") else None
    for number in range(each):
        values = vectors(process, number, scans * len(branches)).reshape(scans, len(branches), FEATURE_LENGTH)
        names = scan_ids(process, number, scans)
        for place, branch in enumerate(branches):
            rows = [row(scan, branch, values[scan_place, place]) for scan_place, scan in enumerate(names)]
            table = pa.Table.from_pylist(rows, schema=TABLE.schema).select(TABLE.file_schema.names)
            path = f"features/feature_set={RECIPE.feature_set}/cohort=brats21/modality={branch}/{uuid.uuid4()}.parquet"
            if store is not None:
                sink = pa.BufferOutputStream()
                pq.write_table(table, sink)
                store.put(path, sink.getvalue().to_pybytes())
            else:
                write(table, Path(root, path), durable)


def write(table: pa.Table, path: Path, durable: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not durable:
        pq.write_table(table, path)
        return
    with path.with_suffix(".part").open("wb") as file:
        pq.write_table(table, file)
        file.flush()
        os.fsync(file.fileno())
    path.with_suffix(".part").rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


Work = Callable[[str, str, int, int], None]
"""What one process does: in a root, with a payload, as the process of this number, so many times."""


def at_work(work: Callable[[str, int], None], each: int, roots: tuple[str, str], gate: Any, told: Any) -> None:
    work(roots[0], 1)  # imports, and first looks
    gate.wait()
    began = time.monotonic()
    work(roots[1], each)
    told.put((began, time.monotonic()))


def in_process(work: Work, payload: str, process: int, root: str, each: int) -> None:
    work(root, payload, process, each)


def rate(work: Work, root: str, payload: str, processes: int, each: int) -> float:
    """Times a second that the work was done, by processes that begin together, their start-up apart."""
    context = multiprocessing.get_context("spawn")
    gate, told = context.Barrier(processes), context.Queue()
    workers = []
    for number in range(processes):
        own = partial(in_process, work, payload, number)
        arguments = (own, each, (f"{root}-warm{number}", root), gate, told)
        workers.append(context.Process(target=at_work, args=arguments))
    for worker in workers:
        worker.start()
    times = [told.get(timeout=900) for _ in workers]
    for worker in workers:
        worker.join()
    return processes * each / (max(ended for _, ended in times) - min(began for began, _ in times))


def counted(root: str, payload: str, processes: int, each: int) -> tuple[int, int]:
    """Rows that are lost, and rows too many."""
    _, branches, scans = PAYLOADS[payload]
    wanted = {
        (scan, branch)
        for process in range(processes)
        for number in range(each)
        for scan in scan_ids(process, number, scans)
        for branch in branches
    }
    rows = Lake(root).read("features", columns=["scan_id", "modality"])
    found = list(zip(*(rows[name].to_pylist() for name in ("scan_id", "modality")), strict=True))
    return len(wanted - {*found}), len(found) - len(wanted & {*found})


def measured(base: str, payload: str, processes: int, each: int, rounds: int) -> dict[str, Any]:
    """Rates of the lake and of files alone, and what was lost."""
    on_s3 = base.startswith("s3:")
    ways = {"lake": commits, "plain": files}
    if not on_s3:
        ways["durable"] = partial(files, durable=True)
    best: dict[str, float] = dict.fromkeys(ways, 0.0)
    lost = doubled = 0
    requests: dict[str, float] = {}
    size = 0
    for number in range(rounds):
        for way, work in ways.items():
            tell(f"measuring: {payload}, {way}, {'S3' if on_s3 else 'folder'}")
            root = f"{base}/{number}-{way}-{payload.replace(' ', '-')}"
            before = requests_so_far() if on_s3 else {}
            best[way] = max(best[way], rate(work, root, payload, processes, each))
            if way == "lake":
                if on_s3:
                    asked = requests_so_far() - before
                    requests = {method: round(count / (processes * (each + 1)), 2) for method, count in asked.items()}
                less, more = counted(root, payload, processes, each)
                lost, doubled = lost + less, doubled + more
                size = sum(file.bytes for file in Lake(root).state().files.values())
        if on_s3:
            new_bucket()
    return {
        "store": "S3" if on_s3 else "folder",
        "payload": payload,
        "commits": processes * each,
        **{f"{way}_per_second": round(best[way], 1) for way in ways},
        **{f"of_{way}": round(best["lake"] / best[way], 2) for way in ways if way != "lake"},
        "bytes_per_commit": round(size / (processes * each)),
        "requests_per_commit": requests,
        "rows_lost": lost,
        "rows_doubled": doubled,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--commits", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where lakes are made, and left; a temporary one if not given")
    options = parser.parse_args()
    each = options.commits // options.processes
    found = []
    with tempfile.TemporaryDirectory(prefix="gliolake-bench-") as folder, s3_server() as bucket:
        for base in (str(options.folder or folder), bucket):
            for payload in PAYLOADS:
                found.append(measured(base, payload, options.processes, each, options.rounds))
    if options.json:
        print(json.dumps({"processes": options.processes, "cores": len(os.sched_getaffinity(0)), "commits": found}))
    else:
        show(found, options.processes)
    if any(row["rows_lost"] or row["rows_doubled"] for row in found):
        sys.exit("rows were lost, or are there twice")


def show(found: list[dict[str, Any]], processes: int) -> None:
    print(
        f"{found[0]['commits']:,} commits by {processes} processes to one table, {len(os.sched_getaffinity(0))} cores"
    )
    print(f"{'store':8}{'payload':20}{'commits/s':>10}{'plain/s':>9}{'durable/s':>10}{'of plain':>9}{'of durable':>11}"
          f"{'bytes':>10}{'lost':>6}{'twice':>6}  requests a commit")  # fmt: skip
    for row in found:
        print(
            f"{row['store']:8}{row['payload']:20}{row['lake_per_second']:10.1f}{row['plain_per_second']:9.1f}"
            f"{row.get('durable_per_second', ''):>10}{row['of_plain']:9.2f}{row.get('of_durable', ''):>11}"
            f"{row['bytes_per_commit']:10,}{row['rows_lost']:6}{row['rows_doubled']:6}  "
            + ", ".join(f"{count} {method}" for method, count in row["requests_per_commit"].items())
        )


if __name__ == "__main__":
    main()
