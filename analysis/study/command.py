"""Computes the statistics of a finished study: comparisons, correlations, subgroups and curves, as tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any

from gliolake.analysis.study.comparisons import comparison_rows
from gliolake.analysis.study.correlations import correlation_rows, pairs
from gliolake.analysis.study.groups import curve_rows, groups_of, roc_rows, subgroup_rows
from gliolake.analysis.study.results import Finished, Outcome, finished, outcomes, study_rows
from gliolake.log.progress import track
from gliolake.runs import start_run

if TYPE_CHECKING:
    from gliolake.storage.lake import Lake
    from gliolake.storage.transaction import Transaction

MAIN_TABLES = ("table_1", "figure_7b")
"""Tables whose rows are looked at in subgroups and as curves."""

Rows = dict[str, list[dict[str, Any]]]
"""Rows by table."""


def analyse(lake: Lake, study: str, *, seed: int = 0, progress: bool = True) -> None:
    """Compute tables comparisons, correlations, subgroups, curves and roc from a study's finished rows.

    They take the place of what an earlier analysis of the study left; equal content writes nothing.

    Args:
        lake: the lake.
        study: name of a study that was run on it.
        seed: of all bootstraps.
        progress: show a progress bar on standard error.

    Raises:
        InputError: no such study was run, or an experiment of it is not in the lake.
    """
    rows = study_rows(lake, study)
    done = finished(lake, rows)
    total = sum(bool(one.row["compared_with"]) + (one.row["table"] in MAIN_TABLES) for one in done.values())
    total += len(pairs(list(done.values())))
    bar = track(f"comparing rows of {study}", total) if progress and total else nullcontext(lambda: None)
    with bar as advance:
        found = statistics_of(lake, done, seed=seed, advance=advance)

    def write(transaction: Transaction) -> None:
        for table, content in found.items():
            transaction.replace(table, {"study": study}, content)

    with start_run(lake, "study", {"study": study, "analyse": True, "seed": seed}) as run:
        run.transact(write)


def statistics_of(lake: Lake, done: Mapping[str, Finished], *, seed: int, advance: Callable[[], None]) -> Rows:
    """Rows of the five tables. Every experiment is read once, and kept as one prediction per scan."""
    # Rows may share an experiment, and many are compared with the same one.
    known = cache(lambda experiment: outcomes(lake, experiment))
    main = [one for one in done.values() if one.row["table"] in MAIN_TABLES]
    return {
        "comparisons": comparison_rows(done, known, seed=seed, advance=advance),
        "correlations": correlation_rows(lake, list(done.values()), advance=advance) if done else [],
        **_of_main_rows(lake, main, known, seed, advance),
    }


def _of_main_rows(
    lake: Lake, main: Sequence[Finished], known: Callable[[str], Mapping[str, Outcome]], seed: int,
    advance: Callable[[], None],
) -> Rows:  # fmt: skip
    groups = groups_of(lake) if main else {}
    by_group = cache(lambda experiment, split: subgroup_rows(known(experiment)[split].pooled, groups, seed=seed))
    by_rate = cache(lambda experiment, split: roc_rows(known(experiment)[split].pooled, seed=seed))
    found: Rows = {"subgroups": [], "curves": [], "roc": []}
    for one in main:
        experiment = one.row["experiment"]
        for split, outcome in known(experiment).items():
            place = {"study": one.row["study"], "name": one.row["name"], "split": split}
            found["subgroups"] += [place | row for row in by_group(experiment, split)]
            found["curves"] += [place | row for row in curve_rows(outcome.pooled)]
            found["roc"] += [place | row for row in by_rate(experiment, split)]
        advance()
    return found
