"""The study's correlations, from its own tables where they are at hand, and what cannot be correlated."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from gliolake.analysis.statistics.correlation import KINETICS_TOP1, correlation, drops
from gliolake.errors import InputError
from gliolake.features.backbones.registry import BACKBONES
from gliolake.schema.vocabulary import BRANCHES

MODALITIES = ("FLAIR", "T1", "T2", "T1wCE", "Delta T1")


def column(file: Path, key: str, value: str) -> dict[str, float | None]:
    with file.open(encoding="utf-8") as lines:
        return {row[key]: float(row[value]) for row in csv.DictReader(lines)}


def test_a_modality_good_alone_is_missed_most_as_the_study_found(reference: Path) -> None:
    auc = column(reference / "paper" / "table_2_modalities.csv", "modalities", "auc")
    assert len(MODALITIES) == len(BRANCHES)
    single = {name: auc[name] for name in MODALITIES}
    without = {name: auc[f"missing {name}"] for name in MODALITIES}
    found = correlation(single, without)
    assert found.r == pytest.approx(-0.90, abs=0.005)
    assert found.points == 5
    drop = correlation(single, drops(auc["All"] or 0.0, without))
    assert drop.r == pytest.approx(-(found.r or 0.0))
    assert drop.p == pytest.approx(found.p)


def test_the_studys_tables_give_a_weaker_link_of_agreement_and_auc_than_its_text(reference: Path) -> None:
    auc = column(reference / "paper" / "table_4_combinations.csv", "backbones", "auc")
    pairs = {
        "vivit_slowfast": "ViViT + SlowFast", "vivit_ircsn": "ViViT + IRCSN", "vivit_i3d": "I3D + ViViT",
        "slowfast_ircsn": "SlowFast + IRCSN", "slowfast_i3d": "I3D + SlowFast", "i3d_ircsn": "I3D + IRCSN",
    }  # fmt: skip
    with (reference / "paper" / "table_s4_ccc.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    ccc = {of: float(np.mean([float(row[pair]) for row in rows])) for pair, of in pairs.items()}
    found = correlation(ccc, auc)
    assert found.points == 6
    assert found.r2 == pytest.approx(0.206, abs=0.001)  # the text: 0.58


def test_kinetics_accuracy_is_known_of_every_pretrained_backbone(reference: Path) -> None:
    assert set(KINETICS_TOP1) == set(BACKBONES) - {"random_conv"}
    auc = column(reference / "paper" / "table_3_backbones.csv", "backbone", "auc")
    named = {
        "i3d_nl10_resnet101_v1_kinetics400": auc["I3D"], "slowfast_4x16_resnet50_kinetics400": auc["SlowFast"],
        "r2plus1d_v2_resnet152_kinetics400": auc["IRCSN"], "vivit_l_16x2_fe": auc["ViViT"],
    }  # fmt: skip
    found = correlation(KINETICS_TOP1, named)
    assert found.points == 4
    assert found.r2 == pytest.approx(0.264, abs=0.001)  # the text: 0.93


def test_r_and_its_interval_are_those_of_the_definition() -> None:
    x, y = np.random.default_rng(0).standard_normal((2, 12))
    y += x
    found = correlation(dict(zip("abcdefghijkl", x, strict=True)), dict(zip("lkjihgfedcba", y[::-1], strict=True)))
    r = np.corrcoef(x, y)[0, 1]
    half = 1.959964 / 9**0.5
    assert (found.r, found.r2) == pytest.approx((r, r * r))
    assert (found.ci_low, found.ci_high) == pytest.approx(
        (np.tanh(np.arctanh(r) - half), np.tanh(np.arctanh(r) + half))
    )


def test_only_names_with_both_values_are_points() -> None:
    found = correlation({"a": 1, "b": 2, "c": 3, "d": None, "e": 9}, {"c": 1, "b": 2, "a": 3, "d": 4, "f": 0})
    assert (found.r, found.ci_low, found.points) == (pytest.approx(-1), None, 3)
    assert drops(0.7, {"a": 0.6, "b": None}) == {"a": pytest.approx(0.1), "b": None}


def test_two_points_or_a_side_that_does_not_vary_say_nothing() -> None:
    assert correlation({"a": 1, "b": 2}, {"a": 1, "b": 2}).r is None
    level = correlation({"a": 0.1 + 0.2, "b": 0.3, "c": 0.3}, {"a": 1, "b": 2, "c": 4})
    assert (level.r, level.p, level.points) == (None, None, 3)
    straight = correlation(dict(zip("abcd", range(4), strict=True)), dict(zip("abcd", range(4), strict=True)))
    assert (straight.r, straight.ci_low, straight.ci_high) == pytest.approx((1, 1, 1))


def test_names_that_do_not_meet_are_refused() -> None:
    with pytest.raises(InputError, match="a, b against T1"):
        correlation({"a": 1, "b": 2}, {"T1": 1})
    with pytest.raises(InputError, match="infinite"):
        correlation({"a": 1, "b": 2, "c": float("inf")}, {"a": 1, "b": 2, "c": 3})
