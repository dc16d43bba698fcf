"""Formats a study's tables, published and reproduced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gliolake.analysis.study.notation import FOOT, Row, number, placed, plus_minus, reproduced, span

if TYPE_CHECKING:
    from gliolake.analysis.study.published import Shown

Cells = tuple[str | Text, ...]


def shown(report: Shown) -> RenderableType:
    """A table or figure of a study, what could not be computed of it, and what has to be known to read it."""
    from gliolake.analysis.study.published import by_reason

    parts: list[RenderableType] = [Text(f"{report.study}: {report.what.replace('_', ' ')}", style="bold")]
    parts.append(DRAWN[report.kind](report.rows) if report.rows else Text("Nothing yet.", style="dim"))
    if report.missing:
        parts.append(Text("\n".join(["Could not be computed:", *by_reason(report.missing)]), style="red"))
    return Group(*parts, Text(FOOT[report.kind], style="dim"))


def _results(rows: Sequence[Row]) -> Table:
    def cells(row: Row, same: int) -> Cells:
        label, basis = (row["label"], _basis(row)) if same < 2 else ("", "")
        return (
            label, row["metric"], plus_minus(row["published"], row["published_sem"]), reproduced(row),
            number(row["difference"], "+.3f"), number(row["optimism"], "+.3f"),
            "" if row["folds"] is None else str(row["folds"]), basis,
        )  # fmt: skip

    heads = ("", "metric", "published", "reproduced", "difference", "optimism", "folds", "rests on")
    known = [row for row in rows if row["metric"] == "auc" or (row["published"], row["reproduced"]) != (None, None)]
    return _drawn(heads, known, cells, ("table", "name"))


def _comparisons(rows: Sequence[Row]) -> Table:
    def cells(row: Row, same: int) -> Cells:
        pair = placed(row["first_label"], row["split"]), placed(row["second_label"], row["second_split"])
        first, second, basis = (*pair, _basis(row)) if same < 2 else ("", "", "")
        return (
            first, second, row["metric"], row["test"],
            number(row["difference"], "+.3f") + span(row["ci_low"], row["ci_high"], "+.3f"),
            number(row["p"], ".3g"), number(row["p_holm"], ".3g"), str(row["units"]), row["note"] or "", basis,
        )  # fmt: skip

    heads = ("", "against", "metric", "test", "difference", "p", "p (Holm)", "units", "note", "rests on")
    return _drawn(heads, rows, cells, ("first", "second"))


def _correlations(rows: Sequence[Row]) -> Table:
    def cells(row: Row, _: int) -> Cells:
        theirs = row["published_r"]
        return (
            row["name"], row["published"], "–" if theirs is None else f"r = {theirs:+.2f}, r² = {theirs**2:.2f}",
            number(row["r"], "+.2f") + span(row["ci_low"], row["ci_high"], "+.2f"), number(row["r2"], ".2f"),
            number(row["p"], ".3g"), str(row["points"]), Text(row["note"], style=_style(row)),
        )  # fmt: skip

    heads = ("", "the study says", "by its own figures", "reproduced r", "r²", "p", "models", "note")
    return _drawn(heads, rows, cells)


def _subgroups(rows: Sequence[Row]) -> Table:
    def cells(row: Row, same: int) -> Cells:
        label, split, basis = (row["label"], row["split"], _basis(row)) if same < 2 else ("", "", "")
        return (
            label, split, row["attribute"] if same < 3 else "", row["group"],
            *(str(row[count]) for count in ("scans", "patients", "positive")),
            number(row["auc"]) + span(row["ci_low"], row["ci_high"]), row["note"] or "", basis,
        )  # fmt: skip

    heads = ("", "split", "", "group", "scans", "patients", "methylated", "AUC", "note", "rests on")
    return _drawn(heads, rows, cells, ("name", "split", "attribute"))


def _overview(rows: Sequence[Row]) -> Table:
    def cells(row: Row, _: int) -> Cells:
        counts = (str(row[name]) for name in ("rows", "done", "failed", "quoted"))
        return row["study"], row["table"], *counts, _basis(row)

    return _drawn(("study", "table", "rows", "done", "failed", "quoted", "rests on"), rows, cells)


def _drawn(
    heads: Sequence[str], rows: Sequence[Row], cells: Callable[[Row, int], Cells], place: Sequence[str] = ()
) -> Table:
    """A line per row, with a rule between places; ``cells`` is told how many columns of the place are as above."""
    table = Table(*heads)
    last: Row | None = None
    for row in rows:
        alike = [last is not None and row[name] == last[name] for name in place]
        same = [*alike, False].index(False)
        if last is not None and same < len(place):
            table.add_section()
        # Square brackets in a label are brackets, not Rich's markup.
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells(row, same)))
        last = row
    return table


def _basis(row: Row) -> Text:
    return Text(row["basis"] or row.get("state") or "", style=_style(row))


def _style(row: Row) -> str:
    return "" if row["trained"] else "bold yellow"


DRAWN: dict[str, Callable[[Sequence[Row]], Table]] = {
    "results": _results,
    "comparisons": _comparisons,
    "correlations": _correlations,
    "subgroups": _subgroups,
    "overview": _overview,
}
