"""How long the paper's whole suite takes, and how its cost grows with the cohort.

    python tests/bench/bench_study.py [--json] [--scale] [--workers N]

The suite is every row of the shipped study for which the paper publishes a figure, and its Figure 7a, on vectors made
here: 462 training and 100 external scans, four backbones. Beside it, from the same run, one fold of the SNN by the
released way: one scan per step, 200 epochs, nothing batched, in plain torch.

With --scale, two epochs of the SNN, the MLP and a logistic regression on cohorts of 462 scans, ten and a hundred times
as many: seconds, and the peak memory of the client and of the largest other process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from bench_training import FOLDS, SCANS, rival_seconds_per_scan
from telling import tell

from gliolake.modeling.study.command import run_study
from gliolake.modeling.study.file import read_study
from gliolake.schema.vocabulary import BRANCHES
from gliolake.storage.lake import Lake
from gliolake.storage.transaction import Transaction

BACKBONES = (
    "vivit_b_16x2", "i3d_nl10_resnet101_v1_kinetics400", "slowfast_4x16_resnet50_kinetics400",
    "r2plus1d_v2_resnet152_kinetics400",
)  # fmt: skip
EXTERNAL = 100
EPOCHS = 200
RECIPE = json.dumps({"clip": {"delta": "image"}})

PROCESSES = {"client_MiB": resource.RUSAGE_SELF, "largest_other_MiB": resource.RUSAGE_CHILDREN}
"""The others are the worker and the one that made the cohort."""

SMALL = """
study = "scale"
[defaults]
features = "ours"
repeats = 1
epochs = 2
[features]
ours = "vivit_b_16x2"
[[experiment]]
name = "SNN"
table = "scale"
model = "snn"
[[experiment]]
name = "MLP"
table = "scale"
model = "mlp"
[[experiment]]
name = "logistic"
table = "scale"
model = "logistic"
"""


def made_lake(folder: Path, scans: int, external: int, backbones: tuple[str, ...]) -> Lake:
    """A lake of made-up vectors with a weak signal."""
    lake = Lake(folder, create=True)
    described = {"label_rule": "brats21", "description": "made up", "description_sha256": "0" * 64}
    cohorts = [{"cohort": name, "role": name, **described} for name in ("training", "external")]
    sets = [{"feature_set": f"{b}-made", "backbone": b, "weights": "untrained", "recipe": RECIPE} for b in backbones]
    lake.transact(lambda tx: (tx.upsert("cohorts", cohorts), tx.upsert("feature_sets", sets))[0], run_id="made")
    stream = np.random.default_rng(0)
    direction = stream.standard_normal(400).astype(np.float32)
    for cohort, number in (("training", scans), ("external", external)):
        names = [f"scan-{i:06d}" for i in range(number)]
        labels = [_label(cohort, name, i) for i, name in enumerate(names)]
        lake.transact(partial(Transaction.append, name="labels", rows=labels), run_id="made")
        signal = np.where(np.arange(number) % 2 == 0, 0.03, -0.03)[:, None].astype(np.float32)
        for backbone in backbones:
            files = []
            for branch in BRANCHES:
                values = stream.standard_normal((number, 400), np.float32) + signal * direction
                rows = _features(f"{backbone}-made", cohort, names, branch, values)
                files += lake.stage("features", rows, run_id="made")
            lake.transact(partial(Transaction.add, files=files), run_id="made")
    return lake


def _label(cohort: str, name: str, number: int) -> dict[str, Any]:
    return {
        "cohort": cohort, "scan_id": name, "source": "made", "source_id": name, "source_row": number + 2,
        "source_sha256": "0" * 64, "mgmt_status": ("methylated", "unmethylated")[number % 2], "label_rule": "brats21",
    }  # fmt: skip


def _features(feature_set: str, cohort: str, names: list[str], branch: str, values: np.ndarray) -> pa.Table:
    def same(text: str) -> pa.Array:
        return pa.array([text] * len(names))

    offsets = pa.array(np.arange(0, values.size + 1, values.shape[1], dtype=np.int32))
    vectors = pa.ListArray.from_arrays(offsets, pa.array(values.reshape(-1)))
    return pa.table(
        {
            "feature_set": same(feature_set), "cohort": same(cohort), "scan_id": pa.array(names),
            "modality": same(branch), "values": vectors, "input_sha256": same("0" * 64),
        }
    )  # fmt: skip


def suite(workers: int | None) -> dict[str, float]:
    """The paper's rows, timed whole, the cluster's start and the summaries included."""
    study = read_study()
    rows = [row.name for row in study.rows if row.tried and (row.published or row.table == "figure_7a")]
    rows = [name for name in rows if not name.startswith("external_listed")] + ["external, ucsf"]
    with tempfile.TemporaryDirectory(prefix="gliolake-bench-") as folder:
        lake = made_lake(Path(folder) / "lake", SCANS, EXTERNAL, BACKBONES)
        start = time.perf_counter()
        report = run_study(lake, only=rows, workers=workers)
        seconds = time.perf_counter() - start
        start = time.perf_counter()
        again = run_study(lake, only=rows, workers=workers)
        rerun = time.perf_counter() - start
    failed = [f"{row['name']}: {row['detail']}" for row in report.rows if row["state"] == "failed"]
    if failed or again.fits:
        raise SystemExit(f"the suite failed: {failed}, fits of the rerun: {again.fits}")
    folds = len({row["experiment"] for row in report.rows if row["experiment"]}) * 20
    return {"experiments": len(rows), "folds": folds, "seconds": round(seconds, 1), "rerun_seconds": round(rerun, 1)}


def scaled(times: int) -> dict[str, float]:
    """A small study on a cohort so many times as large, in a process of its own."""
    code = f"import bench_study, json; print(json.dumps(bench_study.run_scaled({times})))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, check=True, capture_output=True, encoding="utf-8"
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def run_scaled(times: int) -> dict[str, float]:
    """What ``scaled`` runs."""
    with tempfile.TemporaryDirectory(prefix="gliolake-bench-") as folder:
        root, file = Path(folder) / "lake", Path(folder) / "scale.toml"
        file.write_text(SMALL)
        # In a process of its own too: what making the cohort takes is not the client's.
        code = (
            "import bench_study; from pathlib import Path; "
            f"bench_study.made_lake(Path({str(root)!r}), {SCANS * times}, {EXTERNAL * times}, ('vivit_b_16x2',))"
        )
        subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=True)
        start = time.perf_counter()
        report = run_study(Lake(root), file, workers=1)
        seconds = time.perf_counter() - start
    failed = [f"{row['name']}: {row['detail']}" for row in report.rows if row["state"] == "failed"]
    if failed:
        raise SystemExit(f"failed: {failed}")
    peak = {name: resource.getrusage(who).ru_maxrss // 2**10 for name, who in PROCESSES.items()}
    return {"scans": SCANS * times, "seconds": round(seconds, 1), **peak}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--scale", action="store_true", help="how the cost grows, and nothing else")
    parser.add_argument("--workers", type=int, help="worker processes; one per core if not given")
    arguments = parser.parse_args()
    if arguments.scale:
        rows = []
        for times in (1, 10, 100):
            tell(f"measuring: {times} times {SCANS} scans")
            rows.append(scaled(times))
        print(json.dumps(rows) if arguments.json else "\n".join(map(_told, rows)))
        return
    found = suite(arguments.workers)
    train, look = rival_seconds_per_scan(400)
    test = SCANS / FOLDS
    validation = 0.2 * (SCANS - test)
    released = EPOCHS * ((SCANS - test - validation) * train + (validation + test) * look)
    fold = found["seconds"] / found["folds"]
    found |= {
        "fold_seconds": round(fold, 3),
        "released_fold_seconds": round(released, 1),
        "ratio": round(released / fold),
    }
    if arguments.json:
        print(json.dumps(found))
        return
    print(f"{found['experiments']} experiments, {found['folds']} folds, {SCANS} scans: {found['seconds']} s")
    print(f"the same again, nothing missing: {found['rerun_seconds']} s")
    print(f"a fold, all kinds together: {found['fold_seconds']} s of the clock")
    print(f"a fold of the SNN one scan per step, {EPOCHS} epochs, plain torch: {found['released_fold_seconds']} s")
    print(f"ratio: {found['ratio']} (timed: the whole suite; 400 scans of the released way, scaled)")


def _told(row: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:,}" for name, value in row.items())


if __name__ == "__main__":
    main()
