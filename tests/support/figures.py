"""Figures as tests read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import duckdb

from gliolake.analysis.figures.registry import Drawn
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
