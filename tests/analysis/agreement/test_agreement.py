"""gliolake ccc on lakes: what is compared with what, and that neither files nor workers show in the figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gliolake.analysis.agreement import pair as agreement_pair
from gliolake.analysis.agreement.command import compare
from gliolake.analysis.study.command import analyse
from gliolake.concordance import concordance
from gliolake.errors import InputError
from gliolake.maintenance.compaction import compact
from gliolake.schema.vocabulary import BRANCHES, MODALITIES
from gliolake.sql.query import query
from gliolake.storage.lake import Lake

Vectors = dict[tuple[str, str, str], np.ndarray]
"""By scan, modality and feature set."""

SETS = {"a-1": "vivit_b_16x2", "b-1": "i3d_nl10_resnet101_v1_kinetics400", "c-1": "random_conv"}


def scan(number: int) -> str:
    return f"scan-{number:04d}"


def made_up(scans: int, seed: int = 0) -> Vectors:
    """Vectors of sets a-1 and b-1 that agree in part; gaps of all kinds."""
    stream = np.random.default_rng(seed)
    found = {}
    for number in range(scans):
        for modality in BRANCHES:
            common = stream.standard_normal(400)
            for feature_set in ("a-1", "b-1"):
                values = (100 + common + 0.5 * stream.standard_normal(400)).astype(np.float32)
                values[:3] = (0.1, 0.1 if feature_set == "a-1" else 0.3, common[2])
                found[scan(number), modality, feature_set] = values
    del found[scan(0), "T1", "a-1"]
    found[scan(1), "T2", "b-1"][7] = np.nan
    return {key: values for key, values in found.items() if key[0] != scan(2) or key[2] == "a-1"}


def fill(
    lake: Lake, vectors: Vectors, labels: Iterable[dict[str, Any]], *, links: Sequence[tuple[int, int]] = (),
    commits: int = 1,
) -> Lake:  # fmt: skip
    """A lake with these vectors, in so many commits, and links of follow-ups."""
    sets = [
        {"feature_set": name, "backbone": backbone, "weights": "trained", "recipe": "{}"}
        for name, backbone in SETS.items()
    ]
    rows = [
        {
            "feature_set": name, "cohort": "brats21", "scan_id": of, "modality": modality, "values": values.tolist(),
            "input_sha256": "0",
        }
        for (of, modality, name), values in vectors.items()
    ]  # fmt: skip
    lake.transact(lambda tx: (tx.append("labels", list(labels)), tx.append("feature_sets", sets))[0], run_id="r")
    for number in reversed(range(commits)):
        lake.transact(lambda tx, n=number: tx.append("features", rows[n::commits]), run_id="r")
    tie(lake, [(scan(a), scan(b)) for a, b in links])
    return lake


def tie(lake: Lake, links: Iterable[tuple[str, str]], kind: str = "follow-up") -> None:
    rows = [
        {
            "cohort_a": "brats21", "scan_a": a, "cohort_b": "brats21", "scan_b": b, "kind": kind, "evidence": "made",
            "score": 1.0,
        }
        for a, b in links
    ]  # fmt: skip
    lake.transact(lambda tx: tx.append("links", rows), run_id="r")


def figures(lake: Lake) -> dict[tuple[Any, ...], list[float | int | None]]:
    """What both tables say of each pair, modality and feature."""
    rows = [*lake.read("ccc").to_pylist(), *lake.read("ccc_means").to_pylist()]
    places = ("first", "second", "modality", "feature")
    told = [column for column in rows[-1] | rows[0] if column not in (*places, "input_sha256", "run_id")]
    return {tuple(map(row.get, places)): [row.get(column) for column in told] for row in rows}


def test_each_feature_has_the_coefficient_of_the_scans_that_both_sets_have(lake: Lake, label: Any) -> None:
    vectors = made_up(12)
    fill(lake, vectors, map(label, range(12)), links=[(3, 4), (4, 5)])
    report = compare(lake, ["b-1", "a-1"])
    rows = {(row["modality"], row["feature"]): row for row in lake.read("ccc").to_pylist()}
    assert len(rows) == 5 * 400
    means = {}
    for modality in BRANCHES:
        shared = [scan(n) for n in range(12) if (n, modality) not in [(0, "T1"), (1, "T2")] and n != 2]
        x, y = ([vectors[of, modality, name] for of in shared] for name in ("a-1", "b-1"))
        expected = concordance(x, y)
        found = [rows[modality, feature]["ccc"] for feature in range(1, 401)]
        assert found[0] is None  # one constant in both: left out of the mean
        assert found[1] == 0
        assert found[1:] == pytest.approx(expected[1:].tolist(), rel=1e-9)
        row = rows[modality, 5]
        assert row["ci_low"] < row["ccc"] < row["ci_high"]
        assert (row["scans"], row["patients"]) == (len(shared), len(shared) - 2)
        means[modality] = np.nanmean(expected)
    told = {row["modality"]: row for row in report.rows}
    assert {name: told[name]["mean"] for name in BRANCHES} == pytest.approx(means)
    assert told["all"]["mean"] == pytest.approx(np.mean(list(means.values())))
    assert [told["all"][name] for name in ("features", "scans", "patients")] == [5 * 399, 11, 9]
    assert told["all"]["ci_low"] < told["all"]["mean"] < told["all"]["ci_high"]
    assert (told["T1"]["first_network"], told["T1"]["second_network"]) == ("ViViT", "I3D")
    assert told["T1"]["basis"] == "trained weights"


def test_files_leave_no_trace_and_groups_of_patients_none_in_the_coefficients(
    tmp_path: Path, label: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, links = made_up(50), [(n, n + 1) for n in range(0, 40, 4)]
    one, many = (
        fill(Lake(tmp_path / name, create=True), vectors, map(label, range(50)), links=links, commits=commits)
        for name, commits in (("one", 1), ("many", 9))
    )
    compare(one)
    expected = figures(one)
    assert len(expected) == 5 * 400 + 6
    compare(many)
    assert figures(many) == expected
    compact(many, fewest=2)
    assert compare(many).computed == 1  # other files, and the same figures to the bit
    assert figures(many) == expected
    monkeypatch.setattr(agreement_pair, "EACH", 20)
    monkeypatch.setattr(agreement_pair, "GROUPS", 7)
    many.transact(lambda tx: tx.delete("ccc_means", {}), run_id="r")
    compare(many)
    for place, (mean, low, high, *counts, ccc) in figures(many).items():
        one_by_one = expected[place]
        assert counts == one_by_one[3:-1]
        coefficients = [np.nan if value is None else value for value in (mean, ccc, one_by_one[0], one_by_one[-1])]
        np.testing.assert_allclose(coefficients[:2], coefficients[2:], rtol=1e-9, atol=1e-12)
        coefficient = mean if ccc is None else ccc
        assert low is None or low <= coefficient <= high


def test_what_has_not_changed_is_not_computed_again_and_patients_are_a_change(lake: Lake, label: Any) -> None:
    fill(lake, made_up(8), map(label, range(8)))
    assert compare(lake).computed == 1
    version = lake.version
    again = compare(lake)
    assert (again.computed, lake.version) == (0, version)
    tie(lake, [(scan(3), scan(4)), (scan(5), scan(6))])
    after = compare(lake)
    assert after.computed == 1
    one, other = again.rows[0], after.rows[0]
    assert other["mean"] == pytest.approx(one["mean"], rel=1e-12)
    assert other["patients"] == one["patients"] - 2
    assert other["ci_low"] != pytest.approx(one["ci_low"], rel=1e-6)
    lake.transact(lambda tx: tx.delete("features", {"feature_set": "b-1"}), run_id="r")
    with pytest.raises(InputError, match="No two feature sets share scans"):
        compare(lake)
    assert not lake.read("ccc").num_rows


def test_of_every_patient_the_first_two_examinations_with_vectors_are_compared(lake: Lake, label: Any) -> None:
    # 0 and 1 are one examination under two names, of which the second has vectors; 2 follows, then 3.
    # 4 has no vectors, so 5 and 6 are compared; 7 and 8 are one examination; 9 stands alone.
    links = [(0, 2), (0, 3), (4, 5), (4, 6)]
    vectors = {key: values for key, values in made_up(12, seed=1).items() if key[0] not in (scan(0), scan(4))}
    vectors |= {(scan(2), m, "a-1"): np.arange(400, dtype=np.float32) for m in BRANCHES}
    vectors[scan(6), "T1", "a-1"][5] = np.inf
    fill(lake, vectors, map(label, range(12)), links=links)
    tie(lake, [(scan(0), scan(1)), (scan(7), scan(8))], "same content")
    report = compare(lake, ["a-1"], rescans=True)
    told = {row["modality"]: row for row in report.rows}
    assert {name: (row["scans"], row["patients"]) for name, row in told.items()} == {
        **dict.fromkeys(BRANCHES, (2, 2)), "T1": (1, 1), "all": (2, 2)
    }  # fmt: skip
    x, y = ([vectors[scan(n), "FLAIR", "a-1"] for n in side] for side in ((1, 5), (2, 6)))
    assert told["FLAIR"]["mean"] == pytest.approx(np.nanmean(concordance(x, y)))
    assert told["T1"]["ci_low"] is None  # one patient: no interval
    assert "examination" in told["FLAIR"]["note"]
    assert compare(lake, ["a-1"], rescans=True).computed == 0
    with pytest.raises(InputError, match="two examinations with vectors of c-1"):
        compare(lake, ["c-1"], rescans=True)


def test_examinations_are_in_the_order_of_their_days(lake: Lake, label: Any) -> None:
    names = [name for n in range(9) for name in (f"P-{n}", f"P-{n}_FU100d", f"P-{n}_FU020d")]
    stream = np.random.default_rng(0)
    vectors = {(name, m, "a-1"): stream.standard_normal(400).astype(np.float32) for name in names for m in MODALITIES}
    fill(lake, vectors, (label(n, scan_id=name) for n, name in enumerate(names)))
    tie(lake, [(name[:3], name) for name in names if "_" in name])
    told = {row["modality"]: row for row in compare(lake, ["a-1"], rescans=True).rows}
    x, y = ([vectors[f"P-{n}{day}", "T2", "a-1"] for n in range(9)] for day in ("", "_FU020d"))
    assert told["T2"]["mean"] == pytest.approx(concordance(x, y).mean())
    assert (told["all"]["scans"], told["all"]["features"]) == (9, 1600)


def test_the_studys_pair_stands_beside_its_published_figure(lake: Lake, label: Any) -> None:
    printed = [
        {"source": "s4", "first": first, "second": second, "feature": n, "ccc": 0.25, "source_sha256": "0"}
        for first, second in (("vivit", "i3d"), ("i3d", "ircsn")) for n in range(1, 401)
    ]  # fmt: skip
    lake.transact(lambda tx: tx.append("published_ccc", printed), run_id="r")
    fill(lake, made_up(6), map(label, range(6)))
    told = {row["modality"]: row for row in compare(lake).rows}
    assert (told["all"]["published"], told["T1"]["published"]) == (0.25, None)
    (missing,) = query(lake, "FROM ccc_summary WHERE mean IS NULL").to_pylist()
    assert (missing["first_network"], missing["second_network"], missing["published"]) == ("I3D", "IRCSN", 0.25)
    feature = query(lake, "FROM ccc_table_s4").to_pylist()[9]
    of_feature = [row["ccc"] for row in lake.read("ccc").to_pylist() if row["feature"] == 10]
    assert feature["our_vivit_i3d"] == pytest.approx(math.fsum(of_feature) / 5)
    assert (feature["vivit_i3d"], feature["our_i3d_ircsn"], feature["basis"]) == (0.25, None, "trained weights")


@pytest.mark.parametrize(
    ("names", "rescans", "told"),
    [
        (["a-2", "b-1"], False, "no feature set named 'a-2'"),
        (["a-1"], False, "takes two feature sets"),
        (["a-1", "a-1"], False, "takes two feature sets"),
        (["a-1", "b-1", "c-1"], False, "given: a-1, b-1, c-1"),
        (["a-1", "b-1"], True, "within one feature set"),
        (["a-1", "c-1"], False, "No scan has vectors of both a-1 and c-1"),
        (["a-1"], True, "No patient has two examinations with vectors of a-1"),
    ],
)
def test_what_cannot_be_compared_is_said(lake: Lake, label: Any, names: list[str], rescans: bool, told: str) -> None:
    fill(lake, made_up(3), map(label, range(3)))
    with pytest.raises(InputError, match=told) as caught:
        compare(lake, names, rescans=rescans)
    assert caught.value.hint


def test_a_study_correlates_published_agreement_where_the_lake_has_it(made: Any) -> None:
    backbones = {"a": "vivit_released", "b": SETS["b-1"], "c": "slowfast_4x16_resnet50_kinetics400"}
    stream = np.random.default_rng(0)
    base = stream.normal(size=(6, 1, 400))
    for noise, (name, backbone) in enumerate(backbones.items(), start=1):
        made.vectors(name, base + noise * stream.normal(size=base.shape), backbone=backbone)
    printed, aucs = {"ab": 0.05, "ac": 0.11, "bc": 0.01}, (0.597, 0.612, 0.583)
    for networks, mean in zip([("vivit", "i3d"), ("vivit", "slowfast"), ("slowfast", "i3d")], printed.values(),
                              strict=True):  # fmt: skip
        made.published_agreement(*networks, mean - 0.01, mean + 0.01)
    for pair, auc in zip(printed, aucs, strict=True):
        made.reaching(pair, 0.6, feature_sets=tuple(pair))
        made.row(pair, "table_4", pair, auc=auc)
    lake = made.commit()
    analyse(lake, "made", progress=False)
    (row,) = (row for row in lake.read("correlations").to_pylist() if row["published"] == "r² = 0.58")
    assert row["published_r"] == pytest.approx(np.corrcoef(list(printed.values()), aucs)[0, 1])
    assert {(row["first"], row["second"]) for row in lake.read("ccc_means").to_pylist()} == {
        ("a", "b"), ("a", "c"), ("b", "c")
    }  # fmt: skip
