"""`gliolake report`: a study on one page, in a file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.report.page import gather
from analysis.report.pictures import Picture
from analysis.report.rendering import MARK, render
from analysis.report.table import Table
from lake.errors import InputError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lake.store import Lake


@dataclass(frozen=True)
class Written:
    """A report that was written: where, how large, of what, and what it had to leave out."""

    file: str
    bytes: int
    study: str
    commit: int
    tables: int
    figures: int
    warnings: tuple[str, ...]
    missing: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        lines = [Text(f"{self.file}: {self.bytes / 1e6:.1f} MB, {self.tables} tables and {self.figures} figures.")]
        lines += [Text(line, style="bold yellow") for line in self.warnings]
        lines += [Text(f"Not drawn: {line}", style="dim") for line in self.missing]
        return Group(*lines)


def report(
    lake: Lake, output: Path, study: str | None = None, *, force: bool = False, progress: bool = True
) -> Written:
    """Write a report of a study.

    Args:
        lake: the lake.
        output: the HTML file; an earlier report is replaced.
        study: the study; None for the only one of the lake.
        force: report what is there while the study is still being computed; the page says so.
        progress: show a progress bar on standard error.

    Raises:
        InputError: no study or several, one that is still being computed, or a file that is no report is in the way.
    """
    from sql.export_file import written

    if output.exists() and f'content="{MARK}"'.encode() not in output.read_bytes()[:4096]:
        raise InputError(f"{output} is there already, and is no report.", hint="Name another file by --output.")
    with written(output, overwrite=True) as part:
        page = gather(lake, study, force=force, progress=progress)
        text = render(page)
        part.write_bytes(text)
    parts = [one for section in page.sections for one in section.parts]
    missing = tuple(line for section in page.sections for line in section.missing)
    tables, drawn = (sum(isinstance(one, kind) for one in parts) for kind in (Table, Picture))
    return Written(str(output), len(text), page.study.study, page.commit, tables, drawn, page.warnings, missing)
