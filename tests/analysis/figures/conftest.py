"""A study with something to draw in every figure, and all of its figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import duckdb
import numpy as np
import pytest

from gliolake.analysis.figures.registry import FIGURES, Drawn, drawn
from gliolake.analysis.study.command import analyse
from gliolake.sql.catalog import connect
from gliolake.storage.lake import Lake

SITES = ("<script>alert(1)</script>", "$x_1$", "_hidden & \x1bcut", "北京")
"""Sites as a stranger's label file may have them: marks of HTML, of mathematics, of legends and of terminals."""

LABEL = r"$\frac{1}{0}$ <b>"


@dataclass(frozen=True)
class Gallery:
    """A lake, a connection to it, and its figures by name."""

    made: Any
    lake: Lake
    connection: duckdb.DuckDBPyConnection
    figures: dict[str, Drawn]


def texts(figure: Drawn) -> list[str]:
    """All texts of a figure's SVG, which has to be sound XML."""
    root = ElementTree.fromstring(figure.svg)  # noqa: S314 - as above
    return ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]


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
