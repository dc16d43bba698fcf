"""Formats experiments, searches, studies and exported models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from gliolake.analysis.study.notation import number
from gliolake.cli.console import one_below_another

if TYPE_CHECKING:
    from gliolake.modeling.export.model import Model
    from gliolake.modeling.nested_cv.report import SearchReport
    from gliolake.modeling.report import Report
    from gliolake.modeling.study.report import StudyReport

REASONS_SHOWN = 8


def _experiment(report: Report) -> Iterator[RenderableType]:
    yield Text.assemble(
        (report.experiment, "bold"), f": {report.model} on {report.feature_set}\n",
        "rests on ", (report.rests_on, "bold yellow" if report.weights != "trained" or report.synthetic else ""), "\n",
        f"branches {', '.join(report.branches)}; labels by the rule {report.label_rule}; "
        f"{report.repeats} × {report.folds} folds\n",
        f"internal: {report.scans} scans of {report.patients} patients; "
        f"external: {report.external_scans} scans of {report.external_patients} patients",
        f"\nleft out: {report.unlabelled} without a call, {report.without_branches} without these branches"
        if report.unlabelled or report.without_branches else "",
    )  # fmt: skip
    table = Table("split", "metric", "mean", "SD", "95 % interval", "optimism", "fits")
    for line in report.lines:
        table.add_row(
            line.split, line.metric, number(line.mean), number(line.sd), _interval(line.ci_low, line.ci_high),
            number(line.optimism, "+.3f"), str(line.folds),
        )  # fmt: skip
    yield table
    yield from _cautions(report.cautions)
    yield Text(
        "Mean and SD over fits. Intervals: internal, corrected resampled t; external, bootstrap over patients. "
        "Optimism: what choosing on the test scans themselves would have added (Brier: less is better).",
        style="dim",
    )


def _search(report: SearchReport) -> Iterator[RenderableType]:
    yield from _experiment(report.report)
    honest = report.report.value("internal", "auc")
    found = f"AUC {number(honest)} by nested selection; {number(report.test_selected)} had the test parts chosen"
    yield Text(found, style="bold")
    table = Table("candidate", "chosen", "inner AUC", "inner log loss", "outer AUC")
    for line in report.candidates:
        figures = line.inner_auc, line.inner_loss, line.outer_auc
        table.add_row(line.candidate, str(line.chosen), *map(number, figures))
    yield table
    yield Text(
        f"Means over outer folds; inner figures are of {report.inner_folds} folds within each training part, and "
        "alone decide. A choice by outer AUC would be selection on the test part.",
        style="dim",
    )


def _study(report: StudyReport) -> Iterator[RenderableType]:
    yield Text(f"Study {report.study}", style="bold")
    table = Table("table", "done", "failed", "quoted")
    for name, states in report.states().items():
        table.add_row(name or "–", *(str(states[state]) for state in ("done", "failed", "quoted")))
    yield table
    reasons = Counter(row["detail"] for row in report.rows if row["state"] == "failed")
    yield from (Text(f"{count} rows: {reason}") for reason, count in reasons.most_common(REASONS_SHOWN))
    if len(reasons) > REASONS_SHOWN:
        yield Text(f"… and {len(reasons) - REASONS_SHOWN} more reasons (table study_rows, column detail).")
    yield from _cautions(report.cautions)
    yield Text(f"{report.fits} fits in {report.seconds:.1f} s. See them: gliolake study show table_1")


def _study_content(report: StudyReport) -> dict[str, Any]:
    columns = ("name", "table", "state", "experiment", "detail")
    rows = [{column: row[column] for column in columns} for row in report.rows]
    return {
        "study": report.study,
        "fits": report.fits,
        "seconds": round(report.seconds, 1),
        "cautions": report.cautions,
        "rows": rows,
    }


def _model(model: Model) -> Iterator[RenderableType]:
    from gliolake.modeling.export.card import NOT_A_DEVICE, RULES, metric_rows, right_about, same_to

    description, told = model.description, model.description.told
    training, proof = description.training, description.proof
    sets = " and ".join(one["feature_set"] for one in description.feature_sets)
    yield Text.assemble(
        (description.experiment, "bold"), f": {len(description.fits)} fits of {told.model} on {sets}\n",
        "rests on ", (description.rests_on, "" if description.trained else "bold red"), "\n",
        f"branches {description.reads}; {RULES[told.label_rule]}\n",
        f"trained on {training['scans']} scans of {training['patients']} patients, {training['methylated']} "
        f"methylated: {', '.join(training['cohorts'])}\n",
        f"the lake's {proof['predictions']:,} predictions found again {same_to(proof['difference'])}",
    )  # fmt: skip
    table = Table("split", "metric", "mean", "95 % interval", "optimism", "patients")
    for row in metric_rows(description):
        table.add_row(*row)
    yield table
    yield Text.assemble(f"{right_about(description)}\n", (NOT_A_DEVICE, "dim"))
    size = f"{model.bytes / 1e6:.1f} MB"
    yield Text(f"{model.folder}: model {model.model_id}, {size}, all checksums right", style="dim")


def _model_content(model: Model) -> dict[str, Any]:
    """What there is to know of it, tensors aside."""
    return {"folder": str(model.folder), "model_id": model.model_id, "bytes": model.bytes, **asdict(model.description)}


def _interval(low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else f"{low:.3f} to {high:.3f}"


def _cautions(cautions: tuple[str, ...]) -> Iterator[RenderableType]:
    return (Text(f"Caution: {caution}", style="yellow") for caution in cautions)


RENDERED: dict[str, Callable[[Any], RenderableType]] = {
    "Model": one_below_another(_model),
    "Report": one_below_another(_experiment),
    "SearchReport": one_below_another(_search),
    "StudyReport": one_below_another(_study),
}
"""Name of a report's class -> how people see it."""

DUMPED: dict[str, Callable[[Any], dict[str, Any]]] = {
    "Model": _model_content,
    "SearchReport": lambda report: (
        asdict(report.report) | {key: value for key, value in asdict(report).items() if key != "report"}
    ),
    "StudyReport": _study_content,
}
"""Those whose JSON is not just their fields."""
