"""Appends per second from eight processes at once, against the same files written, synced and renamed without a log.

Usage: python tests/bench/bench_commits.py [--json] [--processes N] [--each N]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

from lake.store import Lake


def row(process: int, number: int) -> dict[str, Any]:
    return {
        "feature_set": "bench",
        "cohort": "brats21",
        "scan_id": f"scan-{process}-{number}",
        "modality": "T1",
        "values": [0.5] * 400,
        "input_sha256": "0" * 64,
    }


def commit(root: str, process: int, each: int) -> float:
    lake = Lake(root, create=True)
    begun = time.perf_counter()
    for number in range(each):
        lake.transact(lambda tx, n=number: tx.append("features", [row(process, n)]), run_id="bench")  # type: ignore[misc]
    return time.perf_counter() - begun


def write_only(root: str, process: int, each: int) -> float:
    lake = Lake(root, create=True)
    begun = time.perf_counter()
    for number in range(each):
        lake.stage("features", [row(process, number)], run_id="bench")
    return time.perf_counter() - begun


def rate(work: Any, root: str, processes: int, each: int) -> float:
    """Appends per second, process start-up apart."""
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        pool.starmap(work, [(f"{root}-warm", process, 1) for process in range(processes)])
        return processes * each / max(pool.starmap(work, [(root, process, each) for process in range(processes)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--each", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        committed = rate(commit, str(Path(folder, "commits")), options.processes, options.each)
        written = rate(write_only, str(Path(folder, "files")), options.processes, options.each)
        lake = Lake(Path(folder, "commits"))
        rows = lake.read("features", columns=["scan_id"]).num_rows
        begun = time.perf_counter()
        Lake(Path(folder, "commits"))
        opened = time.perf_counter() - begun
    result = {
        "processes": options.processes,
        "appends": options.processes * options.each,
        "appends_found": rows,
        "appends_per_second": round(committed, 1),
        "files_per_second_without_a_log": round(written, 1),
        "ratio": round(committed / written, 3),
        "seconds_to_open_the_lake": round(opened, 4),
    }
    if options.json:
        print(json.dumps(result))
        return
    print(f"Commits: {result['appends_per_second']} appends/s from {options.processes} processes to one partition,")
    print(f"  {rows} of {result['appends']} found; {result['ratio']} of the rate of the same files without a log;")
    print(f"  a lake of {result['appends']} commits opens in {opened * 1000:.1f} ms.")


if __name__ == "__main__":
    main()
