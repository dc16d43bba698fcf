"""`gliolake extract --check-precision`: how far the features of another precision agree with those of fp32."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gliolake.concordance import concordance
from gliolake.errors import InputError
from gliolake.features.backbones.registry import BackboneOptions, has_choice
from gliolake.features.clips import ClipSettings
from gliolake.features.extraction.command import open_checked, work_through
from gliolake.features.extraction.plan import files_of
from gliolake.features.extraction.preflight import expect
from gliolake.features.extraction.recipe import Choice, choose
from gliolake.features.extraction.scan_task import ScanOutcome, ScanTask, Vector, Wanted, possible_branches
from gliolake.features.preprocessing.volumes import choose_volume_set, ready_scans
from gliolake.features.scans import scans_of
from gliolake.schema.vocabulary import BRANCHES
from gliolake.storage.lake import Lake

GOOD = 0.99
"""A coefficient from which on McBride (2005) calls agreement substantial: above 0.99 for continuous measurements."""

SHOWN_WORST = 5


@dataclass(frozen=True)
class PrecisionReport:
    """The agreement of a backbone's features with fp32.

    Attributes:
        backbone, weights, precision: What was compared with fp32.
        scans: How many scans there were to compare.
        failed: Scans left out, with the reason in words.
        agreement: Lin's coefficient of each of the 400 features, by branch; NaN for one that was constant.
    """

    backbone: str
    weights: str
    precision: str
    scans: int
    failed: tuple[str, ...]
    agreement: dict[str, npt.NDArray[np.float64]]

    def summary(self, branch: str) -> dict[str, Any]:
        """Smallest, median, share of good ones and the worst features (index and coefficient) of a branch."""
        values = self.agreement[branch]
        known = np.flatnonzero(np.isfinite(values))
        worst = known[np.argsort(values[known], kind="stable")][:SHOWN_WORST]
        return {
            "min": float(values[known].min()) if known.size else None,
            "median": float(np.median(values[known])) if known.size else None,
            "share_good": float((values[known] >= GOOD).mean()) if known.size else None,
            "constant": int(values.size - known.size),
            "worst": [[int(feature), float(values[feature])] for feature in worst],
        }


@dataclass(frozen=True)
class PrecisionReports:
    """One for each backbone that has a choice of precision."""

    reports: tuple[PrecisionReport, ...]


def check_precision(
    lake: Lake,
    backbones: Sequence[str],
    *,
    options: BackboneOptions,
    settings: ClipSettings | None = None,
    scans: int = 8,
    cohorts: Sequence[str] | None = None,
    volumes: str | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
    threads: int | None = None,
) -> PrecisionReports:
    """Compute some scans in both precisions and compare feature by feature. Nothing is written to the lake.

    The scans are those whose names have the smallest sha256: the same at every call, and of no kind in particular.

    Args:
        lake, backbones, cohorts, settings, volumes, scheduler, workers, threads: As for
            ``gliolake.features.extraction.command.extract``.
        options: With the precision to be checked.
        scans: How many; fewer where the lake has fewer.

    Raises:
        InputError: the precision is fp32 or none of the backbones has a choice of it, fewer than two scans were asked
            for or could be computed; and as ``extract``.
        ClusterError: as ``extract``.
    """
    if options.precision == "fp32":
        raise InputError("fp32 is what is compared with.", hint="Say which to check, e.g. --precision bf16.")
    if scans < 2:
        raise InputError(f"{scans} scans cannot show agreement.", hint="Take at least 2; 8 is usual.")
    settings = settings or ClipSettings()
    checked = [choice for choice in choose(backbones, options) if has_choice(choice.backbone, "precision")]
    # The names of the two vectors of a scan, which would be their feature sets.
    pairs = {choice: replace(choice, options=replace(choice.options, precision="fp32")) for choice in checked}
    both = [*pairs.keys(), *pairs.values()] if checked else list(choose(backbones, options))
    expected = expect(both, settings)
    found = scans_of(lake, cohorts)
    ready, _ = ready_scans(lake, found, choose_volume_set(lake, {scan["cohort"] for scan in found}, volumes))
    taken = sorted(ready, key=_shuffled)[:scans]
    tasks = [_task(scan, both) for scan in taken]
    with open_checked(expected, scheduler, workers, threads) as client:
        done = list(work_through(client, expected, tasks, f"comparing {options.precision} with fp32"))
    return PrecisionReports(tuple(_compare(done, choice, pair) for choice, pair in pairs.items()))


def _shuffled(scan: dict[str, Any]) -> str:
    return hashlib.sha256(f"{scan['cohort']}/{scan['scan_id']}".encode()).hexdigest()


def _task(scan: dict[str, Any], choices: Sequence[Choice]) -> ScanTask:
    files = files_of(scan)
    branches = possible_branches(files)
    wanted = tuple(Wanted(_name(choice), choice, branches) for choice in choices)
    return ScanTask(scan["cohort"], scan["scan_id"], files, tuple(scan["tumour_box"]), wanted)


def _name(choice: Choice) -> str:
    return f"{choice.backbone} {choice.options.precision}"


def _compare(done: Sequence[tuple[ScanTask, ScanOutcome]], choice: Choice, pair: Choice) -> PrecisionReport:
    found: dict[str, dict[str, dict[str, Vector]]] = {_name(choice): {}, _name(pair): {}}
    failed: dict[str, str] = {}
    for task, outcome in done:
        scan = f"{task.cohort} {task.scan_id}"
        for name, of_scan in found.items():
            if name in outcome.failures:
                failed[scan] = f"{scan}: {outcome.failures[name].detail}"
            if name in outcome.vectors:
                of_scan[scan] = dict(outcome.vectors[name])
    mine, exact = found.values()
    scans = sorted(mine.keys() & exact.keys())
    if len(scans) < 2:
        reasons = "; ".join(failed.values())
        raise InputError(f"Only {len(scans)} scans could be computed, too few to show agreement. {reasons}".strip())
    agreement = {}
    for branch in BRANCHES:
        with_branch = [scan for scan in scans if branch in exact[scan]]
        if len(with_branch) > 1:
            first, second = (np.stack([side[scan][branch] for scan in with_branch]) for side in (exact, mine))
            agreement[branch] = concordance(first, second)
    weights = choice.open().weights
    return PrecisionReport(
        choice.backbone, weights, choice.options.precision, len(scans), tuple(failed.values()), agreement
    )
