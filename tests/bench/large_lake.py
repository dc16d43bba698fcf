"""A large lake of made-up scans, for whatever is to be timed on one.

    python tests/bench/large_lake.py FOLDER [--scans N] [--seed N] [--images DIR]

Two cohorts, brats21 for training and ucsf_pdgm from outside, with scans, labels, links, and vectors of two untrained
networks that agree in part. Every eleventh scan is a follow-up of the one before it, and one external patient in
fifty is a training patient under another name. Vectors lie in files of 8,192 scans (13 MB), as in a compacted lake.

Rows are those that an ingest of the folder of images would have left, but for what only an image's content tells; an
ingest of the folder that ``lay_out`` fills with empty files therefore finds nothing new.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from gliolake.features.extraction.plan import files_of
from gliolake.features.extraction.scan_task import input_digest
from gliolake.ingest.cohorts.description import Cohort, parse_cohort
from gliolake.ingest.labels.links import find_links
from gliolake.ingest.scans.discovery import fingerprint
from gliolake.ingest.scans.fingerprint import MEANS, SUMS
from gliolake.ingest.scans.model import FoundFile
from gliolake.schema.vocabulary import BRANCHES, FEATURE_LENGTH
from gliolake.storage.lake import Lake
from gliolake.storage.snapshot import DataFile
from gliolake.storage.transaction import Transaction

SETS = {f"{backbone}-made": backbone for backbone in ("i3d_nl10_resnet101_v1_kinetics400", "vivit_b_16x2")}
"""Feature sets and their backbones."""

COHORTS = {"brats21": ("training", 0.7), "ucsf_pdgm": ("external", 0.3)}
"""Roles, and shares of the scans."""

BLOCK = 8192
PER_PATIENTS = 11
"""So many scans are of one patient less."""

SHARED = 0.6
"""Concordance of the two sets, by their making."""

IMAGES = Path("/made")
"""Where images are said to lie if nobody lays them out."""

DESCRIPTION = """# {scans} scans, seed {seed}, {images}
name = "{name}"
role = "{role}"
label_rule = "brats21"

[ids]
pattern = 'P(?P<number>[0-9]{{7}})(?:_FU(?P<day>[0-9]{{3}})d)?'
form = "P{{number}}[_FU{{day}}d]"
subject = "P{{number}}"
visit_day = "day"

[preprocessing]
done = ["bias", "denoise", "align", "coregister", "resample"]

[images]
patterns = ["{{scan_id}}/{{scan_id}}_{{role}}.nii.gz"]

[images.roles]
FLAIR = "flair"
T1 = "t1"
T1wCE = "t1ce"
T2 = "t2"
mask = "seg"

[images.mask_labels]
1 = "tumour"
"""


def large_lake(
    folder: Path, scans: int = 100_000, seed: int = 0, images: Path = IMAGES, *, vectors: bool = True
) -> Lake:
    """The lake in this folder: made, or left by an earlier call with the same arguments.

    Args:
        folder: where it is, or will be; a lake made with other arguments, or not to its end, is deleted.
        scans: how many; about 16 kB each.
        seed: of the vectors.
        images: the folder that the scans are said to lie in, a cohort to a folder.
        vectors: whether they have any; without, a scan takes 100 bytes.
    """
    cohorts = described(scans, seed, images)
    if (folder / "_log").is_dir():
        lake = Lake(folder)
        if set(lake.read("cohorts")["description"].to_pylist()) == {cohort.text for cohort in cohorts.values()}:
            return lake
        shutil.rmtree(folder)
    lake = Lake(folder, create=True)
    stream = np.random.default_rng(seed)
    direction = stream.standard_normal(FEATURE_LENGTH, np.float32)
    for name, number in numbers_of(scans).items():
        for first in range(0, number, BLOCK):
            block = np.arange(first, min(first + BLOCK, number))
            rows = _rows(cohorts, name, block.tolist(), images)
            files = _feature_files(lake, rows["scans"], block, stream, direction) if vectors else []
            lake.transact(partial(_commit, rows=rows, files=files), run_id="made")
    rows = [cohort.row() for cohort in cohorts.values()]
    sets = [{"feature_set": name, "backbone": of, "weights": "untrained", "recipe": "{}"} for name, of in SETS.items()]
    # The cohorts come last: they say that all the rest is there.
    lake.transact(lambda tx: (tx.upsert("feature_sets", sets), tx.upsert("cohorts", rows))[0], run_id="made")
    return lake


def described(scans: int, seed: int = 0, images: Path = IMAGES) -> dict[str, Cohort]:
    """The cohorts' descriptions, which also say what the lake was made from."""
    facts = {"scans": scans, "seed": seed, "images": images}
    return {
        name: parse_cohort(DESCRIPTION.format(name=name, role=role, **facts), f"{name}.toml")
        for name, (role, _) in COHORTS.items()
    }


def numbers_of(scans: int) -> dict[str, int]:
    """How many of the scans are of each cohort."""
    return {name: int(scans * share) for name, (_, share) in COHORTS.items()}


def lay_out(images: Path, scans: int) -> None:
    """Write the scans' files, all empty and of the same old time: whoever finds nothing new opens none of them."""
    done = images / "done"
    if done.exists() and done.read_text() == str(scans):
        return
    shutil.rmtree(images, ignore_errors=True)
    for cohort in described(scans).values():
        for number in range(numbers_of(scans)[cohort.name]):
            folder, files = _found(cohort, number, images)
            Path(folder).mkdir(parents=True)
            for file in files:
                os.close(os.open(file.uri, os.O_CREAT | os.O_WRONLY))
                os.utime(file.uri, ns=(file.mtime_ns, file.mtime_ns))
    done.write_text(str(scans))


def scan_id(number: int) -> str:
    """Name of a scan; names sort as numbers do."""
    follow_up = number % PER_PATIENTS == PER_PATIENTS - 1
    return f"P{number - follow_up:07d}" + ("_FU180d" if follow_up else "")


def _commit(transaction: Transaction, rows: dict[str, list[dict[str, Any]]], files: list[DataFile]) -> None:
    for table, of_table in rows.items():
        transaction.append(table, of_table)
    transaction.add(files)


def _rows(cohorts: dict[str, Cohort], name: str, numbers: list[int], images: Path) -> dict[str, list[dict[str, Any]]]:
    scans = [_scan(cohorts[name], number, images) for number in numbers]
    labels = [_label(name, number) for number in numbers]
    return {"scans": scans, "labels": labels, "links": find_links(scans, labels, cohorts)}


def _feature_files(
    lake: Lake, scans: list[dict[str, Any]], block: np.ndarray, stream: np.random.Generator, direction: np.ndarray
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
            files += lake.stage("features", _features(feature_set, scans, branch, values), run_id="made")
    return files


def _features(feature_set: str, scans: list[dict[str, Any]], branch: str, values: np.ndarray) -> pa.Table:
    def same(text: str) -> pa.Array:
        return pa.repeat(text, len(scans))

    offsets = pa.array(np.arange(0, values.size + 1, values.shape[1], dtype=np.int32))
    return pa.table(
        {
            "feature_set": same(feature_set), "modality": same(branch),
            "cohort": pa.array([scan["cohort"] for scan in scans]),
            "scan_id": pa.array([scan["scan_id"] for scan in scans]),
            "input_sha256": pa.array([input_digest(branch, files_of(scan)) for scan in scans]),
            "values": pa.ListArray.from_arrays(offsets, pa.array(values.reshape(-1))),
        }
    )  # fmt: skip


def _found(cohort: Cohort, number: int, images: Path) -> tuple[str, list[FoundFile]]:
    """A scan's folder and files, as a walk of the images folder finds them."""
    assert cohort.images is not None
    name = scan_id(number)
    folder = f"{images}/{cohort.name}/{name}"
    roles = cohort.images.roles.items()
    return folder, [FoundFile(role, f"{folder}/{name}_{suffix}.nii.gz", 0, 0) for role, (suffix,) in roles]


def _scan(cohort: Cohort, number: int, images: Path) -> dict[str, Any]:
    assert cohort.images is not None
    name = scan_id(number)
    folder, found = _found(cohort, number, images)
    files = [
        {
            "role": file.role, "uri": file.uri, "bytes": file.bytes, "mtime_ns": file.mtime_ns, "dtype": "int16",
            "sha256": _digest(file.uri), "content": _content(file.uri),
        }
        for file in found
    ]  # fmt: skip
    return {
        "cohort": cohort.name, "scan_id": name, "source_id": name, "subject_id": name.partition("_")[0],
        "visit_day": 180 if "_" in name else 0, "files": files, "shape": [240, 240, 155], "spacing_mm": [1.0] * 3,
        "affine": np.eye(4).ravel().tolist(), "orientation": "LPS", "tumour_box": [60, 120, 60, 120, 40, 90],
        "tumour_voxels": 1000, "mask_labels": [{"label": 1, "voxels": 1000}], "warnings": ["synthetic"],
        "fingerprint": fingerprint(cohort.images, folder, found),
    }  # fmt: skip


def _content(told: str) -> list[float]:
    """What an image would be known by: far from that of any other."""
    draw = np.random.default_rng(int(_digest(told)[:15], 16))
    return draw.normal(0, [0.1] * MEANS + [0.5] * SUMS).astype(np.float32).tolist()


def _digest(told: str) -> str:
    return hashlib.sha256(told.encode()).hexdigest()


def _label(cohort: str, number: int) -> dict[str, Any]:
    patient = int(scan_id(number)[1:8])  # whose scans are labelled alike
    again = cohort == "ucsf_pdgm" and number % (50 * PER_PATIENTS) == 0
    return {
        "cohort": cohort, "scan_id": scan_id(number), "source": "made", "source_id": scan_id(number),
        "source_row": number + 2, "source_sha256": "0" * 64, "label_rule": "brats21",
        "declared_cohort": "brats21" if again else None, "declared_id": scan_id(number) if again else None,
        "mgmt_status": ("methylated", "unmethylated")[patient % 2],
        "age": 40.0 + patient % 40, "sex": "FM"[patient // 2 % 2], "grade": 4, "site": f"site {patient % 7}",
    }  # fmt: skip


def main() -> None:
    """Make one and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scans", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=Path, help="lay the images out here")
    arguments = parser.parse_args()
    start = time.perf_counter()
    if arguments.images:
        lay_out(arguments.images, arguments.scans)
    lake = large_lake(arguments.folder, arguments.scans, arguments.seed, arguments.images or IMAGES)
    size = sum(file.bytes for file in lake.state().files.values())
    print(
        f"{arguments.scans:,} scans, {size / 1e9:.2f} GB in {len(lake.state().files)} files: "
        f"{time.perf_counter() - start:.1f} s"
    )


if __name__ == "__main__":
    main()
