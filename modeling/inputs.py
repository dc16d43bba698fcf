"""From the view ``snn_input`` to arrays, with the labels of one rule."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from lake.errors import InputError, known_name
from lake.tables import BRANCHES, FEATURE_LENGTH
from modeling.crossval import Scans

if TYPE_CHECKING:
    from lake.store import Lake

LABEL_COLUMNS = {"brats21": "methylated_brats21", "ucsf": "methylated_ucsf"}
"""Label rule -> column of the view with the calls made by it."""


@dataclass(frozen=True)
class Cohorts:
    """What an experiment reads of a feature set, training and external scans each in the order of cohort and scan id.

    weights: what the vectors rest on; synthetic: whether any scan is synthetic; ids: cohort and scan_id of each scan,
    by split; unlabelled: scans of the two splits with no call under the rule; digest: sha256 of all rows read.
    """

    scans: dict[str, Scans]
    ids: dict[str, list[tuple[str, str]]]
    weights: str
    synthetic: bool
    unlabelled: int
    digest: str


def read_cohorts(lake: Lake, feature_set: str, label_rule: str) -> Cohorts:
    """The training and external scans of ``feature_set``, called by ``label_rule``.

    Raises:
        InputError: no such feature set or rule, or the feature set has no scan that can train.
    """
    from sql.catalog import connect

    known_name("label rule", label_rule, LABEL_COLUMNS)
    with connect(lake) as connection:
        known = [name for (name,) in connection.execute("SELECT feature_set FROM feature_sets").fetchall()]
        known_name("feature set", feature_set, known, hint="gliolake status lists them.")
        rows = connection.sql(
            f"SELECT weights, cohort, scan_id, patient_id, split, {LABEL_COLUMNS[label_rule]} AS methylated, "  # noqa: S608
            "input, synthetic FROM snn_input WHERE feature_set = ? AND split IS NOT NULL ORDER BY cohort, scan_id",
            params=[feature_set],
        ).to_arrow_table()
    called = rows.filter(pa.compute.is_valid(rows["methylated"]))
    split = np.array(called["split"].to_pylist(), dtype=object)
    if not (split == "training").any():
        raise InputError(
            f"Feature set {feature_set} has no labelled training scan.",
            hint="Ingest the training cohort's labels, and extract its features; gliolake sql 'FROM flowchart' shows "
            "where scans were lost.",
        )
    values = vectors(called["input"])
    labels = np.array(called["methylated"].to_pylist(), np.bool_)
    patients = np.array(called["patient_id"].to_pylist(), dtype=str)
    ids = list(zip(called["cohort"].to_pylist(), called["scan_id"].to_pylist(), strict=True))
    digest = hashlib.sha256(repr((ids, split.tolist(), patients.tolist(), labels.tolist())).encode())
    digest.update(values.tobytes())
    of = {name: np.flatnonzero(split == name) for name in ("training", "external")}
    return Cohorts(
        {name: Scans(values[i], labels[i], patients[i]) for name, i in of.items()},
        {name: [ids[k] for k in i] for name, i in of.items()},
        called["weights"][0].as_py(),
        any(called["synthetic"].to_pylist()),
        len(rows) - len(called),
        digest.hexdigest(),
    )


def vectors(column: pa.ChunkedArray) -> np.ndarray:
    """(n, 5, 400) float32 of a column of lists of five vectors; NaN in a missing branch."""
    branches = pa.concat_arrays([chunk.flatten() for chunk in column.chunks])
    out = np.full((len(column) * len(BRANCHES), FEATURE_LENGTH), np.nan, np.float32)
    there = np.asarray(branches.is_valid())
    out[there] = np.asarray(branches.drop_null().flatten(), np.float32).reshape(-1, FEATURE_LENGTH)
    return out.reshape(len(column), len(BRANCHES), FEATURE_LENGTH)
