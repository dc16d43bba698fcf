"""How fast ingest reads, beside nibabel reading the same files in the same run, and how much memory a worker needs.

    python tests/bench/bench_ingest.py [--json] [--images DIR] [--scans N]

The images are N copies of complete BraTS21 cases below DIR (the reference data where DIR is not given), or made-up
volumes of their size where there are none. "Reading core" is one process reading, hashing, checking and measuring
scans; it alternates with nibabel scan by scan, so that other load on the machine strikes both alike.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from distributed import Client, LocalCluster

from gliolake.cluster.tasks import map_tasks
from gliolake.ingest.cohorts.description import load_cohort
from gliolake.ingest.pipeline import ingest
from gliolake.ingest.scans.discovery import find_scans
from gliolake.ingest.scans.images import read_scan
from gliolake.ingest.scans.model import FoundScan
from gliolake.storage.lake import Lake

REFERENCE = Path(os.environ.get("GLIOLAKE_REFERENCE", Path(__file__).parents[3] / "shared" / "reference"))
BRATS = load_cohort("brats21")
SHAPE = (240, 240, 155)


def lay_out(root: Path, images: Path, count: int) -> str:
    """Write ``count`` scans below ``root``; returns what they are made of."""
    cases = [scan for scan in find_scans(BRATS, images).scans if len(scan.files) == 5] if images.is_dir() else []
    for number in range(count):
        name = f"BraTS2021_{90000 + number}"
        (root / name).mkdir(parents=True)
        if cases:
            case = cases[number % len(cases)]
            for file in case.files:
                shutil.copy(file.uri, root / name / Path(file.uri).name.replace(case.source_id, name))
        else:
            make_up(root / name, name, number)
    return f"copies of {len(cases)} BraTS21 cases" if cases else "made-up volumes"


def make_up(folder: Path, name: str, seed: int) -> None:
    """A scan of BraTS size: noise inside an ellipsoid that fills about a fifth of the volume, zero outside."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in SHAPE), indexing="ij", sparse=True)
    brain = sum((axis / 0.7) ** 2 for axis in axes) < 1
    for role in ("flair", "t1", "t1ce", "t2"):
        voxels = np.where(brain, rng.normal(400, 60, SHAPE), 0).astype(np.int16)
        nib.Nifti1Image(voxels, np.diag([-1.0, -1, 1, 1])).to_filename(folder / f"{name}_{role}.nii.gz")
    mask = np.zeros(SHAPE, np.int16)
    mask[100:140, 100:150, 60:90] = 2
    nib.Nifti1Image(mask, np.diag([-1.0, -1, 1, 1])).to_filename(folder / f"{name}_seg.nii.gz")


def read_with_nibabel(scan: FoundScan) -> None:
    for file in scan.files:
        nib.load(file.uri).get_fdata()


def reading_core(scans: list[FoundScan], rounds: int = 3) -> tuple[float, float]:
    """Seconds for all scans in this process: gliolake's and nibabel's, each the best of some rounds."""
    assert BRATS.images is not None
    ours, theirs = [], []
    for scan in [scans[0], *scans]:  # the first one twice: the first time warms up
        seconds: tuple[list[float], list[float]] = ([], [])
        for _ in range(rounds):
            for took, read in ((seconds[0], lambda s: read_scan(s, BRATS.images)), (seconds[1], read_with_nibabel)):
                began = time.perf_counter()
                read(scan)
                took.append(time.perf_counter() - began)
        ours.append(min(seconds[0]))
        theirs.append(min(seconds[1]))
    return sum(ours[1:]), sum(theirs[1:])


def peak_memory() -> int:
    """Peak resident bytes of the process it runs in."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def end_to_end(root: Path, scratch: Path, rounds: int = 2) -> tuple[float, float, float, int]:
    """A whole ingest, and nibabel reading the same files on the same workers, by turns.

    Returns the best seconds of each, the seconds of an ingest that finds nothing new, and the largest worker's peak
    memory in bytes, taken before nibabel's first turn.
    """
    ours, theirs, memory = [], [], 0
    scans = find_scans(BRATS, root).scans
    with (
        LocalCluster(threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=40) as cluster,
        Client(cluster) as client,
    ):
        client.run(
            importlib.import_module, "gliolake.ingest.scans.images"
        )  # a cohort has a thousand scans, and imports once
        address = client.scheduler.address
        for number in range(rounds):
            lake = Lake(scratch / f"lake-{number}", create=True)
            began = time.perf_counter()
            report = ingest(lake, "brats21", images=root, scheduler=address)
            ours.append(time.perf_counter() - began)
            memory = memory or max(client.run(peak_memory).values())
            if report.excluded:
                raise SystemExit(f"scans were left out: {report.excluded}")
            began = time.perf_counter()
            for _, outcome in map_tasks(client, read_with_nibabel, scans, description="nibabel"):
                if outcome is not None:
                    raise SystemExit(f"nibabel failed: {outcome}")
            theirs.append(time.perf_counter() - began)
        began = time.perf_counter()
        ingest(lake, "brats21", images=root, scheduler=address)
        return min(ours), min(theirs), time.perf_counter() - began, memory


def measure(images: Path, count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "images"
        made_of = lay_out(root, images, count)
        scans = find_scans(BRATS, root).scans
        files = sum(len(scan.files) for scan in scans)
        ours, theirs = reading_core(scans)
        whole, theirs_on_all, second, memory = end_to_end(root, Path(scratch))
    return {
        "scans": f"{count} ({made_of})",
        "cores": len(os.sched_getaffinity(0)),
        "core_files_per_s": files / ours,
        "nibabel_files_per_s": files / theirs,
        "core_ratio": theirs / ours,
        "end_to_end_files_per_s": files / whole,
        "ratio_to_plain_loop": theirs / whole,
        "end_to_end_ratio": theirs_on_all / whole,
        "second_run_s": second,
        "worker_peak_mib": memory / (1 << 20),
    }


WORDS = {
    "scans": "scans",
    "cores": "cores",
    "core_files_per_s": "reading core, one process, files/s",
    "nibabel_files_per_s": "nibabel get_fdata, one process, files/s",
    "core_ratio": "ratio of the two (aim: 2)",
    "end_to_end_files_per_s": "ingest end to end, all cores, files/s",
    "ratio_to_plain_loop": "ratio to that nibabel loop (aim: 2)",
    "end_to_end_ratio": "ratio to nibabel on the same workers",
    "second_run_s": "second run over the unchanged folder, s",
    "worker_peak_mib": "largest worker's peak memory, MiB (aim: below 1024)",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--images", type=Path, default=REFERENCE / "scans", help="folder of BraTS21 cases")
    parser.add_argument("--scans", type=int, default=36, help="scans to lay out")
    options = parser.parse_args()
    figures = measure(options.images, options.scans)
    if options.json:
        print(json.dumps(figures))
        return
    for key, words in WORDS.items():
        value = figures[key]
        print(f"{words:<55} {value:.2f}" if isinstance(value, float) else f"{words:<55} {value}")


if __name__ == "__main__":
    main()
