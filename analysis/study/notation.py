"""Notation of a study's figures, and notes for readers of its tables."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]

FOOT = {
    "results": "Mean ± SEM over folds, as if these were independent, and a 95 % interval: internal, corrected "
    "resampled t; external, bootstrap over patients. Optimism: what choosing on the test scans would have added. The "
    "released script filled precision with accuracy: compare the published precision with both.",
    "comparisons": "Rank-sum takes folds as independent, and its p is too small; it stands here because the study used "
    "it. The corrected t knows that folds share training scans. DeLong and bootstrap are of one mean prediction per "
    "scan. Holm: over the rows of one published table, metric and test.",
    "correlations": "By its own figures: the same models, with the AUCs that the study prints in place of ours.",
    "subgroups": "AUC of the mean prediction per scan, 95 % interval by bootstrap over patients. Many groups are "
    "looked at, so some stand out by chance.",
    "overview": "gliolake study show with the name of a table, or comparisons, correlations or subgroups, shows more.",
}
"""What has to be known to read them."""


def reproduced(row: Row) -> str:
    """Mean ± SEM, and the interval."""
    return plus_minus(row["reproduced"], row["sem"]) + span(row["ci_low"], row["ci_high"])


def number(value: float | None, style: str = ".3f") -> str:
    """A number, or a dash where there is none."""
    return "–" if value is None else f"{value:{style}}"


def span(low: float | None, high: float | None, style: str = ".3f") -> str:
    """An interval to stand behind a number; nothing where there is none."""
    return "" if low is None or high is None else f" [{low:{style}}, {high:{style}}]"


def plus_minus(mean: float | None, sem: float | None) -> str:
    """A mean with its standard error, where there is one."""
    return number(mean) if sem is None or mean is None else f"{mean:.3f} ± {sem:.3f}"


def placed(label: str, split: str) -> str:
    """A row's label, with the split that its figures are of unless it is the usual one."""
    return label if split == "internal" else f"{label} ({split})"
