"""Subgroups and curves of a study's main rows, as rows of the lake."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gliolake.analysis.curves.calibration import calibration
from gliolake.analysis.curves.decision import decision_curve
from gliolake.analysis.curves.roc import roc_curve
from gliolake.analysis.statistics.subgroups import age_bands, subgroups
from gliolake.analysis.study.results import Pooled

if TYPE_CHECKING:
    from gliolake.storage.lake import Lake

ATTRIBUTES = ("site", "sex", "age", "grade", "diagnosis")

EVERYBODY = "all"
"""The attribute whose one group, of the same name, is all scans: what the other groups are held against."""

Groups = Mapping[str, Mapping[str, str | None]]
"""By attribute, the group of each scan, cohort/scan_id."""


def groups_of(lake: Lake) -> Groups:
    """The groups of all labelled scans, by the latest release that labels each (view ``scan_labels``)."""
    from gliolake.sql.catalog import connect

    with connect(lake) as connection:
        rows = connection.sql(
            "SELECT cohort || '/' || scan_id AS scan, site, sex, age, grade::VARCHAR AS grade, diagnosis "
            "FROM scan_labels ORDER BY ALL"
        ).to_arrow_table()
    columns = rows.to_pydict()
    columns["age"] = age_bands(columns["age"])
    return {attribute: dict(zip(columns["scan"], columns[attribute], strict=True)) for attribute in ATTRIBUTES}


def subgroup_rows(pooled: Pooled, groups: Groups, *, seed: int) -> list[dict[str, Any]]:
    """Rows of table subgroups, the experiment's place aside. An attribute that is known of no scan has none.

    The first row is of everybody, however few they are.

    Args:
        pooled: predictions of a split.
        groups: see ``groups_of``.
        seed: of the bootstrap.
    """
    given = pooled.labels, pooled.probability, pooled.patients
    everybody = subgroups(*given, [EVERYBODY] * len(pooled.scans), seed=seed, smallest=1)
    rows = [{"attribute": EVERYBODY, **asdict(one)} for one in everybody]
    for attribute, group in groups.items():
        of = [group.get(scan) for scan in pooled.scans.tolist()]
        if any(of):
            rows += [{"attribute": attribute, **asdict(one)} for one in subgroups(*given, of, seed=seed)]
    return rows


def curve_rows(pooled: Pooled) -> list[dict[str, Any]]:
    """Rows of table curves, the experiment's place aside."""
    decided = decision_curve(pooled.labels, pooled.probability)
    calibrated = calibration(pooled.labels, pooled.probability)
    rows = [
        {"curve": "decision", "point": i, "x": row["threshold"], "y": row["model"], "treat_all": row["treat_all"]}
        for i, row in enumerate(decided.rows())
    ]
    bins = [
        {
            "curve": "calibration", "point": i, "x": row["predicted"], "y": row["observed"], "scans": row["scans"],
            "error": calibrated.error,
        }
        for i, row in enumerate(calibrated.rows())
    ]  # fmt: skip
    return rows + bins


def roc_rows(pooled: Pooled, *, seed: int) -> list[dict[str, Any]]:
    """Rows of table roc, the experiment's place aside; none where all scans are of one class."""
    curve = roc_curve(pooled.labels, pooled.probability, pooled.patients, seed=seed)
    return [] if curve is None else [{"point": i, **row} for i, row in enumerate(curve.rows())]
