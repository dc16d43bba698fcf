"""The content of a report: its sections in order, all from one snapshot of the lake."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gliolake.analysis.report.answer import Answer, answer
from gliolake.analysis.report.basis import bases
from gliolake.analysis.report.checklist import Item, checklist
from gliolake.analysis.report.cohort import audit_verdict, cohort_tables, split_cautions
from gliolake.analysis.report.failures import failed_rows, failures
from gliolake.analysis.report.pictures import Picture, pictures
from gliolake.analysis.report.provenance import Documents, provenance
from gliolake.analysis.report.results import comparisons, correlations, optimism, published_tables, subgroups
from gliolake.analysis.report.standing import Standing, standing
from gliolake.analysis.report.table import Table
from gliolake.analysis.study.notation import FOOT
from gliolake.storage.commit_log import read_commit

if TYPE_CHECKING:
    from gliolake.storage.lake import Lake

Part = Table | Picture | Documents

OPTIMISM = (
    "Each finished row as it is, and as the same run would have shown it had the test scans been used to stop training "
    "or to choose settings. What lies between the two is not skill."
)


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading. ``lead`` has sentences that stand first, ``missing`` what is not there."""

    name: str
    title: str
    parts: tuple[Part, ...]
    lead: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Page:
    """All that the page says.

    Attributes:
        study: the study, and how its latest run stands.
        commit, committed: the lake's newest commit, and when it was made.
        warnings: what has to be known before anything else.
        answer: the answer. sections: the rest, in order. items: the checklist.
    """

    study: Standing
    commit: int
    committed: str
    warnings: tuple[str, ...]
    answer: Answer
    sections: tuple[Section, ...]
    items: tuple[Item, ...]


def gather(lake: Lake, study: str | None = None, *, force: bool = False, progress: bool = True) -> Page:
    """All that a report says, from one snapshot of the lake.

    Args:
        lake: the lake.
        study: the study; None for the only one of the lake.
        force: also while the study is still being computed; the page says so.
        progress: show a progress bar on standard error.

    Raises:
        InputError: no study or several, or one that is still being computed.
    """
    from gliolake.sql.catalog import connect, damage_named

    commit = lake.version
    with damage_named(), connect(lake) as connection:
        which = standing(connection, study, force=force)
        name = which.study
        rests_on = bases(connection, name)
        figures, missing = pictures(connection, lake, name, progress=progress)
        flow = [figure for figure in figures if figure.name == "figure-flowchart"]
        audited, holds = audit_verdict(connection)
        sections = (
            Section("rests-on", "What it rests on", (rests_on.table,)),
            Section("cohort", "Cohort and splits", (*flow, *cohort_tables(connection)), (audited,)),
            Section(
                "results", "Published beside reproduced",
                (
                    *published_tables(connection, name), *comparisons(connection, name),
                    correlations(connection, name), *subgroups(connection, name),
                ),
                (FOOT["results"],),
            ),
            Section("optimism", "Optimism", (optimism(connection, name),), (OPTIMISM,)),
            Section("figures", "Figures", tuple(one for one in figures if one not in flow), missing=tuple(missing)),
            Section("provenance", "Provenance", tuple(provenance(connection, lake, name))),
            Section("failures", "What failed, and what was left out", tuple(failures(connection, name))),
        )  # fmt: skip
        found, failed = answer(connection, name), failed_rows(connection, name)
        cautions = split_cautions(connection, name)
    warnings = (
        *([f"THIS STUDY IS STILL BEING COMPUTED. {which.going}"] if which.going else []),
        *([which.failed] if which.failed else []),
        *([] if holds else [audited]),
        *cautions,
        *failed,
        *rests_on.warnings,
    )
    return Page(which, commit, _committed(lake, commit), warnings, found, sections, checklist(_filled(sections)))


def _filled(sections: tuple[Section, ...]) -> set[str]:
    """Anchors of the page below which there is something."""
    filled = {"answer"}
    for section in sections:
        for part in section.parts:
            if isinstance(part, Picture) or (part.rows or part.speaks if isinstance(part, Table) else part.documents):
                filled.add(part.name)
    return filled


def _committed(lake: Lake, version: int) -> str:
    """When the commit was made."""
    record = read_commit(lake.files, version)
    return record.committed[:19].replace("T", " ") + " UTC" if record else "–"
