"""A study with something to draw in every figure, and all of its figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gliolake.analysis.figures.registry import FIGURES, drawn
from gliolake.analysis.study.command import analyse
from gliolake.sql.catalog import connect
from gliolake.storage.lake import Lake
from tests.support.figures import LABEL, SITES, Gallery


def fill(made: Any) -> Any:
    """A study with rows of all kinds, of synthetic scans."""
    for n, row in enumerate(made.rows["labels"]):
        row["site"] = SITES[n % len(SITES)]
    made.experiment("one", seed=1, signal=0.15, external=True, weights="synthetic")
    made.experiment("two", seed=2, signal=0.2, external=True, weights="synthetic", model="logistic")
    made.row("snn", "table_1", "one", auc=0.666, auc_sem=0.031, label=LABEL)
    made.row("logistic", "table_1", "two")
    made.row("quoted", "table_1", auc=0.622)
    made.row("broken", "table_3", state="failed", detail="no vectors", auc=0.6)
    made.row("inside", "figure_7a", "one", auc=0.65)
    made.row("beyond", "figure_7b", "one", split="external", auc=0.624)
    vectors = np.zeros((1, 1, 400))
    made.vectors("i3d", vectors, backbone="i3d_nl10_resnet101_v1_kinetics400")
    made.vectors("vivit", vectors, backbone="vivit_b_16x2")
    made.agreement("i3d", "vivit", 0.21)
    made.published_agreement("vivit", "i3d", 0.04, 0.06)
    made.published_agreement("slowfast", "i3d", 0.01)
    made.map("vivit")
    return made


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory, made_study: Any) -> Gallery:
    """Every figure of a study on synthetic scans."""
    made = fill(made_study(Lake(tmp_path_factory.mktemp("gallery") / "lake", create=True)))
    lake = made.commit()
    analyse(lake, "made", progress=False)
    connection = connect(lake)
    return Gallery(made, lake, connection, {name: drawn(connection, lake, name) for name in FIGURES})
