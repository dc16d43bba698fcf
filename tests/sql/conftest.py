"""A small lake with rows in every table that an analyst asks of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from gliolake.schema.vocabulary import BRANCHES, MODALITIES
from gliolake.storage.lake import Lake

TRAINING, EXTERNAL = 12, 6
SETS = ("alpha-1", "beta-2")
MODELS = ("logistic-1", "snn-2")
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Two cohorts of labelled scans with vectors, and a study of two models; to be read only.

    Every second training scan is methylated. External scan 0 is training scan 0 under another name, where the rules
    disagree, and scan 1 a follow-up of it. The vectors of training scan 7 point where those of scan 0 do. The network
    attends to FLAIR, and every model is wrong about training scan 3 and right about all others.
    """
    lake = Lake(tmp_path_factory.mktemp("answering") / "lake", create=True)
    tables = {**_cohorts(), **_vectors(), **_study()}

    def write(transaction: Any) -> None:
        for table, rows in tables.items():
            transaction.upsert(table, rows)

    lake.transact(write, run_id="made")
    return lake


def _scans() -> list[tuple[str, str, int]]:
    """Cohort, scan and number of every scan."""
    counts = {"brats21": TRAINING, "ucsf_pdgm": EXTERNAL}
    return [(cohort, f"{cohort}-{n:02d}", n) for cohort, number in counts.items() for n in range(number)]


def _cohorts() -> dict[str, Rows]:
    described = {"description": "", "description_sha256": ""}
    tables: dict[str, Rows] = {"scans": [], "labels": []}
    for cohort, scan, n in _scans():
        inside = cohort == "brats21"
        methylated = n % 2 == (0 if inside else 1) and (cohort, n) != ("brats21", 0)
        files = [
            {
                "role": role, "uri": f"file:///{scan}/{role}", "bytes": 1, "mtime_ns": 0, "dtype": "int16",
                "sha256": f"{scan}-{role}", "content": [],
            }
            for role in MODALITIES
        ]  # fmt: skip
        tables["scans"].append(
            {
                "cohort": cohort, "scan_id": scan, "source_id": scan, "subject_id": scan, "visit_day": 0,
                "files": files, "shape": [240, 240, 155], "spacing_mm": [1.0] * 3, "affine": [0.0] * 16,
                "orientation": "LPS", "tumour_box": [0, 1, 0, 1, 0, 1], "tumour_voxels": 1, "mask_labels": [],
                "warnings": [], "fingerprint": "",
            }
        )  # fmt: skip
        tables["labels"].append(
            {
                "cohort": cohort, "scan_id": scan, "source": "made", "source_id": scan, "source_row": n + 2,
                "source_sha256": "0", "label_rule": "brats21" if inside else "ucsf",
                "mgmt_status": "methylated" if methylated or (cohort, n) == ("ucsf_pdgm", 0) else "unmethylated",
                "mgmt_index": None if inside else (3 if methylated else int(n == 0)),
                "age": 40.0 + n, "sex": "FM"[n % 2], "survival_days": 100 * (n + 1), "dead": n % 3 == 0, "site": "a",
            }
        )  # fmt: skip
    tables["cohorts"] = [
        {"cohort": "brats21", "role": "training", "label_rule": "brats21", **described},
        {"cohort": "ucsf_pdgm", "role": "external", "label_rule": "ucsf", **described},
    ]
    pairs = [
        ("brats21", "brats21-00", "ucsf_pdgm", "ucsf_pdgm-00", "declared", "BraTS21 ID"),
        ("ucsf_pdgm", "ucsf_pdgm-00", "ucsf_pdgm", "ucsf_pdgm-01", "follow-up", "its id"),
        ("brats21", "brats21-00", "brats21", "brats21-07", "suspected", "alpha-1: alike"),
    ]
    names = ("cohort_a", "scan_a", "cohort_b", "scan_b", "kind", "evidence")
    tables["links"] = [dict(zip(names, pair, strict=True), score=0.9) for pair in pairs]
    tables["exclusions"] = [
        {
            "cohort": "brats21", "scan_id": "brats21-99", "step": "images", "reason": "missing modality",
            "detail": "no T2", "source": "", "fingerprint": "",
        }
    ]  # fmt: skip
    return tables


def _vectors() -> dict[str, Rows]:
    stream = np.random.default_rng(0)
    tables: dict[str, Rows] = {"features": [], "ccc": [], "ccc_means": []}
    tables["feature_sets"] = [
        {"feature_set": name, "backbone": name, "weights": weights, "recipe": "{}"}
        for name, weights in zip(SETS, ("trained", "random"), strict=True)
    ]
    first = stream.standard_normal((len(BRANCHES), 400))
    for feature_set in SETS:
        for cohort, scan, n in _scans():
            values = stream.standard_normal((len(BRANCHES), 400))
            if cohort == "brats21" and n in (0, 7):
                values = first * (n + 1)
            for branch, vector in zip(BRANCHES, values, strict=True):
                tables["features"].append(
                    {
                        "feature_set": feature_set, "cohort": cohort, "scan_id": scan, "modality": branch,
                        "values": vector.astype(np.float32).tolist(), "input_sha256": "0",
                    }
                )  # fmt: skip
    pair = {"first": SETS[0], "second": SETS[1], "scans": 18, "patients": 16}
    for branch in BRANCHES:
        tables["ccc_means"].append(
            {
                **pair,
                "modality": branch,
                "mean": 0.4,
                "ci_low": 0.3,
                "ci_high": 0.5,
                "features": 400,
                "input_sha256": "0",
            }
        )
        tables["ccc"] += [
            {**pair, "modality": branch, "feature": n, "ccc": n / 400, "ci_low": 0.0, "ci_high": 1.0}
            for n in range(1, 401)
        ]
    return tables


def _study() -> dict[str, Rows]:
    names = ("experiments", "predictions", "attention", "metrics", "summaries", "study_rows", "subgroups")
    tables: dict[str, Rows] = {name: [] for name in names}
    for place, experiment in enumerate(MODELS):
        tables["experiments"].append(
            {
                "experiment": experiment, "model": experiment.split("-")[0], "feature_set": SETS[0],
                "weights": "trained", "label_rule": "brats21", "split": "training", "scans": TRAINING,
                "patients": TRAINING, "settings": "{}",
            }
        )  # fmt: skip
        row = {"study": "made", "name": experiment}
        tables["study_rows"].append(
            row | {
                "table": "table_1", "position": place, "label": experiment.upper(), "split": "internal",
                "state": "done", "detail": "", "experiment": experiment, "compared_with": "", "auc": 0.666,
            }
        )  # fmt: skip
        tables["subgroups"].append(
            row | {
                "split": "internal", "attribute": "sex", "group": "F", "scans": 6, "patients": 6, "positive": 5,
                "auc": 0.7, "note": "",
            }
        )  # fmt: skip
        for split in ("internal", "external"):
            of_split = {"experiment": experiment, "split": split}
            figures = {
                "mean": 0.7 - place / 10,
                "ci_low": 0.6 - place / 10,
                "ci_high": 0.8 - place / 10,
                "optimism": 0.01,
            }
            tables["summaries"].append(
                of_split | figures | {"metric": "auc", "folds": 1, "scans": TRAINING, "patients": TRAINING}
            )
            tables["metrics"].append(
                of_split | {"repeat": 0, "fold": 0, "metric": "auc", "value": figures["mean"], "optimism": 0.01}
            )
        for cohort, scan, n in _scans():
            inside = cohort == "brats21"
            methylated = n % 2 == 0
            tested = {
                "experiment": experiment, "split": "internal" if inside else "external", "repeat": 0, "fold": 0,
                "cohort": cohort, "scan_id": scan,
            }  # fmt: skip
            right = not (inside and n == 3)
            tables["predictions"].append(
                tested
                | {
                    "patient_id": f"{cohort}/{scan}", "methylated": methylated,
                    "probability": 0.8 if methylated == right else 0.2,
                }
            )  # fmt: skip
            if experiment.startswith("snn"):
                tables["attention"] += [
                    tested | {"modality": branch, "weight": 0.4 if branch == "FLAIR" else 0.15} for branch in BRANCHES
                ]
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    tables["runs"] = [
        {
            "run_id": "made", "command": "ingest", "arguments": "{}", "code_version": "0", "host": "", "started": begun,
            "ended": begun + timedelta(minutes=3), "outcome": "done",
        }
    ]  # fmt: skip
    return tables
