"""The study's released vectors: TFRecords of 5 × 400 numbers and a label, as a cohort and feature set of their own.

The records name no patient, so a patient is known by the vectors: the same five vectors are one scan, in whichever file
and place they stand (the files of different folds hold the same patients).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gliolake import limits
from gliolake.errors import InputError
from gliolake.ingest.exclusions import BAD_LABEL, BAD_VECTOR, CONFLICTING_ROWS, MISSING_VECTOR, Row, exclusion
from gliolake.ingest.labels.sources import Source, path_of, put
from gliolake.ingest.readers.tfrecord import read_examples
from gliolake.ingest.report import FeaturesReport
from gliolake.runs import start_run
from gliolake.schema.vocabulary import BRANCHES, FEATURE_LENGTH
from gliolake.text_shape import shape_of

if TYPE_CHECKING:
    from gliolake.storage.lake import Lake
    from gliolake.storage.transaction import Transaction

COHORT = "chen2025"
BACKBONE = "vivit_released"
LABEL_RULE = "brats21"
STEP = "features"

RECORD_NAMES = {"FLAIR": "DF_FLAIR", "T1": "DF_T1", "T1wCE": "DF_T1CE", "T2": "DF_T2", "DeltaT1": "DF_DETAL_T1"}
"""Branch -> its name in the records, the study's spelling."""

_STATUS = {0: "unmethylated", 1: "methylated"}


@dataclass(frozen=True)
class ReleasedScan:
    """One sound record. vectors: (5, 400) float32, in the order of ``BRANCHES``; content: digest of the vectors."""

    number: int
    file_sha256: str
    vectors: np.ndarray
    status: str
    content: str


@dataclass(frozen=True)
class ReleasedFile:
    """A TFRecord file: its sound records, and rows of ``exclusions`` for the others."""

    path: Path
    sha256: str
    records: int
    scans: tuple[ReleasedScan, ...]
    exclusions: tuple[Row, ...]


class _Unusable(ValueError):
    def __init__(self, reason: str, what: str) -> None:
        super().__init__(what)
        self.reason = reason


def ingest_features(lake: Lake, files: Sequence[str | Path]) -> FeaturesReport:
    """Bring released vectors into the lake, as one feature set for the files given together.

    Writes the cohort ``chen2025``, a row of ``labels`` for each record and file, the feature set, and five rows of
    ``features`` for each patient. The same files again, in whatever order, write nothing.

    Raises:
        InputError: no file was given, or one is no whole TFRecord; nothing is written then. A
            record with a vector or label that cannot be used becomes a row of ``exclusions``.
    """
    if not files:
        raise InputError("No TFRecord file was given.", hint="Give the study's .tfrecords files.")
    paths = sorted({Path(file) for file in files}, key=lambda path: (path.name, str(path)))
    by_content: dict[str, ReleasedFile] = {}
    for path in paths:
        file = _read_file(path)
        by_content.setdefault(file.sha256, file)
    read = [*by_content.values()]
    feature_set = _feature_set(read)
    with start_run(lake, "ingest-features", {"files": [str(path) for path in paths]}) as run:
        run.transact(lambda tx: _commit(tx, read, feature_set))
    return _report(lake, read, feature_set["feature_set"])


def _read_file(path: Path) -> ReleasedFile:
    try:
        sha256 = hashlib.sha256(limits.read_whole(path, limits.RECORDS)).hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", hint="Check the path.") from error
    scans, left_out, number = [], [], 0
    for number, example in enumerate(read_examples(path), start=1):
        try:
            vectors = np.stack([_vector(example, branch) for branch in BRANCHES])
            status = _label(example)
        except _Unusable as error:
            name, detail = f"{path.stem} record {number}", f"Record {number}: {error}."
            source = path_of(path)
            left_out.append(exclusion(COHORT, name, STEP, error.reason, detail, source=source, fingerprint=sha256))
        else:
            scans.append(ReleasedScan(number, sha256, vectors, status, _content(vectors)))
    if not number:
        raise InputError(f"{path} holds no record.", hint="Download it again and compare its size.")
    sound, conflicting = _agreeing(path, sha256, scans)
    return ReleasedFile(path, sha256, number, tuple(sound), (*left_out, *conflicting))


def _agreeing(path: Path, sha256: str, scans: Sequence[ReleasedScan]) -> tuple[list[ReleasedScan], list[Row]]:
    """The scans whose records in this file give one label, and an exclusion for each of the others."""
    records: dict[str, list[ReleasedScan]] = {}
    for scan in scans:
        records.setdefault(scan.content, []).append(scan)
    conflicting = []
    for same in records.values():
        if len({scan.status for scan in same}) > 1:
            numbers = " and ".join(str(scan.number) for scan in same)
            detail = f"Records {numbers} hold one patient with both labels; none is used."
            name = f"{path.stem} record {same[0].number}"
            source = path_of(path)
            conflicting.append(
                exclusion(COHORT, name, STEP, CONFLICTING_ROWS, detail, source=source, fingerprint=sha256)
            )
    sound = [scan for scan in scans if len({same.status for same in records[scan.content]}) == 1]
    return sound, conflicting


def _vector(example: Mapping[str, np.ndarray], branch: str) -> np.ndarray:
    """(400,) float32 of a branch: a float list, or the bytes of one, as the study writes them."""
    name = RECORD_NAMES[branch]
    if name not in example:
        known = {*RECORD_NAMES.values(), "Label"}
        found = ", ".join(each if each in known else shape_of(each) for each in sorted(example))
        raise _Unusable(MISSING_VECTOR, f"it has no {name} (it has {found or 'nothing'})")
    values = example[name]
    if values.dtype == np.uint8 and values.size % 4 == 0:
        values = values.view("<f4")
    if values.dtype != np.float32 or values.size != FEATURE_LENGTH:
        raise _Unusable(
            BAD_VECTOR, f"{name} holds {values.size} {values.dtype} values; {FEATURE_LENGTH} float32 are expected"
        )
    if not np.isfinite(values).all():
        raise _Unusable(BAD_VECTOR, f"{name} holds {int((~np.isfinite(values)).sum())} values that are NaN or infinite")
    return values


def _label(example: Mapping[str, np.ndarray]) -> str:
    """The MGMT status of a record: int32 bytes, or an int64 list, of one number; 1 is methylated."""
    values = example.get("Label", np.empty(0, np.int64))
    if values.dtype == np.uint8 and values.size == 4:
        values = values.view("<i4")
    if values.dtype.kind != "i" or values.size != 1 or int(values[0]) not in _STATUS:
        raise _Unusable(BAD_LABEL, "its Label is not one number, 0 or 1")
    return _STATUS[int(values[0])]


def _content(vectors: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(vectors, "<f4").tobytes()).hexdigest()


def _feature_set(read: Sequence[ReleasedFile]) -> dict[str, str]:
    """The row of ``feature_sets``: what is known of how these vectors were made."""
    recipe = {
        "backbone": "ViViT-B/16x2, Kinetics-400, output layer, as the study's released script loads it",
        "delta": "features: T1wCE minus T1, not images",
        "scaling": "minimum to maximum over all patients, before folds were cut: test data shows in the scale",
        "files_sha256": sorted(file.sha256 for file in read),
    }
    text = json.dumps(recipe, sort_keys=True)
    name = f"{BACKBONE}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
    return {"feature_set": name, "backbone": BACKBONE, "weights": "released", "recipe": text}


def _commit(tx: Transaction, read: Sequence[ReleasedFile], feature_set: Mapping[str, str]) -> None:
    tx.upsert("cohorts", [{"cohort": COHORT, "role": "released", "label_rule": LABEL_RULE, "description": "",
                           "description_sha256": hashlib.sha256(b"").hexdigest()}])  # fmt: skip
    tx.upsert("feature_sets", [feature_set])
    scan_ids = _known_scans(tx)
    for file in read:
        for scan in file.scans:  # scans that the lake does not know take the next numbers, in the order of the records
            scan_ids.setdefault(scan.content, f"{COHORT}-{len(scan_ids) + 1:04d}")
    sources = put(tx, COHORT, [(path_of(file.path), file.sha256) for file in read])
    for file, source in zip(read, sources, strict=True):
        tx.replace("labels", {"cohort": COHORT, "source": source.name}, _label_rows(file, source, scan_ids))
        before = tx.read("exclusions", {"cohort": COHORT, "step": STEP}).to_pylist()
        tx.delete_keys(
            "exclusions", [row for row in before if row["source"] == source.path or row["fingerprint"] == file.sha256]
        )
        stem = file.path.stem
        tx.upsert(
            "exclusions",
            [row | {"scan_id": source.name + row["scan_id"].removeprefix(stem)} for row in file.exclusions],
        )
    tx.upsert("features", _feature_rows(read, scan_ids, feature_set["feature_set"]))


def _known_scans(tx: Transaction) -> dict[str, str]:
    """Content -> scan id, of all released vectors in the lake."""
    columns = ["feature_set", "scan_id", "modality", "values"]
    vectors: dict[tuple[str, str], dict[str, Any]] = {}
    for row in tx.read("features", {"cohort": COHORT}, columns).to_pylist():
        vectors.setdefault((row["feature_set"], row["scan_id"]), {})[row["modality"]] = row["values"]
    return {
        _content(np.array([branches[branch] for branch in BRANCHES], np.float32)): scan_id
        for (_, scan_id), branches in vectors.items()
    }


def _label_rows(file: ReleasedFile, source: Source, scan_ids: Mapping[str, str]) -> list[Row]:
    """One row for each scan of a file; a repeated record adds nothing."""
    rows: dict[str, Row] = {}
    for scan in file.scans:
        scan_id = scan_ids[scan.content]
        row = {"cohort": COHORT, "scan_id": scan_id, "source": source.name, "source_path": source.path,
               "source_order": source.order, "source_id": f"record {scan.number}",
               "source_row": scan.number, "source_sha256": file.sha256, "mgmt_status": scan.status,
               "label_rule": LABEL_RULE}  # fmt: skip
        rows.setdefault(scan_id, row)
    return list(rows.values())


def _feature_rows(read: Sequence[ReleasedFile], scan_ids: Mapping[str, str], feature_set: str) -> list[Row]:
    rows: dict[str, list[Row]] = {}
    for file in read:
        for scan in file.scans:
            scan_id = scan_ids[scan.content]
            rows.setdefault(scan_id, [
                {"feature_set": feature_set, "cohort": COHORT, "scan_id": scan_id, "modality": branch,
                 "values": vector.tolist(), "input_sha256": file.sha256}
                for branch, vector in zip(BRANCHES, scan.vectors, strict=True)
            ])  # fmt: skip
    return [row for five in rows.values() for row in five]


def _report(lake: Lake, read: Sequence[ReleasedFile], feature_set: str) -> FeaturesReport:
    scans: dict[str, set[str]] = {}
    for file in read:
        for scan in file.scans:
            scans.setdefault(scan.content, set()).add(scan.status)
    records = sum(file.records for file in read)
    sound = sum(len(file.scans) for file in read)
    notes = []
    if sound > len(scans):
        notes.append(f"{sound - len(scans):,} records repeat the vectors of others; each patient is kept once.")
    if both := sum(len(statuses) > 1 for statuses in scans.values()):
        notes.append(f"{both:,} patients have records of both labels (see the view label_conflicts).")
    return FeaturesReport(
        feature_set=feature_set,
        cohort=COHORT,
        records=records,
        scans=len(scans),
        vectors=lake.read("features", {"feature_set": feature_set}, ["scan_id"]).num_rows,
        methylated=sum(statuses == {"methylated"} for statuses in scans.values()),
        excluded=dict(sorted(Counter(row["reason"] for file in read for row in file.exclusions).items())),
        notes=tuple(notes),
    )
