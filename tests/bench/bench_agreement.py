"""Concordance of two feature sets of 100,000 scans, as a whole process, beside a plain loop with pandas and NumPy.

    python tests/bench/bench_agreement.py [--json] [--scans N] [--folder DIR]

`gliolake ccc` is timed on a lake of so many scans and on one of a tenth of them, with the peak memory of all of its
processes together; the plain loop on the tenth: every file read with pandas, joined by scan, one feature at a time, and
no intervals. Lakes are kept in the folder if one is given.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from large_lake import SETS, large_lake
from telling import tell

from gliolake.schema.vocabulary import BRANCHES
from gliolake.storage.lake import Lake

AT_MOST_SECONDS = 60
AT_MOST_MIB = 2048
EVERY = 0.05  # seconds between looks at the memory


def measured(lake: Lake) -> dict[str, float]:
    """Seconds of the clock and of all processors, and the peak of the resident memory of the command and its workers
    together, pages that they share counted as often as they are shared."""
    lake.transact(lambda tx: (tx.delete("ccc", {}), tx.delete("ccc_means", {}))[0], run_id="bench")
    command = [sys.executable, "-m", "gliolake", "ccc", "--lake", lake.root, "--json"]
    start, used = time.perf_counter(), _children_seconds()
    process = psutil.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        with suppress(psutil.NoSuchProcess):
            peak = max(peak, sum(map(_resident, [process, *process.children(recursive=True)])))
        time.sleep(EVERY)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"gliolake ccc ended with {process.returncode}")
    mean = next(row["mean"] for row in json.loads(process.stdout.read())["agreements"] if row["modality"] == "all")
    used = _children_seconds() - used
    return {"seconds": round(seconds, 1), "cpu_seconds": round(used, 1), "MiB": peak // 2**20, "mean": mean}


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _resident(process: psutil.Process) -> int:
    with suppress(psutil.NoSuchProcess):
        return int(process.memory_info().rss)
    return 0


def plain_loop(lake: Lake) -> dict[str, float]:
    """The loop that one would write in a notebook."""
    start, used = time.perf_counter(), time.process_time()
    found = []
    for modality in BRANCHES:
        one, other = (_vectors(lake, name, modality) for name in SETS)
        both = one.join(other, how="inner", suffixes=("_x", "_y"))
        x, y = (np.stack(both[column].to_list()).astype(np.float64) for column in ("values_x", "values_y"))
        for feature in range(x.shape[1]):
            a, b = x[:, feature], y[:, feature]
            covariance = ((a - a.mean()) * (b - b.mean())).mean()
            found.append(2 * covariance / (a.var() + b.var() + (a.mean() - b.mean()) ** 2))
    seconds, used = time.perf_counter() - start, time.process_time() - used
    return {"seconds": round(seconds, 1), "cpu_seconds": round(used, 1), "mean": float(np.mean(found))}


def _vectors(lake: Lake, feature_set: str, modality: str) -> pd.DataFrame:
    files = lake.state().of_table("features", {"feature_set": feature_set, "modality": modality})
    parts = [
        pd.read_parquet(Path(lake.root, file.path), columns=["scan_id", "values"]).assign(
            cohort=file.partition["cohort"]
        )
        for file in files
    ]
    return pd.concat(parts).set_index(["cohort", "scan_id"])[["values"]]


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--scans", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where the lakes are kept; made anew and deleted if not given")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gliolake-bench-")))
        tell(f"making lakes of a tenth and of all of {arguments.scans:,} scans")
        tenth = large_lake(folder / "tenth", arguments.scans // 10)
        whole = large_lake(folder / "whole", arguments.scans)
        tell("measuring: gliolake ccc, and a plain loop")
        found = {"tenth": measured(tenth), "whole": measured(whole)}
        found["plain"] = plain_loop(tenth)
    if abs(found["plain"]["mean"] - found["tenth"]["mean"]) > 1e-9:
        raise SystemExit(f"not the same coefficients: {found}")
    if arguments.json:
        print(json.dumps(found | {"scans": arguments.scans}))
        return
    scans = arguments.scans
    told = {"tenth": "gliolake ccc", "whole": "gliolake ccc", "plain": "a plain loop, no intervals"}
    for name, what in told.items():
        one, number = found[name], scans if name == "whole" else scans // 10
        memory = f", {one['MiB']:,} MiB in all processes" if "MiB" in one else ""
        print(f"{what}, {number:,} scans: {one['seconds']} s ({one['cpu_seconds']} s of processors){memory}")
    grown = {name: found["whole"][name] / found["tenth"][name] for name in ("seconds", "cpu_seconds", "MiB")}
    print("ten times the scans: " + ", ".join(f"{name} times {times:.1f}" for name, times in grown.items()))
    ratio = {name: 10 * found["plain"][name] / found["whole"][name] for name in ("seconds", "cpu_seconds")}
    print(
        "plain loop over gliolake ccc, per scan: " + ", ".join(f"{name} {times:.1f}" for name, times in ratio.items())
    )
    print(f"aims for 100,000 scans on two free cores: {AT_MOST_SECONDS} s and {AT_MOST_MIB:,} MiB")


if __name__ == "__main__":
    main()
