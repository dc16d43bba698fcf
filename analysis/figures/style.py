"""Style of all figures: width, fonts, colours, and the red stamp of provenance.

A figure is 5.5 inches wide, so that its letters are still read at 400 pixels and on paper. Colours are Okabe and Ito's,
which colour-blind people tell apart, and never the only difference. Nothing here touches pyplot or leaves a setting
behind, and the same rows give the same bytes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from textwrap import wrap
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType

from gliolake.analysis.study.notation import number as plain_number
from gliolake.target import marked

Row = dict[str, Any]

WIDTH = 5.5
"""Inches."""

SHARP = 192
"""Pixels of a PNG per inch: two for each that a screen shows."""

BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
PALETTE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (9, 3)), (0, (3, 1, 1, 1, 1, 1)))
"""Lines of the same places in the palette."""

BROKEN = (0, (4, 3))
"""The line of a reference: chance, all alike, as predicted."""

INK, PENCIL, HAIR, PAPER, RED = "#1a1a1a", "#6b6b6b", "#d9d9d9", "#ffffff", "#c00000"

WHITE = {"fc": PAPER, "lw": 0, "pad": 0.5}
"""Behind letters that a line would cross."""

SPLITS = {"internal": BLUE, "external": VERMILION}
"""Colours of the two splits, in the order in which they are drawn."""

SETTINGS: dict[RcKeyType, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": PENCIL,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": HAIR,
    "grid.linewidth": 0.5,
    "xtick.color": PENCIL,
    "ytick.color": PENCIL,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.6,
    "figure.facecolor": PAPER,
    "text.parse_math": False,  # a site called $x$ is called $x$
    "svg.fonttype": "none",
    "svg.hashsalt": "gliolake",
}


class Sketch(NamedTuple):
    """A figure, and one sentence with its main numbers for those who cannot see it."""

    figure: Figure
    alt: str


@dataclass(frozen=True)
class Files:
    """A figure as bytes of an SVG, whose text is text, and of a PNG."""

    svg: bytes
    png: bytes


@contextmanager
def styled() -> Iterator[None]:
    """Inside, what is drawn and saved has this style, whatever the user's own settings of matplotlib are."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        # A name in letters that the font lacks: boxes in the PNG, the letters themselves in the SVG.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        yield


def blank(height: float, rows: int = 1, columns: int = 1, **axes: Any) -> tuple[Figure, list[Axes]]:
    """A figure of that height in inches, and its axes, row by row. ``axes`` are options of ``Figure.subplots``."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False, **axes).flat)


def stamp(figure: Figure, basis: str) -> None:
    """Write what the figure rests on above it, in red; nothing if it rests on trained weights and real scans."""
    if not basis:
        return
    lines = wrap(f"Rests on: {basis}", 68)
    wide, high = figure.get_size_inches()
    figure.set_size_inches(wide, high + 0.16 * len(lines) + 0.08)
    figure.suptitle("\n".join(lines), x=0.01, ha="left", color=RED, weight="bold", size=9)


SVG = marked("a picture", opens=b"<?xml", bears=b"<dc:title>gliolake</dc:title>", ends=b"</svg>")
"""As ``saved`` writes it."""


def saved(figure: Figure, title: str, alt: str) -> Files:
    """The figure's files; the same figure, the same bytes. ``title`` and ``alt`` are written into them."""
    svg, png = BytesIO(), BytesIO()
    FigureCanvasSVG(figure).print_svg(
        svg, metadata={"Date": None, "Creator": "gliolake", "Title": title, "Description": alt}
    )
    figure.set_layout_engine("none")  # where things are was found for the first of the two
    figure.set_dpi(SHARP)
    FigureCanvasAgg(figure).print_png(png, metadata={"Software": "gliolake", "Title": title, "Description": alt})
    return Files(svg.getvalue(), png.getvalue())


def readable(text: str, longest: int = 40) -> str:
    """Text of a file as it is shown: on one line, without control characters, and cut where it is too long."""
    shown = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def number(value: float | None, style: str = ".2f") -> str:
    """A number with a proper minus, or a dash where there is none."""
    shown = plain_number(value, style)
    return shown.lstrip("-") if value is not None and float(shown) == 0 else shown.replace("-", "−")


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """A number with its interval, as in 0.61 (0.54 to 0.67)."""
    inside = "" if low is None or high is None else f" ({number(low)} to {number(high)})"
    return number(value) + inside
