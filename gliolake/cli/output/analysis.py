"""Formats the reports of analyses: agreement, duplicates, maps, figures and pages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gliolake.analysis.study.notation import number, span
from gliolake.cli.output import case, study

if TYPE_CHECKING:
    from gliolake.analysis.agreement.command import AgreementReport
    from gliolake.analysis.agreement.published import PublishedReport
    from gliolake.analysis.duplicates.report import SuspectsReport
    from gliolake.analysis.embedding import MapReport
    from gliolake.analysis.figures.command import Gallery
    from gliolake.analysis.report.report import Written

AGREEMENT_FOOT = (
    "Lin's concordance is 1 where both give the same numbers. Means are over features, intervals (95 %) by a jackknife "
    "over patients; table ccc has every feature."
)

PAIRS_SHOWN = 20

AFTER_SUSPECTS = """\
Nothing was joined. Look at each pair: gliolake sql "FROM suspected_duplicates", gliolake preview SCAN. If the two are
one patient, write the one's id into the other's row of its label file, in the column that [labels.declared_id] of the
cohort's description names (of ucsf_pdgm "BraTS21 ID"), and ingest the labels again: that is a link, and the splits
follow it. Where the description names none, add one to a copy of it and give that as --cohort. A pair that you
find to be two people cannot be struck off: it is suspected again next time."""


def _agreement(report: AgreementReport) -> RenderableType:
    shown = [row for row in report.rows if report.single or row["modality"] == "all"]
    table = Table("first", "second", "modality", "mean CCC", "published", "features", "scans", "patients")
    for row in shown:
        cells = [
            row["first"], row["second"], row["modality"], number(row["mean"]) + span(row["ci_low"], row["ci_high"]),
            number(row["published"]), *(f"{row[count]:,}" for count in ("features", "scans", "patients")),
        ]  # fmt: skip
        table.add_row(*map(Text, cells))
    resting = defaultdict(set)
    for row in shown:
        resting[row["basis"]].add(f"{row['first']} and {row['second']}")
    if len(resting) == 1:
        bases = [f"Rests on: {basis}" for basis in resting]
    else:
        bases = [f"{'; '.join(sorted(pairs))} rest on: {basis}" for basis, pairs in sorted(resting.items())]
    return Group(table, *map(Text, bases), Text(f"{report.computed} computed now. {AGREEMENT_FOOT}", style="dim"))


def _published(report: PublishedReport) -> RenderableType:
    told = ", ".join(f"{pair.replace('_', ' and ')} {mean:.4f}" for pair, mean in report.means.items())
    return Text(f"{report.source}: {report.features} features. Mean published CCC: {told}. View ccc_summary has them.")


def _suspects(report: SuspectsReport) -> RenderableType:
    scans = ", ".join(f"{count:,} of {name}" for name, count in report.cohorts.items()) or "none"
    suspected = "1 pair" if len(report.suspects) == 1 else f"{len(report.suspects):,} pairs"
    head = Text.assemble(
        (report.feature_set, "bold"), f": {suspected} suspected among {scans}\nrests on ",
        (report.basis, "" if report.basis == "trained weights" else "bold yellow"),
    )  # fmt: skip
    notes = [Text(note) for note in report.notes()]
    if not report.suspects:
        return Group(head, *notes)
    table = Table("scan", "and scan", "expected by chance", "similarity, 0 being usual")
    for suspect in report.suspects[:PAIRS_SHOWN]:
        each = ", ".join(f"{name} {value:.2f}" for name, value in suspect.similarity.items())
        table.add_row(
            Text("/".join(suspect.first)), Text("/".join(suspect.second)), f"{suspect.expected:.2g}", Text(each)
        )
    if len(report.suspects) > PAIRS_SHOWN:
        notes.insert(0, Text(f"… and {len(report.suspects) - PAIRS_SHOWN:,} more in the view suspects."))
    foot = (
        f"At most {report.false_pairs:g} of them are expected to be two people, if nothing but chance makes people "
        "alike. How many are cannot be known without the truth."
    )
    return Group(head, table, *notes, Text(foot, style="dim"), Text(AFTER_SUSPECTS, style="dim"))


def _maps(report: MapReport) -> RenderableType:
    table = Table("feature set", "scans", "", "method")
    for one in report.maps:
        table.add_row(Text(one.feature_set), f"{one.scans:,}", one.state, one.method)
    return Group(table, Text("The maps are in the view figure_map.", style="dim"))


def _figures(report: Gallery) -> RenderableType:
    lines: list[Text] = []
    for one in (one for one in report.figures if one.files):
        lines.append(Text.assemble((one.name, "bold"), f": {one.title}  ", (one.basis, "bold yellow")))
        lines.append(Text("  " + "  ".join(one.files)))
        lines.append(Text(f"  {one.query}", style="dim"))
    if missing := [one for one in report.figures if not one.files]:
        lines.append(Text("Could not be drawn:", style="red"))
        lines += [Text(f"  {one.name}: {one.reason} {one.hint}".rstrip(), style="red") for one in missing]
    return Group(*lines)


def _page(report: Written) -> RenderableType:
    lines = [Text(f"{report.file}: {report.bytes / 1e6:.1f} MB, {report.tables} tables and {report.figures} figures.")]
    lines += [Text(line, style="bold yellow") for line in report.warnings]
    lines += [Text(f"Not drawn: {line}", style="dim") for line in report.missing]
    return Group(*lines)


RENDERED: dict[str, Callable[[Any], RenderableType]] = {
    "Answer": case.shown,
    "AgreementReport": _agreement,
    "Gallery": _figures,
    "MapReport": _maps,
    "PublishedReport": _published,
    "Shown": study.shown,
    "SuspectsReport": _suspects,
    "Written": _page,
}
"""Name of a report's class -> how people see it."""

DUMPED: dict[str, Callable[[Any], dict[str, Any]]] = {
    "Answer": case.dumped,
    "AgreementReport": lambda report: {"agreements": list(report.rows), "computed": report.computed},
}
"""Those whose JSON is not just their fields."""
