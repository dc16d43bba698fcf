"""How the results of a study look as tables in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

Row = dict[str, Any]


def results(rows: Sequence[Row]) -> Table:
    """A line per row and metric that was published or reproduced."""
    from rich.table import Table

    table = Table("", "metric", "published", "reproduced", "difference", "optimism", "folds", "rests on")
    last = None
    for row in rows:
        if row["metric"] != "auc" and row["published"] is None and row["reproduced"] is None:
            continue
        name = row["table"], row["name"]
        if last not in (None, name):
            table.add_section()
        _add(
            table, row["label"] if name != last else "", row["metric"],
            plus_minus(row["published"], row["published_sem"]),
            reproduced(row), number(row["difference"], "+.3f"), number(row["optimism"], "+.3f"),
            "" if row["folds"] is None else str(row["folds"]), _basis(row) if name != last else "",
        )  # fmt: skip
        last = name
    return table


def comparisons(rows: Sequence[Row]) -> Table:
    """A line per pair of rows, metric and test."""
    from rich.table import Table

    table = Table("", "against", "metric", "test", "difference", "p", "p (Holm)", "units", "note", "rests on")
    last = None
    for row in rows:
        pair = row["first"], row["second"]
        if last not in (None, pair):
            table.add_section()
        fresh = pair != last
        _add(
            table, placed(row["first_label"], row["split"]) if fresh else "",
            placed(row["second_label"], row["second_split"]) if fresh else "",
            row["metric"], row["test"], number(row["difference"], "+.3f") + span(row["low"], row["high"], "+.3f"),
            number(row["p"], ".3g"), number(row["p_holm"], ".3g"), str(row["units"]), row["note"] or "",
            _basis(row) if fresh else "",
        )  # fmt: skip
        last = pair
    return table


def correlations(rows: Sequence[Row]) -> Table:
    """A line per correlation."""
    from rich.table import Table
    from rich.text import Text

    table = Table("", "the study says", "by its own figures", "reproduced r", "r²", "p", "models", "note")
    for row in rows:
        theirs = number(row["published_r"], "+.2f")
        _add(
            table, row["name"], row["published"],
            theirs if row["published_r"] is None else f"r = {theirs}, r² = {row['published_r'] ** 2:.2f}",
            number(row["r"], "+.2f") + span(row["low"], row["high"], "+.2f"), number(row["r2"], ".2f"),
            number(row["p"], ".3g"), str(row["points"]), Text(row["note"], style=_style(row)),
        )  # fmt: skip
    return table


def subgroups(rows: Sequence[Row]) -> Table:
    """A line per row of the study, split, attribute and group."""
    from rich.table import Table

    table = Table("", "split", "", "group", "scans", "patients", "methylated", "AUC", "note", "rests on")
    last: tuple[Any, ...] = ()
    for row in rows:
        place = row["name"], row["split"], row["attribute"]
        if last and last != place:
            table.add_section()
        fresh = place[:2] != last[:2]
        _add(
            table, row["label"] if fresh else "", row["split"] if fresh else "",
            row["attribute"] if place != last else "",
            row["group"], str(row["scans"]), str(row["patients"]), str(row["positive"]),
            number(row["auc"]) + span(row["low"], row["high"]), row["note"] or "", _basis(row) if fresh else "",
        )  # fmt: skip
        last = place
    return table


def overview(rows: Sequence[Row]) -> Table:
    """A line per table of a study."""
    from rich.table import Table

    table = Table("study", "table", "rows", "done", "failed", "quoted", "rests on")
    for row in rows:
        counts = [str(row[name]) for name in ("rows", "done", "failed", "quoted")]
        _add(table, row["study"], row["table"], *counts, _basis(row))
    return table


DRAWN: dict[str, Callable[[Sequence[Row]], Table]] = {
    "results": results,
    "comparisons": comparisons,
    "correlations": correlations,
    "subgroups": subgroups,
    "overview": overview,
}

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
    """Mean ± SEM, and the wider kind of interval for the row's split."""
    kind = "corrected_" if row["split"] == "internal" else ""
    return plus_minus(row["reproduced"], row["sem"]) + span(row[f"{kind}low"], row[f"{kind}high"])


def number(value: float | None, style: str = ".3f") -> str:
    """A number, or a dash where there is none."""
    return "–" if value is None else f"{value:{style}}"


def span(low: float | None, high: float | None, style: str = ".3f") -> str:
    """An interval to stand behind a number; nothing where there is none."""
    return "" if low is None or high is None else f" [{low:{style}}, {high:{style}}]"


def _add(table: Table, *cells: str | Text) -> None:
    """A line; square brackets in a label are brackets, not rich's markup."""
    from rich.text import Text

    table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))


def plus_minus(mean: float | None, sem: float | None) -> str:
    """A mean with its standard error, where there is one."""
    return number(mean) if sem is None or mean is None else f"{mean:.3f} ± {sem:.3f}"


def placed(label: str, split: str) -> str:
    """A row's label, with the split that its figures are of unless it is the usual one."""
    return label if split == "internal" else f"{label} ({split})"


def _basis(row: Row) -> Text:
    from rich.text import Text

    return Text(row["basis"] or row.get("state") or "", style=_style(row))


def _style(row: Row) -> str:
    return "" if row["trained"] else "bold yellow"
