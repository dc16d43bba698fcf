"""The one place that prints what a command gives back, as a table for people or as JSON for scripts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def console() -> Console:
    """Standard output, as wide as the terminal; 160 columns where it is none."""
    from gliolake.log.console import output

    return output(width=160)


def print_json(value: Any) -> None:
    """One JSON value on one line."""
    print(json.dumps(value, default=str))


def print_report(report: Any, as_json: bool) -> None:
    """A report, as a table or as one JSON object."""
    if as_json:
        print_json(report.as_dict())
    else:
        from gliolake.log.plain_text import shown_within

        console().print(shown_within(report))
