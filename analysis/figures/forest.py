"""Dots with intervals of a study's rows: the forest of all its AUCs, Figure 7, Figure 6, and subgroups of patients."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from gliolake.analysis.figures.dots import Group, Line, dots, told
from gliolake.analysis.figures.style import Row, Sketch, number, readable

AUC = "AUC, mean over folds"


def forest(rows: Sequence[Row]) -> Sketch:
    """Rows of view figure_forest, grouped by published table."""
    groups = [
        Group(_title(table), [_result(row, row["ci_low"], row["ci_high"]) for row in of])
        for table, of in groupby(rows, key=lambda row: str(row["table"]))
    ]
    lines = [line for group in groups for line in group.lines]
    done, failed = sum(line.value is not None for line in lines), sum(row["state"] == "failed" for row in rows)
    figure = dots(groups, ("here", "publ."), measure=AUC, reference=0.5, means="chance, 0.5")
    return Sketch(
        figure, f"AUC of {done} computed rows, {failed} failed, beside published ones: "
        f"{told([line for line in lines if line.value is not None] or lines)}."
    )  # fmt: skip


def delta(rows: Sequence[Row]) -> Sketch:
    """Rows of view figure_7, of which the AUCs are drawn."""
    names = {"figure_7a": "with and without delta T1", "figure_7b": "external validation"}
    groups = []
    for table, of in groupby((row for row in rows if row["metric"] == "auc"), key=lambda row: str(row["table"])):
        lines = [_result(row, row["ci_low"], row["ci_high"]) for row in of]
        groups.append(Group(names.get(table, _title(table)), lines))
    figure = dots(groups, ("here", "publ."), measure=AUC, reference=0.5, means="chance, 0.5")
    return Sketch(figure, "AUC " + "; ".join(f"{group.heading}: {told(group.lines)}" for group in groups) + ".")


def agreement(rows: Sequence[Row]) -> Sketch:
    """Rows of view figure_6: pairs of networks."""
    lines = [
        Line(
            _pair(row), row["mean"], row["ci_low"], row["ci_high"], published=row["published"],
            cells=(number(row["mean"], ".3f"), number(row["published"], ".3f")),
        )
        for row in rows
    ]  # fmt: skip
    groups = [
        Group("computed here", [line for line in lines if line.value is not None]),
        Group("published, not computed here", [line for line in lines if line.value is None]),
    ]
    figure = dots(
        [group for group in groups if group.lines], ("here", "publ."), measure="mean concordance (CCC) over features",
        reference=0.0, means="no agreement, 0", within=-1.0,
    )  # fmt: skip
    return Sketch(figure, f"Mean concordance of pairs of networks: {told(lines, 15, '.3f')}.")


def subgroups(rows: Sequence[Row]) -> Sketch:
    """Rows of view figure_subgroups, one group of lines for each split."""
    groups = []
    for split, of_split in groupby(rows, key=lambda row: str(row["split"])):
        for attribute, of in groupby(of_split, key=lambda row: str(row["attribute"])):
            heading = split if attribute == "all" else f"{split}, by {attribute}"
            groups.append(Group(heading, [_group(row) for row in of]))
    figure = dots(groups, ("AUC", "n"), measure="AUC of mean predictions", reference=0.5, means="chance, 0.5")
    everybody = [row for row in rows if row["attribute"] == "all"]
    whole = ", ".join(f"{row['split']} {number(row['auc'])} in {row['patients']} patients" for row in everybody)
    parts = [row for row in rows if row["attribute"] != "all"]
    shown = [f"{row['split']} {row['attribute']} {readable(row['group'])} {number(row['auc'])}" for row in parts
             if row["auc"] is not None]  # fmt: skip
    return Sketch(
        figure, f"AUC of {readable(rows[0]['label'])}: {whole or 'of everybody not known'}; "
        f"{len(shown)} of {len(parts)} groups are large enough{': ' if shown else ''}{', '.join(shown)}."
    )  # fmt: skip


def _result(row: Row, low: float | None, high: float | None) -> Line:
    note = "" if row["state"] == "quoted" or row["reproduced"] is not None else "not computed"
    return Line(
        readable(row["label"], 44), row["reproduced"], low, high, row["published"], row["published_sem"],
        (number(row["reproduced"]), number(row["published"])), row["split"] == "external", row["state"] == "failed",
        "" if row["published"] is not None else note,
    )  # fmt: skip


def _group(row: Row) -> Line:
    label = "everybody" if row["attribute"] == "all" else readable(row["group"], 30)
    return Line(
        label, row["auc"], row["ci_low"], row["ci_high"], cells=(number(row["auc"]), str(row["patients"])),
        hollow=row["split"] == "external", faint=row["auc"] is None,
        note="" if row["auc"] is not None else "too few patients",
    )  # fmt: skip


def _title(table: str) -> str:
    """``table_1`` as Table 1."""
    return readable(table.replace("_", " ").capitalize())


def _pair(row: Row) -> str:
    """The two networks, or the two feature sets where the network is one."""
    first, second = row["first_network"], row["second_network"]
    if row["first"] is not None and first == second:
        if row["first"] == row["second"]:
            return readable(f"{row['first']}, examined twice", 44)
        hashes = (row[side].removeprefix(f"{first}-") for side in ("first", "second"))
        return readable(f"{first}: {' · '.join(hashes)}", 44)
    return readable(f"{first} · {second}", 44)
