"""What a finished study becomes: every figure recomputed from the made-up rows that it rests on."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, norm, t
from sklearn.metrics import roc_auc_score

from gliolake.analysis.statistics.delong import Sample, unpaired_delong_test
from gliolake.analysis.study.command import analyse
from gliolake.analysis.study.groups import subgroup_rows
from gliolake.analysis.study.results import Pooled
from gliolake.errors import InputError
from gliolake.maintenance.compaction import compact
from gliolake.schema.vocabulary import BRANCHES
from gliolake.storage.lake import Lake

TABLES = ("comparisons", "correlations", "subgroups", "curves")


def analysed(made: Any) -> Lake:
    lake: Lake = made.commit()
    analyse(lake, "made", progress=False)
    return lake


def rows_of(lake: Lake, table: str, **where: str) -> list[dict[str, Any]]:
    return [row for row in lake.read(table).to_pylist() if where.items() <= row.items()]


def comparison(lake: Lake, first: str, metric: str, test: str) -> dict[str, Any]:
    (row,) = rows_of(lake, "comparisons", first=first, metric=metric, test=test)
    return row


def fold_figures(made: Any, experiment: str, metric: str, split: str = "internal") -> list[float]:
    where = {"experiment": experiment, "metric": metric, "split": split}
    return [row["value"] for row in made.rows["metrics"] if where.items() <= row.items()]


def pooled(made: Any, experiment: str, split: str = "internal") -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Labels, mean predictions and patients by scan."""
    given: dict[str, list[dict[str, Any]]] = {}
    for row in made.rows["predictions"]:
        if (row["experiment"], row["split"]) == (experiment, split):
            given.setdefault(row["scan_id"], []).append(row)
    of = [given[scan] for scan in sorted(given)]
    means = [np.mean([row["probability"] for row in rows]) for rows in of]
    return np.array([rows[0]["methylated"] for rows in of]), np.array(means), [rows[0]["patient_id"] for rows in of]


def placements(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By definition: each methylated scan's share of pairs in the right order, and each unmethylated one's."""
    pairs = np.sign(scores[labels][:, None] - scores[~labels][None]) / 2 + 0.5
    return pairs.mean(1), pairs.mean(0)


def variance(labels: np.ndarray, patients: Sequence[str], ahead: np.ndarray, behind: np.ndarray) -> float:
    """Obuchowski's, term by term over patients."""
    names, of = sorted(set(patients)), np.array(patients)
    total, sums = 0.0, []
    for call, part in ((True, ahead), (False, behind)):
        own = of[labels == call]
        holders = len(set(own))
        sums.append(np.array([(part[own == name] - part.mean()).sum() for name in names]))
        total += holders / (holders - 1) * (sums[-1] ** 2).sum() / len(part) ** 2
    return float(total + 2 * len(names) / (len(names) - 1) * (sums[0] * sums[1]).sum() / (len(ahead) * len(behind)))


def test_the_rank_sum_test_is_over_the_figures_of_the_folds(finished: Any) -> None:
    for metric in ("auc", "precision", "recall"):
        one, other = (fold_figures(finished, experiment, metric) for experiment in ("other", "one"))
        row = comparison(finished.lake, "mlp", metric, "rank-sum")
        assert row["p"] == pytest.approx(mannwhitneyu(one, other).pvalue)
        assert row["difference"] == pytest.approx(np.mean(one) - np.mean(other))


def test_the_corrected_t_pairs_folds_and_counts_the_scans_of_the_fits(finished: Any) -> None:
    sizes = [row for row in finished.rows["cv_folds"] if row["experiment"] == "one"]
    assert {(row["n_train"], row["n_validation"], row["n_test"]) for row in sizes} == {(10, 2, 12)}
    apart = np.subtract(fold_figures(finished, "other", "auc"), fold_figures(finished, "one", "auc"))
    error = apart.std(ddof=1) * (1 / 4 + 12 / 12) ** 0.5
    row = comparison(finished.lake, "mlp", "auc", "corrected t")
    assert row["p"] == pytest.approx(2 * t(3).sf(abs(apart.mean() / error)))
    assert row["units"] == 4


def test_delong_and_bootstrap_are_of_mean_predictions_of_scans_with_patients_as_units(finished: Any) -> None:
    labels, one, patients = pooled(finished, "other")
    _, other, _ = pooled(finished, "one")
    values = [roc_auc_score(labels, scores) for scores in (one, other)]
    (a, b), (c, d) = placements(labels, one), placements(labels, other)
    z = (values[0] - values[1]) / variance(labels, patients, a - c, b - d) ** 0.5
    row = comparison(finished.lake, "mlp", "auc", "DeLong")
    assert (row["first_value"], row["second_value"]) == pytest.approx(values)
    assert row["p"] == pytest.approx(2 * norm.sf(abs(z)))
    drawn = comparison(finished.lake, "mlp", "auc", "patient bootstrap")
    assert drawn["difference"] == pytest.approx(row["difference"])
    assert drawn["ci_low"] < drawn["difference"] < drawn["ci_high"]
    assert {row["units"], drawn["units"]} == {23}


def test_folds_of_other_patients_are_not_paired_and_it_is_said(finished: Any) -> None:
    row = comparison(finished.lake, "recut", "auc", "corrected t")
    assert (row["p"], row["ci_low"], row["units"]) == (None, None, 0)
    assert row["note"] == "their folds are of other patients"
    means = tuple(np.mean(fold_figures(finished, name, "auc")) for name in ("cut-otherwise", "one"))
    assert (row["first_value"], row["second_value"]) == pytest.approx(means)
    assert comparison(finished.lake, "recut", "auc", "DeLong")["p"] is not None


def test_models_of_unlike_scans_are_compared_on_those_that_both_predicted(finished: Any) -> None:
    labels, scores, _ = pooled(finished, "one")
    row = comparison(finished.lake, "fewer", "auc", "DeLong")
    assert row["second_value"] == pytest.approx(roc_auc_score(labels[4:], scores[4:]))
    assert (row["units"], row["note"]) == (20, "on the 20 scans that both predicted")


def test_labels_of_another_rule_are_not_compared_scan_by_scan(made: Any) -> None:
    made.experiment("one")
    made.experiment("other", seed=2)
    made.row("snn", "table_2", "one")
    made.row("mlp", "table_2", "other", compared_with="snn")
    for row in made.rows["predictions"]:
        if row["experiment"] == "other" and row["scan_id"] == "scan-0003":
            row["methylated"] = True
    lake = analysed(made)
    for test in ("DeLong", "patient bootstrap"):
        row = comparison(lake, "mlp", "auc", test)
        assert (row["p"], row["difference"]) == (None, None)
        assert row["note"] == "1 scans are labelled otherwise by the other one's rule"


def test_external_figures_are_compared_with_internal_ones_as_independent_samples(finished: Any) -> None:
    values, error = [], 0.0
    for split in ("external", "internal"):
        labels, scores, patients = pooled(finished, "one", split)
        values.append(roc_auc_score(labels, scores))
        error += variance(labels, patients, *placements(labels, scores))
    row = comparison(finished.lake, "beyond", "auc", "DeLong")
    assert (row["split"], row["second_split"]) == ("external", "internal")
    assert (row["first_value"], row["second_value"]) == pytest.approx(values)
    assert row["p"] == pytest.approx(2 * norm.sf(abs(values[0] - values[1]) / error**0.5))
    drawn = comparison(finished.lake, "beyond", "auc", "patient bootstrap")
    assert (drawn["difference"], drawn["units"]) == (pytest.approx(values[0] - values[1]), 23 + 13)
    assert drawn["ci_high"] - drawn["ci_low"] == pytest.approx(2 * 1.96 * error**0.5, rel=0.35)
    by_folds = comparison(finished.lake, "beyond", "auc", "rank-sum")
    figures = [fold_figures(finished, "one", "auc", split) for split in ("external", "internal")]
    assert by_folds["p"] == pytest.approx(mannwhitneyu(*figures).pvalue)
    assert not rows_of(finished.lake, "comparisons", first="beyond", test="corrected t")


def test_a_patient_in_both_samples_is_not_compared_unpaired() -> None:
    one = Sample([1, 0, 1, 0], [0.1, 0.2, 0.3, 0.4], ["a", "b", "c", "d"])
    with pytest.raises(InputError, match="1 patients are in both samples"):
        unpaired_delong_test(one, Sample([1, 0], [0.1, 0.2], ["d", "e"]))


def test_p_values_are_corrected_within_their_published_table_metric_and_test(finished: Any) -> None:
    family = [comparison(finished.lake, first, "auc", "DeLong") for first in ("mlp", "recut", "fewer")]
    rising = sorted(family, key=lambda row: row["p"])
    expected = np.minimum(np.maximum.accumulate([rising[0]["p"] * 3, rising[1]["p"] * 2, rising[2]["p"]]), 1)
    assert [row["p_holm"] for row in rising] == pytest.approx(expected.tolist())
    in_table_2 = comparison(finished.lake, "alone", "auc", "DeLong")
    assert in_table_2["p"] == comparison(finished.lake, "mlp", "auc", "DeLong")["p"]
    assert in_table_2["p_holm"] == pytest.approx(min(2 * in_table_2["p"], 1))


def test_rows_that_share_an_experiment_do_not_differ(finished: Any) -> None:
    rows = rows_of(finished.lake, "comparisons", first="all")
    assert {(row["difference"], row["p"]) for row in rows if row["test"] != "patient bootstrap"} == {(0.0, 1.0)}
    assert len(rows) == 8


def test_failed_and_quoted_rows_are_compared_with_nothing(finished: Any) -> None:
    compared = {row["first"] for row in rows_of(finished.lake, "comparisons")}
    assert compared == {"mlp", "recut", "fewer", "all", "alone", "beyond"}


def modality_rows(
    made: Any, alone: dict[str, float], without: dict[str, float], published: Any, **settings: Any
) -> None:
    for m, auc in alone.items():
        made.reaching(f"only-{m}", auc, branches=(m,))
        made.row(f"only-{m}", "table_2", f"only-{m}", auc=published[m])
    for m, auc in without.items():
        made.reaching(f"no-{m}", auc, masked_branches=(m,), **settings)
        made.row(f"no-{m}", "table_2", f"no-{m}", auc=published[f"missing {m}"])


def test_a_modality_alone_is_correlated_with_its_absence_here_and_in_the_study(made: Any, reference: Path) -> None:
    with (reference / "paper" / "table_2_modalities.csv").open(encoding="utf-8") as lines:
        published = {
            row["modalities"].replace("Delta T1", "DeltaT1"): float(row["auc"]) for row in csv.DictReader(lines)
        }
    alone = dict(zip(BRANCHES, (0.60, 0.58, 0.61, 0.55, 0.57), strict=True))
    without = dict(zip(BRANCHES, (0.59, 0.62, 0.60, 0.61, 0.63), strict=True))
    modality_rows(made, alone, without, published)
    (row,) = rows_of(analysed(made), "correlations", published="r = −0.90")
    assert row["name"] == "AUC of a modality alone, and AUC without it when tested"
    assert row["r"] == pytest.approx(np.corrcoef(list(alone.values()), list(without.values()))[0, 1])
    assert row["published_r"] == pytest.approx(-0.90, abs=0.005)
    assert (row["points"], row["note"]) == (5, "rests on: trained")


def test_every_way_of_lacking_a_modality_is_a_correlation_of_its_own(made: Any) -> None:
    three = BRANCHES[:3]
    published = dict.fromkeys([*three, *(f"missing {m}" for m in three)])
    modality_rows(made, dict(zip(three, (0.5, 0.6, 0.7), strict=True)), {}, published)
    ways = {
        "masked_branches": lambda m: {"masked_branches": (m,)},
        "dropout": lambda m: {"masked_branches": (m,), "modality_dropout": 0.2},
        "left-out": lambda m: {"branches": tuple(b for b in BRANCHES if b != m)},
    }
    for step, (way, settings) in enumerate(ways.items()):
        for k, m in enumerate(three):
            made.reaching(f"{way}-{m}", 0.6 + 0.01 * (k - step) ** 2, **settings(m))
            made.row(f"{way}-{m}", "robustness", f"{way}-{m}")
    made.reaching("other-model", 0.9, masked_branches=("FLAIR",), model="snn_released")
    made.row("other-model", "table_2", "other-model")
    found = {
        row["name"].split("AUC ")[-1]: row for row in rows_of(analysed(made), "correlations", published="r = −0.90")
    }
    assert {way: round(row["r"], 3) for way, row in found.items()} == {
        "without it when tested": round(float(np.corrcoef([0, 1, 2], [0, 1, 4])[0, 1]), 3),
        "without it when tested, after modality drop-out in training": 0.0,
        "trained without it": round(float(np.corrcoef([0, 1, 2], [4, 1, 0])[0, 1]), 3),
    }
    assert {row["published_r"] for row in found.values()} == {None}


def test_agreement_of_two_backbones_is_correlated_with_the_auc_of_both(made: Any) -> None:
    stream = np.random.default_rng(0)
    base = stream.normal(size=(6, 2, 400))
    sets = {name: base + noise * stream.normal(size=base.shape) for name, noise in (("a", 0.1), ("b", 0.5), ("c", 2))}
    sets["c"] = sets["c"][:5]  # on the scans that both have
    sets = {name: values.astype(np.float32).astype(float) for name, values in sets.items()}
    for name, values in sets.items():
        made.vectors(name, values)
    agreement, aucs = [], (0.62, 0.58, 0.6)
    for pair, auc in zip(("ab", "ac", "bc"), aucs, strict=True):
        made.reaching(pair, auc, feature_sets=tuple(pair))
        made.row(pair, "table_4", pair, auc=0.6)
        x, y = (sets[name][: 5 if "c" in pair else 6] for name in pair)
        together = ((x - x.mean(0)) * (y - y.mean(0))).mean(0)
        agreement.append(np.mean(2 * together / (x.var(0) + y.var(0) + (x.mean(0) - y.mean(0)) ** 2)))
    made.reaching("abc", 0.9, feature_sets=tuple("abc"))
    made.row("abc", "table_4", "abc", auc=0.6)
    (row,) = rows_of(analysed(made), "correlations", published="r² = 0.58")
    assert row["r"] == pytest.approx(np.corrcoef(agreement, aucs)[0, 1], abs=1e-9)
    assert row["r2"] == pytest.approx(row["r"] ** 2)
    assert (row["points"], row["published_r"]) == (3, None)


def test_untrained_backbones_have_no_kinetics_accuracy(made: Any) -> None:
    networks = ["i3d_nl10_resnet101_v1_kinetics400", "r2plus1d_v2_resnet152_kinetics400", "vivit_b_16x2"]
    for k, (network, published) in enumerate(zip(networks, (0.6, 0.591, 0.666), strict=True)):
        made.vectors(f"set-{k}", np.zeros((1, 1, 400)), backbone=network)
        made.reaching(f"on-{k}", 0.6 + 0.02 * k, feature_sets=[f"set-{k}"])
        made.row(f"on-{k}", "table_3", f"on-{k}", auc=published)
    made.vectors("empty", np.zeros((1, 1, 400)), backbone="slowfast_4x16_resnet50_kinetics400", weights="untrained")
    made.reaching("on-empty", 0.9, feature_sets=["empty"])
    made.row("on-empty", "table_3", "on-empty", auc=0.572)
    (row,) = rows_of(analysed(made), "correlations", published="r² = 0.93")
    accuracy = [75.93, 81.34, 79.9]
    assert (row["points"], row["note"]) == (
        3, "rests on: trained; 1 backbones are untrained or of no known accuracy",
    )  # fmt: skip
    assert row["r"] == pytest.approx(np.corrcoef(accuracy, [0.6, 0.62, 0.64])[0, 1])
    assert row["published_r"] == pytest.approx(np.corrcoef(accuracy, [0.6, 0.591, 0.666])[0, 1])


def test_a_correlation_without_rows_says_so(finished: Any) -> None:
    rows = rows_of(finished.lake, "correlations")
    assert {(row["points"], row["r"], row["note"]) for row in rows} == {
        (0, None, "the study has no finished rows for it")
    }
    assert len(rows) == 3


def test_subgroups_are_of_both_splits_of_the_main_rows(finished: Any) -> None:
    rows = rows_of(finished.lake, "subgroups", name="snn", attribute="age", split="internal")
    assert [(row["group"], row["scans"], row["positive"]) for row in rows] == [("0–49", 10, 5), ("50–64", 14, 7)]
    # Patients, not scans, are too few: scans 0 and 1 are one patient of both classes.
    assert rows[0]["note"] == "5 methylated and 5 unmethylated patients; 10 of each are needed"
    everything = rows_of(finished.lake, "subgroups")
    assert not {row["name"] for row in everything} & {"all", "alone", "inside", "quoted", "broken"}
    assert {row["attribute"] for row in everything} == {"all", "site", "age"}  # sex and others are not known
    assert {row["split"] for row in everything if row["name"] == "beyond"} == {"internal", "external"}


def test_the_auc_of_a_subgroup_is_of_its_own_scans() -> None:
    scans = np.array([f"here/{n:02d}" for n in range(48)])
    labels, scores = np.arange(48) % 2 == 0, np.random.default_rng(0).random(48)
    site = np.array(["A", "A", "B", "B"] * 12)
    given = Pooled(scans, scans, labels, scores)
    rows = subgroup_rows(given, {"site": dict(zip(scans.tolist(), site.tolist(), strict=True)), "sex": {}}, seed=0)
    expected = {name: roc_auc_score(labels[site == name], scores[site == name]) for name in ("A", "B")}
    expected["all"] = roc_auc_score(labels, scores)
    assert {row["group"]: row["auc"] for row in rows} == pytest.approx(expected)
    assert all(row["ci_low"] < row["auc"] < row["ci_high"] for row in rows)


def test_curves_are_points_of_the_mean_predictions(finished: Any) -> None:
    labels, scores, _ = pooled(finished, "one")
    points = rows_of(finished.lake, "curves", name="snn", split="internal")
    (at,) = [row for row in points if (row["curve"], row["x"]) == ("decision", 0.4)]
    called = scores >= 0.4
    benefit = (called & labels).mean() - (called & ~labels).mean() * 0.4 / 0.6
    assert (at["y"], at["treat_all"]) == pytest.approx((benefit, 0.5 - 0.5 * 0.4 / 0.6))
    bins = [row for row in points if row["curve"] == "calibration"]
    assert sum(row["scans"] for row in bins) == 24
    error = sum(row["scans"] / 24 * abs(row["y"] - row["x"]) for row in bins)
    assert [row["error"] for row in bins] == pytest.approx([error] * len(bins))


def test_a_second_analysis_writes_nothing_even_after_files_were_merged(made: Any) -> None:
    made.experiment("one")
    made.experiment("other", seed=1, signal=0.1)
    made.row("snn", "table_1", "one")
    made.row("mlp", "table_1", "other", compared_with="snn")
    predictions, made.rows["predictions"] = made.rows["predictions"], []
    for n in range(4):
        made.lake.transact(lambda transaction, n=n: transaction.append("predictions", predictions[n::4]), run_id="part")
    lake = analysed(made)
    before = lake.version
    analyse(lake, "made", progress=False)
    assert lake.version == before
    assert compact(lake)["predictions"] > 0
    before = lake.version
    analyse(lake, "made", progress=False)
    assert lake.version == before


def test_an_analysis_takes_the_place_of_the_one_before_and_leaves_other_studies_alone(made: Any) -> None:
    made.experiment("one")
    for study in ("made", "another"):
        made.row("snn", "table_3", "one", study=study)
        made.row("mlp", "table_3", "one", study=study, compared_with="snn")
    lake = analysed(made)
    analyse(lake, "another", progress=False)
    made.rows["study_rows"][1]["compared_with"] = ""
    analysed(made)
    assert {row["study"] for row in rows_of(lake, "comparisons")} == {"another"}


def test_an_unknown_study_is_refused_with_the_nearest_name(finished: Any) -> None:
    with pytest.raises(InputError, match="no study named 'mode'") as refused:
        analyse(finished.lake, "mode", progress=False)
    assert "Did you mean made?" in refused.value.hint
