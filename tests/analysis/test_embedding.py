"""Maps of feature sets: the same bits again, missing branches, what is left alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from gliolake.analysis import embedding as maps
from gliolake.analysis.embedding import layout, map_feature_sets
from gliolake.errors import InputError
from gliolake.schema.vocabulary import BRANCHES
from gliolake.sql.catalog import connect
from gliolake.storage.lake import Lake


@pytest.fixture
def two_kinds(lake: Lake, label: Any) -> Lake:
    """24 scans of two kinds here and 6 there, without T2 in the first, and another feature set of 4."""
    stream = np.random.default_rng(0)
    rows = [
        {"feature_set": name, "cohort": cohort, "scan_id": f"scan-{n:04d}", "modality": branch,
         "values": (stream.standard_normal(400) + 6 * (n % 2)).astype(np.float32).tolist(), "input_sha256": "0"}
        for name, cohort, count in (("few", "here", 4), ("made", "here", 24), ("made", "there", 6))
        for n in range(count)
        for branch in BRANCHES
        if (cohort, n, branch) != ("here", 0, "T2")
    ]  # fmt: skip
    sets = [{"feature_set": name, "backbone": name, "weights": "trained", "recipe": "{}"} for name in ("few", "made")]
    labels = [label(n, "here", mgmt_status=("methylated", "unmethylated")[n % 2]) for n in range(24)]
    labels += [label(0, "there", site="Oslo", mgmt_status="unknown")]
    described = {"label_rule": "brats21", "description": "", "description_sha256": ""}

    def write(tx: Any) -> None:
        tx.append("features", rows)
        tx.append("feature_sets", sets)
        tx.append("labels", labels)
        tx.append(
            "cohorts",
            [{"cohort": "here", "role": "training"} | described, {"cohort": "there", "role": "external"} | described],
        )

    lake.transact(write, run_id="made")
    return lake


def test_each_scan_gets_a_place_near_its_like_and_the_figure_what_to_colour_it_by(two_kinds: Lake) -> None:
    report = map_feature_sets(two_kinds)
    assert [(one.feature_set, one.scans, one.state) for one in report.maps] == [
        ("few", 4, "too few scans"),
        ("made", 30, "mapped"),
    ]
    rows = two_kinds.read("embeddings").to_pylist()
    assert len(rows) == 30
    places = np.array([[row["x"], row["y"]] for row in rows])
    kind = np.array([int(row["scan_id"][-1]) % 2 for row in rows])
    apart = np.linalg.norm(places[:, None] - places, axis=2)
    np.fill_diagonal(apart, np.inf)
    assert (kind[apart.argmin(1)] == kind).all()
    with connect(two_kinds) as connection:
        shown = connection.execute(
            "SELECT cohort, split, site, methylated, basis FROM figure_map WHERE scan_id IN ('scan-0000', 'scan-0001') "
            "ORDER BY cohort, scan_id"
        ).fetchall()
    assert shown == [
        ("here", "training", "here", True, "trained weights"),
        ("here", "training", "here", False, "trained weights"),
        ("there", "neither", "Oslo", None, "trained weights"),
        ("there", "neither", "there", None, "trained weights"),
    ]


def test_a_map_is_made_again_only_for_another_seed_or_other_vectors(two_kinds: Lake) -> None:
    map_feature_sets(two_kinds, "made", seed=1)
    first, version = two_kinds.read("embeddings").to_pylist(), two_kinds.version
    assert map_feature_sets(two_kinds, "made", seed=1).maps[0].state == "unchanged"
    assert two_kinds.version == version
    assert map_feature_sets(two_kinds, "made", seed=2).maps[0].state == "mapped"
    assert {row["method"] for row in two_kinds.read("embeddings").to_pylist()}.isdisjoint(r["method"] for r in first)
    map_feature_sets(two_kinds, "made", seed=1)
    again = two_kinds.read("embeddings").to_pylist()
    assert [(row["scan_id"], row["x"], row["y"]) for row in again] == [(r["scan_id"], r["x"], r["y"]) for r in first]
    where = {"feature_set": "made", "cohort": "there"}
    two_kinds.transact(lambda tx: tx.delete("features", where), run_id="gone")
    assert [(one.scans, one.state) for one in map_feature_sets(two_kinds, "made", seed=1).maps] == [(24, "mapped")]


def test_the_same_bits_come_from_one_core_and_from_all() -> None:
    values = np.random.default_rng(0).standard_normal((60, 90)).astype(np.float32)
    with threadpool_limits(1):
        alone = layout(values, 0)
    assert (layout(values, 0) == alone).all()


def test_too_many_scans_for_neighbours_are_laid_out_by_components_and_the_map_says_so(
    two_kinds: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maps, "MOST", 20)
    (one,) = map_feature_sets(two_kinds, "made").maps
    assert one.method.startswith("first two principal components (more than 20 scans)")
    x = np.array([row["x"] for row in two_kinds.read("embeddings").to_pylist()])
    assert x.std() > 0


def test_vectors_that_do_not_differ_lie_in_one_place_and_mistakes_are_named(two_kinds: Lake) -> None:
    assert (layout(np.zeros((9, 0), np.float32), 0) == np.zeros((9, 2))).all()
    with pytest.raises(InputError, match="no feature set named 'maid'") as caught:
        map_feature_sets(two_kinds, "maid")
    assert "made" in caught.value.hint
    with pytest.raises(InputError, match="negative"):
        map_feature_sets(two_kinds, seed=-1)
