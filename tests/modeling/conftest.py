"""A lake of made-up cohorts with vectors, and a way to make more of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gliolake.schema.vocabulary import BRANCHES
from gliolake.storage.lake import Lake

COHORTS = {"made": "training", "beyond": "external"}

MakeVectors = Callable[..., None]


@pytest.fixture
def make_vectors(lake: Lake, label: Any) -> MakeVectors:
    """Writes vectors of a feature set for 40 training and 12 external patients, along a direction of its own."""

    def make(feature_set: str, seed: int = 0, lacking: tuple[tuple[str, int, str], ...] = (), **row: str) -> None:
        stream = np.random.default_rng(seed)
        direction = stream.standard_normal(400)
        features = []
        for cohort, scans in (("made", 40), ("beyond", 12)):
            for number in range(scans):
                for branch in BRANCHES:
                    values = stream.standard_normal(400) + (0.5 if number % 2 == 0 else -0.5) * direction
                    if (cohort, number, branch) not in lacking and (cohort, number, "") not in lacking:
                        name = {"feature_set": feature_set, "cohort": cohort, "scan_id": label(number)["scan_id"]}
                        values32 = values.astype(np.float32).tolist()
                        features.append({**name, "modality": branch, "values": values32, "input_sha256": "0" * 64})
        described = {"backbone": "random_conv", "weights": "random", "recipe": "{}", **row}

        def write(transaction: Any) -> None:
            transaction.upsert("features", features)
            transaction.upsert("feature_sets", [{"feature_set": feature_set, **described}])

        lake.transact(write, run_id="made")

    return make


@pytest.fixture
def made(lake: Lake, label: Any, make_vectors: MakeVectors) -> Lake:
    """40 training and 12 external patients with a strong signal; the first has no T1wCE, the last no known call."""
    labels = [
        label(
            number, cohort,
            mgmt_status="unknown" if (cohort, number) == ("made", 39) else ("methylated", "unmethylated")[number % 2],
            diagnosis="Glioblastoma, IDH-wildtype" if number % 3 else "Astrocytoma, IDH-mutant",
        )
        for cohort, scans in (("made", 40), ("beyond", 12))
        for number in range(scans)
    ]  # fmt: skip
    described = {"label_rule": "brats21", "description": "made up", "description_sha256": "0" * 64}

    def write(transaction: Any) -> None:
        transaction.upsert("cohorts", [{"cohort": c, "role": role, **described} for c, role in COHORTS.items()])
        transaction.upsert("labels", labels)

    lake.transact(write, run_id="made")
    make_vectors("random_conv-made", lacking=(("made", 0, "T1wCE"),))
    return lake
