"""Figure 5: attention weights of the branches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gliolake.analysis.figures.style import BROKEN, INK, PAPER, SPLITS, Row, Sketch, blank, number, readable


def attention(rows: Sequence[Row]) -> Sketch:
    """Rows of view figure_5 as bars, a pair of splits for each branch."""
    branches = list(dict.fromkeys(row["modality"] for row in rows))
    splits = [split for split in SPLITS if any(row["split"] == split for row in rows)]
    thick = 0.8 / len(splits)
    figure, (axis,) = blank(0.7 + 0.24 * len(branches) * len(splits))
    for place, split in enumerate(splits):
        of = [row for row in rows if row["split"] == split]
        y = np.array([branches.index(row["modality"]) for row in of]) + (place - (len(splits) - 1) / 2) * thick
        mean, low, high = (np.array([row[name] for row in of], float) for name in ("mean", "ci_low", "ci_high"))
        label = f"{split}, {of[0]['patients']} patients"
        inside, letters = (SPLITS[split], PAPER) if split == "internal" else (PAPER, INK)
        axis.barh(y, mean, 0.84 * thick, color=inside, edgecolor=SPLITS[split], lw=1.2, label=label)
        axis.errorbar(mean, y, xerr=(mean - low, high - mean), fmt="none", ecolor=INK, elinewidth=1, capsize=2)
        for height, value in zip(y, mean, strict=True):
            axis.text(0.004, height, number(value, ".3f"), color=letters, size=8.5, va="center_baseline")
    uniform = rows[0]["uniform"]
    axis.axvline(uniform, color=INK, lw=1, ls=BROKEN, label=f"all alike, {number(uniform)}")
    axis.set_yticks(range(len(branches)), [readable(branch, 34) for branch in branches])
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="y", visible=False)
    axis.invert_yaxis()
    axis.set_xlim(0, None)
    axis.locator_params(axis="x", nbins=6)
    axis.set_xlabel("mean attention weight, 95 % interval over patients")
    figure.legend(loc="outside lower center", ncols=3)
    told = [
        f"{split}: "
        + ", ".join(f"{row['modality']} {number(row['mean'], '.3f')}" for row in rows if row["split"] == split)
        for split in splits
    ]
    return Sketch(figure, f"Mean attention of {readable(rows[0]['label'])}, {'; '.join(told)}; alike would be "
                  f"{number(uniform)}.")  # fmt: skip
