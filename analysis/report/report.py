"""`gliolake report`: writes a study as one HTML file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gliolake.analysis.html_page import own_page
from gliolake.analysis.report.page import gather
from gliolake.analysis.report.pictures import Picture
from gliolake.analysis.report.rendering import MARK, render
from gliolake.analysis.report.table import Table
from gliolake.atomic import replaced

if TYPE_CHECKING:
    from gliolake.storage.lake import Lake

REPORT = own_page("a report", MARK)


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


def report(
    lake: Lake,
    output: Path,
    study: str | None = None,
    *,
    overwrite: bool = False,
    force: bool = False,
    progress: bool = True,
) -> Written:
    """Write a report of a study.

    Args:
        lake: the lake.
        output: the HTML file.
        study: the study; None for the only one of the lake.
        overwrite: replace an earlier report that is there.
        force: report what is there while the study is still being computed; the page says so.
        progress: show a progress bar on standard error.

    Raises:
        InputError: no study or several, one that is still being computed, or the file may not be written there.
        StorageFull: no space is left.
    """
    with replaced(output, overwrite=overwrite, own=REPORT) as file:
        page = gather(lake, study, force=force, progress=progress)
        text = render(page)
        file.write(text)
    parts = [one for section in page.sections for one in section.parts]
    missing = tuple(line for section in page.sections for line in section.missing)
    tables, drawn = (sum(isinstance(one, kind) for one in parts) for kind in (Table, Picture))
    return Written(str(output), len(text), page.study.study, page.commit, tables, drawn, page.warnings, missing)
