"""Formats reports about the integrity of the lake's files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from gliolake.storage.layout import QUARANTINE

if TYPE_CHECKING:
    from gliolake.maintenance.purge import Purge
    from gliolake.maintenance.verify import Finding, Verification


def _verification(report: Verification) -> Iterator[RenderableType]:
    from gliolake.maintenance.verify import LOG_DAMAGE, REPLACED

    yield f"Commit {report.version}: {report.files} files, {report.rows:,} rows checked."
    replaced = [finding for finding in report.findings if finding.kind == REPLACED]
    for finding in report.findings:
        if finding.kind != REPLACED:
            yield Text(f"  {finding.kind}: {finding.path}: {finding.detail}{_done(report, finding)}")
    if replaced:
        old = [finding for finding in replaced if not finding.young]
        yield f"  {len(replaced)} files that later commits replaced, {sum(f.bytes for f in replaced):,} bytes"
        yield f"    {len(old)} of them more than a day ago{_done(report, old[0]) if old else ''}"
    if report.quarantined[0]:
        yield f"  {report.quarantined[0]} files, {report.quarantined[1]:,} bytes, in {QUARANTINE}"
        yield "    gliolake purge removes those that have been there for a day"
    if all(finding.is_harmless for finding in report.findings):
        yield "All files are as committed."
    elif any(finding.kind in LOG_DAMAGE and finding.lasting for finding in report.findings):
        yield "Restore the damaged records from a backup; no repair can write them again."
    elif any(finding.lasting for finding in report.findings) and report.repaired:
        yield "Not all could be mended: restore from a backup, or correct, what is named as left."
    elif not report.sound:
        yield f"Run `gliolake verify --repair` to take damaged files out and move left-over ones into {QUARANTINE}."
    if report.repaired and (commands := report.restore_commands()):
        yield f"The damaged files are out of the lake. Run again: {', '.join(commands)}"


def _done(report: Verification, finding: Finding) -> str:
    from gliolake.maintenance.verify import DONE, FOREIGN

    if finding.kind == FOREIGN:
        return " (left alone)"
    if finding.young and not finding.is_damage:
        return " (young: somebody may still need it)"
    if not report.repaired:
        return ""
    return " -> left" if finding.lasting else f" -> {DONE[finding.kind]}"


def _purge(report: Purge) -> str:
    lines = [f"{report.removed} files, {report.bytes:,} bytes, removed from {QUARANTINE}."]
    if report.waiting:
        lines.append(f"{report.waiting} files stay: they have been there for less than a day, or a commit needs them.")
    if report.foreign:
        lines.append(f"{report.foreign} files stay: gliolake does not make files of their names.")
    return "\n".join(lines)


RENDERED: dict[str, Callable[[Any], RenderableType]] = {
    "Purge": _purge,
    "Verification": lambda report: Group(*_verification(report)),
}
"""Name of a report's class -> how people see it."""

DUMPED: dict[str, Callable[[Any], dict[str, Any]]] = {
    "Verification": lambda report: {**asdict(report), "sound": report.sound},
}
"""Those whose JSON says more than their fields."""
