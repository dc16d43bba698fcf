"""Figure 4: decision curves of the models, compared with treating all or no patients."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from gliolake.analysis.figures.style import DASHES, INK, PALETTE, PENCIL, Row, Sketch, blank, number, readable

NO_MODEL = ((PENCIL, "-", 1.0), (INK, "-", 1.0))
"""Colour, dashes and width of treating all and treating none."""

AT = 0.5
"""Threshold whose net benefits are told in words."""


def decision(rows: Sequence[Row]) -> Sketch:
    """Rows of view figure_4 as curves, one panel for each split."""
    panels = {split: list(of) for split, of in groupby(rows, key=lambda row: row["split"])}
    figure, axes = blank(3.6, 1, len(panels), sharey=True)
    labels = {row["name"]: readable(row["label"], 32) for row in rows}
    for axis, (split, of) in zip(axes, panels.items(), strict=True):
        _panel(axis, of, list(labels))
        axis.set_title(split)
        axis.set_xlabel("threshold probability")
    best = max(0.01, *(row[column] for row in rows for column in ("net_benefit", "treat_all")))
    axes[0].set_ylim(-0.3 * best, 1.05 * best)
    axes[0].set_ylabel("net benefit")
    looks = [(PALETTE[place % 6], DASHES[place % 6], 1.6) for place in range(len(labels))]
    lines = [Line2D([], [], color=color, ls=dash, lw=width) for color, dash, width in (*looks, *NO_MODEL)]
    figure.legend(
        lines, [*labels.values(), "treat all", "treat none"], loc="outside lower center", ncols=2, handlelength=3
    )
    told = [
        f"{split}: " + ", ".join(f"{labels[row['name']]} {number(row['net_benefit'])}" for row in of if _is_told(row))
        + "".join(f", treating all {number(row['treat_all'])}" for row in of if _is_told(row) and row is _first(of))
        for split, of in panels.items()
    ]  # fmt: skip
    return Sketch(figure, f"Net benefit at a threshold of {AT:g}, " + "; ".join(told) + ".")


def _panel(axis: Axes, rows: Sequence[Row], names: Sequence[str]) -> None:
    sensible = [row["threshold"] for row in rows if row["sensible"]]
    axis.axvspan(min(sensible), max(sensible), color="#f2f2f2", lw=0, zorder=0)
    for name, found in groupby(rows, key=lambda row: row["name"]):
        of = list(found)
        place = names.index(name) % len(PALETTE)
        thresholds = [row["threshold"] for row in of]
        axis.plot(thresholds, [row["net_benefit"] for row in of], color=PALETTE[place], ls=DASHES[place])
    for column, (color, dash, width) in zip(("treat_all", "treat_none"), NO_MODEL, strict=True):
        axis.plot(thresholds, [row[column] for row in of], color=color, ls=dash, lw=width, zorder=1.9)
    axis.set_xlim(0, 1)


def _is_told(row: Row) -> bool:
    return bool(abs(row["threshold"] - AT) < 1e-6)


def _first(rows: Sequence[Row]) -> Row:
    return next(row for row in rows if _is_told(row))
