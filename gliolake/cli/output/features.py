"""Formats reports about images, vectors and networks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from gliolake.cli.console import one_below_another

if TYPE_CHECKING:
    from gliolake.features.extraction.precision import PrecisionReport, PrecisionReports
    from gliolake.features.extraction.report import ExtractReport, FailedScan
    from gliolake.features.preprocessing.report import CohortReport, FailedSession, PreprocessReport
    from gliolake.features.weights.folder import WeightsFile, WeightsStatus

FAILURES_SHOWN = 10
SUMMARY_SHOWN = ("min", "median", "share_good")


def _extract(report: ExtractReport) -> Iterator[RenderableType]:
    for one in report.feature_sets:
        rests_on = f"weights: {one.weights}" + ("; SYNTHETIC scans" if report.synthetic else "")
        yield Text(f"Feature set {one.feature_set} ({rests_on})", style="bold")
        table = Table("scans")
        table.add_column("number", justify="right")
        for name, number in [("computed now", one.computed), ("there before", one.present), *_reasons(one.failed)]:
            table.add_row(name, str(number))
        yield table
    yield from _failures(report.failed, "features")
    pace = f", {report.scans_per_second:.2g} scans/s" if report.scans_per_second else ""
    yield Text(f"{report.seconds:.1f} s{pace}.")


def _preprocess(report: PreprocessReport) -> Iterator[RenderableType]:
    yield Text(f"Volume set {report.volume_set}", style="bold")
    table = Table(show_header=False, box=None, pad_edge=False)
    for cohort in report.cohorts:
        for number, (what, value) in enumerate(_cohort(cohort)):
            table.add_row(Text("" if number else cohort.cohort, style="bold"), Text(what), Text(value))
    yield table
    yield from _failures(report.failed, "preprocess")
    yield Text(f"{report.seconds:.1f} s.")


def _cohort(report: CohortReport) -> list[tuple[str, str]]:
    if report.steps is None:
        return [("nothing done", "its description does not say what was done before ([preprocessing], done)")]
    if not report.steps:
        return [("nothing to do", f"clips are cut from the files of its {report.scans:,} scans as they came")]
    counts = [("computed now", report.computed), ("there before", report.present), *_reasons(report.failed)]
    return [("steps", ", ".join(report.steps)), *((what, f"{number:,}") for what, number in counts)]


def _reasons(failed: Sequence[FailedScan | FailedSession]) -> list[tuple[str, int]]:
    reasons = Counter(scan.reason for scan in failed)
    return [(f"failed: {reason}", number) for reason, number in sorted(reasons.items())]


def _failures(failed: Sequence[FailedScan | FailedSession], step: str) -> Iterator[Text]:
    for scan in failed[:FAILURES_SHOWN]:
        yield Text(f"{scan.cohort} {scan.scan_id}: {scan.detail}")
    if len(failed) > FAILURES_SHOWN:
        yield Text(f"… and {len(failed) - FAILURES_SHOWN} more (table exclusions, step {step}).")


def _precision(report: PrecisionReports) -> Iterator[RenderableType]:
    from gliolake.features.extraction.precision import GOOD

    for one in report.reports:
        title = f"{one.backbone} (weights: {one.weights}): {one.precision} against fp32 over {one.scans} scans"
        yield Text(title, style="bold")
        table = Table("branch", "lowest CCC", "median", f"share ≥ {GOOD}", "constant", "worst features (CCC)")
        for branch in one.agreement:
            summary = one.summary(branch)
            numbers = [
                "–" if summary[key] is None else f"{summary[key]:.4f}" for key in ("min", "median", "share_good")
            ]
            worst = ", ".join(f"{feature} ({value:.4f})" for feature, value in summary["worst"])
            table.add_row(branch, *numbers, str(summary["constant"]), worst)
        yield table
        yield from (Text(f"left out: {line}") for line in one.failed)


def _precision_content(report: PrecisionReport) -> dict[str, Any]:
    """All coefficients included, null for NaN."""
    return {
        **{name: getattr(report, name) for name in ("backbone", "weights", "precision")},
        "against": "fp32",
        "scans": report.scans,
        "failed": report.failed,
        "summary": {branch: report.summary(branch) for branch in report.agreement},
        "ccc": {
            branch: [value if math.isfinite(value) else None for value in values.tolist()]
            for branch, values in report.agreement.items()
        },
    }


def _weights(report: WeightsStatus) -> Iterator[RenderableType]:
    yield Text.assemble((report.name, "bold"), f": {report.state}", f" ({report.origin})" if report.origin else "")
    source = report.source
    facts = {"from": source.url, "licence": source.licence, "size": f"{source.megabytes} MB", "detail": report.detail}
    yield from (Text(f"  {name}: {fact}") for name, fact in facts.items() if fact)


def _added(report: WeightsFile) -> RenderableType:
    return Text(f"{report.name}: {report.bytes:,} bytes kept, {report.origin}.")


RENDERED: dict[str, Callable[[Any], RenderableType]] = {
    "ExtractReport": one_below_another(_extract),
    "PrecisionReports": one_below_another(_precision),
    "PreprocessReport": one_below_another(_preprocess),
    "WeightsFile": _added,
    "WeightsStatus": one_below_another(_weights),
}
"""Name of a report's class -> how people see it."""

DUMPED: dict[str, Callable[[Any], dict[str, Any]]] = {
    "ExtractReport": lambda report: {
        **asdict(report),
        "seconds": round(report.seconds, 3),
        "scans_per_second": round(report.scans_per_second, 3),
    },
    "PrecisionReports": lambda report: {"reports": [_precision_content(one) for one in report.reports]},
    "PreprocessReport": lambda report: {**asdict(report), "seconds": round(report.seconds, 3)},
}
"""Those whose JSON is not just their fields."""
