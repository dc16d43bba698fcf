"""A large lake of made-up scans, for whatever is to be timed on one.

    python tests/bench/large_lake.py FOLDER [--scans N] [--seed N]

Two cohorts, brats21 for training and ucsf_pdgm from outside, with scans, labels, links, and vectors of two untrained
networks that agree in part. Every eleventh scan is a follow-up of the one before it, and one external patient in
fifty is a training patient under another name. Vectors lie in files of 8,192 scans (13 MB), as in a compacted lake.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lake.log import DataFile
from lake.store import Lake
from lake.tables import BRANCHES, FEATURE_LENGTH, MODALITIES
from lake.transaction import Transaction

SETS = {f"{backbone}-made": backbone for backbone in ("i3d_nl10_resnet101_v1_kinetics400", "vivit_b_16x2")}
"""Feature sets and their backbones."""

COHORTS = {"brats21": ("training", 0.7), "ucsf_pdgm": ("external", 0.3)}
"""Roles, and shares of the scans."""

BLOCK = 8192
PER_PATIENTS = 11
"""So many scans are of one patient less."""

SHARED = 0.6
"""Concordance of the two sets, by their making."""


def large_lake(folder: Path, scans: int = 100_000, seed: int = 0) -> Lake:
    """The lake in this folder: made, or left by an earlier call with the same arguments.

    Args:
        folder: where it is, or will be; a lake made with other arguments, or not to its end, is deleted.
        scans: how many; about 16 kB each.
        seed: of the vectors.
    """
    told = json.dumps({"scans": scans, "seed": seed})
    if (folder / "_log").is_dir():
        lake = Lake(folder)
        if set(lake.read("cohorts")["description"].to_pylist()) == {told}:
            return lake
        shutil.rmtree(folder)
    lake = Lake(folder, create=True)
    stream = np.random.default_rng(seed)
    direction = stream.standard_normal(FEATURE_LENGTH, np.float32)
    numbers = {cohort: int(scans * share) for cohort, (_, share) in COHORTS.items()}
    for cohort, number in numbers.items():
        for first in range(0, number, BLOCK):
            block = np.arange(first, min(first + BLOCK, number))
            files = _feature_files(lake, cohort, block, stream, direction)
            lake.transact(lambda tx, c=cohort, b=block, f=files: _commit(tx, c, b, f), run_id="made")
    rows = [_cohort(cohort, role, told) for cohort, (role, _) in COHORTS.items()]
    sets = [{"feature_set": name, "backbone": of, "weights": "untrained", "recipe": "{}"} for name, of in SETS.items()]
    # The cohorts come last: they say that all the rest is there.
    lake.transact(lambda tx: (tx.upsert("feature_sets", sets), tx.upsert("cohorts", rows))[0], run_id="made")
    return lake


def scan_id(number: int) -> str:
    """Name of a scan; names sort as numbers do."""
    follow_up = number % PER_PATIENTS == PER_PATIENTS - 1
    return f"P{number - follow_up:07d}" + ("_FU180d" if follow_up else "")


def _commit(transaction: Transaction, cohort: str, block: np.ndarray, files: list[DataFile]) -> None:
    numbers = block.tolist()
    transaction.append("scans", [_scan(cohort, number) for number in numbers])
    transaction.append("labels", [_label(cohort, number) for number in numbers])
    links = [_link(cohort, number) for number in numbers if number % PER_PATIENTS == PER_PATIENTS - 1]
    if cohort == "ucsf_pdgm":
        links += [_declared(number) for number in numbers if number % (50 * PER_PATIENTS) == 0]
    transaction.append("links", links)
    transaction.add(files)


def _feature_files(
    lake: Lake, cohort: str, block: np.ndarray, stream: np.random.Generator, direction: np.ndarray
) -> list[DataFile]:
    """Vectors of a block: noise of unit variance, of which the sets share a part, and a weak signal of the label."""
    again = block % PER_PATIENTS == PER_PATIENTS - 1
    signal = np.where((block - again) % 2 == 0, 0.03, -0.03)[:, None].astype(np.float32) * direction
    follow_ups = np.flatnonzero(again)
    follow_ups = follow_ups[follow_ups > 0]  # of a follow-up that opens a block the first scan is elsewhere
    files = []
    for branch in BRANCHES:
        common = stream.standard_normal((len(block), FEATURE_LENGTH), np.float32)
        common[follow_ups] = 0.8 * common[follow_ups - 1] + 0.6 * common[follow_ups]
        for feature_set in SETS:
            own = stream.standard_normal((len(block), FEATURE_LENGTH), np.float32)
            values = np.float32(SHARED**0.5) * common + np.float32((1 - SHARED) ** 0.5) * own + signal
            files += lake.stage("features", _features(feature_set, cohort, block, branch, values), run_id="made")
    return files


def _features(feature_set: str, cohort: str, block: np.ndarray, branch: str, values: np.ndarray) -> pa.Table:
    def same(text: str) -> pa.Array:
        return pa.repeat(text, len(block))

    offsets = pa.array(np.arange(0, values.size + 1, values.shape[1], dtype=np.int32))
    return pa.table(
        {
            "feature_set": same(feature_set), "cohort": same(cohort), "modality": same(branch),
            "scan_id": pa.array(map(scan_id, block.tolist())), "input_sha256": same("0" * 64),
            "values": pa.ListArray.from_arrays(offsets, pa.array(values.reshape(-1))),
        }
    )  # fmt: skip


def _cohort(cohort: str, role: str, told: str) -> dict[str, str]:
    sha256 = hashlib.sha256(told.encode()).hexdigest()
    return {
        "cohort": cohort, "role": role, "label_rule": "brats21", "description": told, "description_sha256": sha256,
    }  # fmt: skip


def _scan(cohort: str, number: int) -> dict[str, Any]:
    name = scan_id(number)
    files = [
        {
            "role": role, "uri": f"file:///made/{cohort}/{name}/{role}.nii.gz", "bytes": 1, "mtime_ns": 0,
            "dtype": "int16", **dict.fromkeys(("sha256", "voxel_sha256"), f"{number:060d}{place:02d}{len(cohort):02d}"),
        }
        for place, role in enumerate(MODALITIES)
    ]  # fmt: skip
    return {
        "cohort": cohort, "scan_id": name, "source_id": name, "subject_id": name.partition("_")[0],
        "visit_day": 180 if "_" in name else 0, "files": files, "shape": [240, 240, 155], "spacing_mm": [1.0] * 3,
        "affine": np.eye(4).ravel().tolist(), "orientation": "LPS", "tumour_box": [60, 120, 60, 120, 40, 90],
        "tumour_voxels": 1000, "mask_labels": [], "warnings": ["synthetic"], "fingerprint": "0" * 64,
    }  # fmt: skip


def _label(cohort: str, number: int) -> dict[str, Any]:
    patient = int(scan_id(number)[1:8])  # whose scans are labelled alike
    return {
        "cohort": cohort, "scan_id": scan_id(number), "source": "made", "source_id": str(number),
        "source_row": number + 2, "source_sha256": "0" * 64, "label_rule": "brats21",
        "mgmt_status": ("methylated", "unmethylated")[patient % 2],
        "age": 40.0 + patient % 40, "sex": "FM"[patient // 2 % 2], "grade": 4, "site": f"site {patient % 7}",
    }  # fmt: skip


def _link(cohort: str, number: int) -> dict[str, Any]:
    return {
        "cohort_a": cohort, "scan_a": scan_id(number - 1), "cohort_b": cohort, "scan_b": scan_id(number),
        "kind": "follow-up", "evidence": "made", "score": 1.0,
    }  # fmt: skip


def _declared(number: int) -> dict[str, Any]:
    return {
        "cohort_a": "ucsf_pdgm", "scan_a": scan_id(number), "cohort_b": "brats21", "scan_b": scan_id(number),
        "kind": "declared", "evidence": "made", "score": 1.0,
    }  # fmt: skip


def main() -> None:
    """Make one and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scans", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start = time.perf_counter()
    lake = large_lake(arguments.folder, arguments.scans, arguments.seed)
    size = sum(file.bytes for file in lake.state().files.values())
    print(
        f"{arguments.scans:,} scans, {size / 1e9:.2f} GB in {len(lake.state().files)} files: "
        f"{time.perf_counter() - start:.1f} s"
    )


if __name__ == "__main__":
    main()
