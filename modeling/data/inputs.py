"""From the view ``snn_input`` to arrays: the branches of one or several feature sets, with the labels of one rule."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from gliolake.errors import InputError, check_choice
from gliolake.modeling.data.scans import Scans
from gliolake.schema.vocabulary import BRANCHES, FEATURE_LENGTH

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from gliolake.storage.lake import Lake

LABEL_COLUMNS = {"brats21": "methylated_brats21", "ucsf": "methylated_ucsf"}
"""Label rule -> column of the view with the calls made by it."""

DELTAS = ("stored", "feature")
"""What DeltaT1 is: the vector that the feature set has, or the difference of its vectors of T1wCE and T1."""

EXTERNAL_VIEWS = ("external", "external_strict", "external_listed")
"""Views of external scans; the later ones hold some of the first."""


@dataclass(frozen=True)
class Cohorts:
    """What an experiment reads of its feature sets, training and external scans each in the order of their names.

    Attributes:
        scans: By split, training and external.
        ids: cohort and scan_id of each scan, by split.
        views: for each of ``EXTERNAL_VIEWS`` which of the external scans it has.
        diagnosis: of each external scan, "" where it is not known.
        weights: what the vectors rest on; synthetic: whether any scan is synthetic.
        unlabelled: scans of the two splits with no call under the rule.
        incomplete: scans that not all of the feature sets have.
        shared_patients, cautions: what to know of the splits, the gravest apart (``gliolake.sql.cautions``).
        digest: sha256 of all rows read.
    """

    scans: dict[str, Scans]
    ids: dict[str, list[tuple[str, str]]]
    views: dict[str, np.ndarray]
    diagnosis: np.ndarray
    weights: str
    synthetic: bool
    unlabelled: int
    incomplete: tuple[str, ...]
    shared_patients: tuple[str, ...]
    cautions: tuple[str, ...]
    digest: str


def read_cohorts(
    lake: Lake, feature_sets: str | Sequence[str], label_rule: str = "brats21", delta: str = "stored"
) -> Cohorts:
    """The training and external scans that have vectors in all of the feature sets, called by ``label_rule``.

    With several feature sets the branches of each scan lie side by side, named ``feature set:branch``.

    Args:
        lake: the lake.
        feature_sets: one or more.
        label_rule: a name of ``LABEL_COLUMNS``.
        delta: one of ``DELTAS``.

    Raises:
        InputError: no such feature set, rule or delta, or no scan that can train has vectors in all of them.
    """
    from gliolake.sql.catalog import connect
    from gliolake.sql.cautions import cautions, shared_patients
    from gliolake.sql.statements import statement

    names = [feature_sets] if isinstance(feature_sets, str) else list(feature_sets)
    check_choice("label rule", label_rule, LABEL_COLUMNS)
    check_choice("kind of delta", delta, DELTAS)
    with connect(lake) as connection:
        there = [name for (name,) in connection.execute("SELECT feature_set FROM feature_sets").fetchall()]
        for name in names:
            check_choice("feature set", name, there, hint="gliolake status lists them.")
        parts = [_rows(connection, name, label_rule) for name in names]
        scans_of = "SELECT DISTINCT cohort, scan_id FROM {view}"
        listed = {view: set(connection.execute(statement(scans_of, view=view)).fetchall()) for view in EXTERNAL_VIEWS}
        shared, known = shared_patients(connection), cautions(connection, [label_rule])
    rows, values, incomplete = _side_by_side(parts)
    if delta == "feature":
        values = _with_delta(values)
    called = np.array([call is not None for call in rows["methylated"].to_pylist()], np.bool_)
    rows, values, unlabelled = rows.filter(pa.array(called)), values[called], int((~called).sum())
    split = np.array(rows["split"].to_pylist(), dtype=object)
    if not (split == "training").any():
        raise InputError(_none_can_train(names, incomplete), hint=LOST)
    labels = np.array(rows["methylated"].to_pylist(), np.bool_)
    patients = np.array(rows["patient_id"].to_pylist(), dtype=str)
    ids = list(zip(rows["cohort"].to_pylist(), rows["scan_id"].to_pylist(), strict=True))
    sites = np.array([site or "" for site in rows["site"].to_pylist()], dtype=object)
    branches = BRANCHES if len(names) == 1 else tuple(f"{name}:{branch}" for name in names for branch in BRANCHES)
    told = repr((ids, split.tolist(), patients.tolist(), labels.tolist(), sites.tolist()))
    digest = hashlib.sha256(told.encode())
    digest.update(values.tobytes())
    of = {name: np.flatnonzero(split == name) for name in ("training", "external")}
    outside = [ids[k] for k in of["external"]]
    weights = sorted({part["weights"][0].as_py() for part in parts if len(part)})
    return Cohorts(
        {name: Scans(values[i], labels[i], patients[i], branches, sites[i]) for name, i in of.items()},
        {name: [ids[k] for k in i] for name, i in of.items()},
        {view: np.array([scan in scans for scan in outside], np.bool_) for view, scans in listed.items()},
        np.array([rows["diagnosis"][int(k)].as_py() or "" for k in of["external"]], dtype=object),
        " and ".join(weights),
        any(rows["synthetic"].to_pylist()),
        unlabelled,
        incomplete,
        shared,
        known,
        digest.hexdigest(),
    )


LOST = (
    "Ingest the training cohort's labels, and extract its features; gliolake sql 'FROM flowchart' shows where scans "
    "were lost."
)


def _none_can_train(names: Sequence[str], incomplete: Sequence[str]) -> str:
    if len(names) == 1:
        return f"Feature set {names[0]} has no labelled training scan."
    some = f"; {len(incomplete)} scans lack some of them" if incomplete else ""
    return f"No labelled training scan has vectors in all of {', '.join(names)}{some}."


def _rows(connection: DuckDBPyConnection, feature_set: str, label_rule: str) -> pa.Table:
    from gliolake.sql.statements import statement

    query = statement(
        "SELECT weights, cohort, scan_id, patient_id, split, {called} AS methylated, input, synthetic, site, diagnosis "
        "FROM snn_input WHERE feature_set = ? AND split IS NOT NULL ORDER BY cohort, scan_id",
        called=LABEL_COLUMNS[label_rule],
    )
    return connection.sql(query, params=[feature_set]).to_arrow_table()


def _side_by_side(parts: Sequence[pa.Table]) -> tuple[pa.Table, np.ndarray, tuple[str, ...]]:
    """Rows of the scans that all parts have, their vectors (n, K, 400), and the names of the other scans."""
    keys = [list(zip(part["cohort"].to_pylist(), part["scan_id"].to_pylist(), strict=True)) for part in parts]
    everywhere = set(keys[0]).intersection(*keys[1:])
    incomplete = sorted(set().union(*keys) - everywhere)
    chosen = [np.array([key in everywhere for key in of], np.bool_) for of in keys]
    values = [vectors(part["input"])[mask] for part, mask in zip(parts, chosen, strict=True)]
    return (
        parts[0].filter(pa.array(chosen[0])),
        np.concatenate(values, 1),
        tuple(f"{cohort} {scan}" for cohort, scan in incomplete),
    )


def _with_delta(values: np.ndarray) -> np.ndarray:
    """DeltaT1 of each feature set (n, K, 400) as the difference of its vectors of T1wCE and T1."""
    made = values.copy().reshape(len(values), -1, len(BRANCHES), FEATURE_LENGTH)
    made[:, :, BRANCHES.index("DeltaT1")] = made[:, :, BRANCHES.index("T1wCE")] - made[:, :, BRANCHES.index("T1")]
    return made.reshape(values.shape)


def vectors(column: pa.ChunkedArray) -> np.ndarray:
    """(n, 5, 400) float32 of a column of lists of five vectors; NaN in a missing branch."""
    out = np.full((len(column) * len(BRANCHES), FEATURE_LENGTH), np.nan, np.float32)
    if len(column):
        branches = pa.concat_arrays([chunk.flatten() for chunk in column.chunks])
        there = np.asarray(branches.is_valid())
        out[there] = np.asarray(branches.drop_null().flatten(), np.float32).reshape(-1, FEATURE_LENGTH)
    return out.reshape(len(column), len(BRANCHES), FEATURE_LENGTH)


def refuse_bad_lists(lake: Lake) -> None:
    """Lists of external scans are used as they are given; so they must name external scans, and no others.

    Raises:
        InputError: there is no list, or one names a scan that the lake does not know or a training patient, by name.
    """
    from gliolake.sql.catalog import connect

    with connect(lake) as connection:
        if not connection.execute("SELECT count(*) FROM scan_lists").fetchall()[0][0]:
            raise InputError("The lake has no list of external scans.", hint="Bring one in: gliolake ingest-list FILE.")
        found: list[tuple[Any, ...]] = connection.execute(WRONG_ENTRIES).fetchall()
    if found:
        shown = "; ".join(f"{scan} ({why})" for _, scan, why in found[:5]) + (" …" if len(found) > 5 else "")
        raise InputError(
            f"List {found[0][0]} names {len(found)} scans that cannot test from outside: {shown}.",
            hint="Correct its file, or ingest the labels it needs, and run gliolake ingest-list again.",
        )


WRONG_ENTRIES = """
SELECT scan_lists.list, scan_lists.scan_id,
    CASE WHEN patients.scan_id IS NULL THEN 'unknown' ELSE 'a training patient' END
FROM scan_lists LEFT JOIN patients USING (cohort, scan_id)
WHERE patients.scan_id IS NULL
    OR patients.patient_id IN (SELECT patient_id FROM training_scans)
ORDER BY ALL
"""
