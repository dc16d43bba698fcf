"""Output of commands: a report as a table for people, or as JSON for scripts.

Public: ``print_report``, ``print_json``, ``console``. Each module formats the reports of one package; reports are
dataclasses without any code for printing. Rich stays in here and in ``gliolake.cli.console``.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rich.console import Console, RenderableType


def console() -> Console:
    """Standard output, as wide as the terminal; 160 columns where it is none."""
    from gliolake.cli.console import output

    return output(width=160)


def print_json(value: Any) -> None:
    """One JSON value on one line."""
    print(json.dumps(value, default=str))


def print_report(report: Any, as_json: bool) -> None:
    """A report, or several, as a table or as one JSON value."""
    if as_json:
        print_json(dumped(report))
    else:
        from gliolake.log.plain_text import shown_within

        console().print(rendered(shown_within(report)))


def dumped(report: Any) -> Any:
    """All that a report says, in types that JSON has; a list of that for a list of reports."""
    if isinstance(report, list):
        return [dumped(one) for one in report]
    return _known(report, "DUMPED").get(type(report).__name__, asdict)(report)


def rendered(report: Any) -> RenderableType:
    """A report as people see it, or several, one below the other."""
    if isinstance(report, list):
        from rich.console import Group

        return Group(*map(rendered, report))
    shown: RenderableType = _known(report, "RENDERED")[type(report).__name__](report)
    return shown


def _known(report: Any, kind: str) -> Mapping[str, Callable[[Any], Any]]:
    """What the module of the report's package has, by the names of reports' classes."""
    known: Mapping[str, Callable[[Any], Any]] = getattr(
        import_module(f"{__name__}.{type(report).__module__.split('.')[1]}"), kind, {}
    )
    return known
