"""Selects the study of a report, and finds out whether its run has ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gliolake.analysis.report.table import without_folders
from gliolake.analysis.study.notation import Row
from gliolake.analysis.study.published import ask, the_study
from gliolake.errors import InputError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

RUNS = """
    SELECT run_id, json_extract_string(arguments, '$.study') AS study, started, ended, outcome,
        coalesce(json_extract_string(arguments, '$.analyse') = 'true', false) AS analysis,
        (SELECT count(*) FROM cv_folds WHERE cv_folds.run_id = runs.run_id) AS folds,
        (SELECT count(*) FROM experiments WHERE experiments.run_id = runs.run_id) AS experiments,
        runs.run_id IN (SELECT run_id FROM study_rows) AS wrote_rows
    FROM runs WHERE command = 'study' ORDER BY started DESC, run_id DESC
"""
"""Runs of studies, the newest first, with what they have brought so far. A run writes its study's rows last."""


@dataclass(frozen=True)
class Standing:
    """A study, and how its latest run stands.

    Attributes:
        study: its name.
        going: what is said of a run that has not ended; empty where there is none.
        failed: what is said of the latest run if an error ended it.
    """

    study: str
    going: str = ""
    failed: str = ""


def standing(connection: DuckDBPyConnection, study: str | None, *, force: bool) -> Standing:
    """The study to report.

    Args:
        connection: to the lake.
        study: its name; None for the only one of the lake.
        force: report a study whose run has not ended.

    Raises:
        InputError: no such study or none at all, several and none was chosen, or its run has not ended and ``force`` is
            off.
    """
    runs = ask(connection, RUNS, {})
    try:
        name = the_study(connection, study)
    except InputError:
        # A study's rows are written when its first run ends. Until then only the run knows of it.
        begun = {run["study"] for run in runs if not run["analysis"] and not run["wrote_rows"]}
        name = study or (begun.pop() if len(begun) == 1 else "")
        if name not in {run["study"] for run in runs} or (study is None and _has_rows(connection)):
            raise
    own = [run for run in runs if run["study"] == name]
    going = _going(own)
    if going and not force:
        raise InputError(
            f"Study {name} is still being computed. {going}",
            hint="Wait until it has ended; if it died, run `gliolake study run` again, which computes what is missing. "
            "--force reports what is there.",
        )
    latest = own[0]["outcome"] if own else "done"
    ended = "" if latest in ("done", "unfinished") else f"The latest run of this study ended with an error: {latest}"
    return Standing(name, going, without_folders(ended))


def _has_rows(connection: DuckDBPyConnection) -> bool:
    return bool(ask(connection, "SELECT 1 FROM study_rows LIMIT 1", {}))


def _going(runs: Sequence[Row]) -> str:
    """What is said of a run that has not ended, and that no later run has made good; empty where there is none."""
    latest = next((run for run in runs if not run["analysis"]), None)
    if latest is None or latest["outcome"] != "unfinished" or latest["wrote_rows"]:
        return ""
    done = f"{latest['folds']:,} folds and {latest['experiments']:,} whole experiments"
    return f"Its run {latest['run_id']} began at {moment(latest['started'])} and has brought {done} so far."


def moment(when: datetime | None) -> str:
    """A moment in universal time, to the second."""
    return "–" if when is None else f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
