"""ROC and calibration curves: a panel for each model, so that bands do not hide each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter

import numpy as np
from matplotlib.axes import Axes

from gliolake.analysis.figures.style import (
    BROKEN,
    HAIR,
    INK,
    PAPER,
    SPLITS,
    Row,
    Sketch,
    blank,
    interval,
    number,
    readable,
)

HALVES = (0, 0.5, 1)
TALLEST = 0.22
"""Share of a calibration panel's height that the tallest bar of predictions takes."""


def roc(rows: Sequence[Row]) -> Sketch:
    """Rows of view figure_roc, both splits of a model in one panel."""
    models = [(name, list(of)) for name, of in groupby(rows, key=lambda row: str(row["name"]))]
    columns = min(2, len(models))
    figure, axes = blank(3.05 * -(-len(models) // columns), -(-len(models) // columns), columns)
    told = []
    for axis, (_, of) in zip(axes, models, strict=False):
        label = readable(of[0]["label"], 30)
        axis.set_title(label, pad=29)
        axis.plot((0, 1), (0, 1), color=INK, lw=0.8, ls=BROKEN)
        for split, found in groupby(of, key=lambda row: str(row["split"])):
            points = list(found)
            _roc(axis, points, split)
            told.append(
                f"{label} {split} {interval(*(points[0][name] for name in ('auc', 'auc_ci_low', 'auc_ci_high')))}"
            )
        axis.set(xlim=(0, 1), ylim=(0, 1), xticks=HALVES, yticks=HALVES, aspect="equal")
        axis.set_xlabel("false positive rate")
        axis.set_ylabel("true positive rate")
    for axis in axes[len(models) :]:
        axis.set_axis_off()
    return Sketch(figure, f"ROC curves, AUC with 95 % interval: {'; '.join(told)}.")


def _roc(axis: Axes, points: Sequence[Row], split: str) -> None:
    """A curve with its band, and its AUC above the panel in its colour."""
    color, dash = SPLITS[split], "-" if split == "internal" else (0, (5, 1.5))
    x, y = ([row[name] for row in points] for name in ("false_positive_rate", "true_positive_rate"))
    if points[0]["ci_low"] is not None:
        low, high = ([row[name] for row in points] for name in ("ci_low", "ci_high"))
        axis.fill_between(x, low, high, color=color, alpha=0.13, lw=0)
    axis.plot([0, *x], [0, *y], color=color, ls=dash, clip_on=False)
    auc = interval(*(points[0][name] for name in ("auc", "auc_ci_low", "auc_ci_high")))
    axis.annotate(
        f"{split} AUC {auc}", (0, 1), xycoords="axes fraction", xytext=(0, 17 if split == "internal" else 5),
        textcoords="offset points", color=color, size=8.5,
    )  # fmt: skip


def calibration(rows: Sequence[Row]) -> Sketch:
    """Rows of view figure_calibration, a panel for each model and split, two beside each other."""
    found = [(str(name), str(split), list(of)) for (name, split), of in groupby(rows, key=itemgetter("name", "split"))]
    lines = -(-len(found) // 2)
    figure, axes = blank(2.0 * lines + 0.3, lines, 2, sharex=True, sharey=True)
    told = []
    for axis, (_, split, of) in zip(axes, found, strict=False):
        axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=HALVES, yticks=HALVES)
        axis.set_title(readable(of[0]["label"], 30), pad=17)
        error = next((number(row["error"]) for row in of if row["error"] is not None), "–")
        axis.annotate(
            f"{split}, error {error}", (0, 1), xycoords="axes fraction", xytext=(0, 5), textcoords="offset points",
            color=SPLITS[split], size=8.5,
        )  # fmt: skip
        told.append(f"{readable(of[0]['label'], 30)} {split} {error}")
        _reliability(axis, of, split)
    for axis in axes[len(found) :]:
        axis.set_axis_off()
    for axis in axes[::2]:
        axis.set_ylabel("share methylated")
    for axis in axes[max(len(found) - 2, 0) : len(found)]:
        axis.set_xlabel("predicted probability")
        axis.tick_params(labelbottom=True)
    return Sketch(figure, f"Calibration error, 0 being perfect: {', '.join(told)}.")


def _reliability(axis: Axes, rows: Sequence[Row], split: str) -> None:
    histogram = [row for row in rows if row["curve"] == "histogram"]
    tallest = max((row["scans"] for row in histogram), default=1)
    x, scans = (np.array([row[name] for row in histogram], float) for name in ("predicted", "scans"))
    axis.bar(x, TALLEST * scans / tallest, 0.046, bottom=-0.02, color=HAIR, lw=0, zorder=0.5)
    axis.plot((0, 1), (0, 1), color=INK, lw=0.8, ls=BROKEN)
    bins = [row for row in rows if row["curve"] == "reliability"]
    columns = ("predicted", "observed", "ci_low", "ci_high")
    x, y, low, high = (np.array([row[name] for row in bins], float) for name in columns)
    inside = SPLITS[split] if split == "internal" else PAPER
    axis.vlines(x, low, high, color=SPLITS[split], lw=1)
    axis.plot(x, y, ls="", marker="o", ms=4.5, mfc=inside, mec=SPLITS[split], mew=1.1)
