"""The plan of an extraction: scans of the manifest without rows in table features, for each requested feature set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gliolake.errors import InputError
from gliolake.features.extraction.recipe import Choice, Recipe
from gliolake.features.extraction.scan_task import ScanFile, ScanTask, Wanted, input_digest, possible_branches
from gliolake.storage.lake import Lake

Scan = tuple[str, str]
"""Cohort and scan id."""


@dataclass(frozen=True)
class Plan:
    """The work there is.

    Attributes:
        tasks: A scan each.
        present: Scans that lack nothing, per feature set.
        stale: Branches whose rows rest on files that the scan no longer has, by scan and feature set.
        fingerprints: Of the scans to work on (table scans).
        synthetic: Whether any scan is.
    """

    tasks: list[ScanTask] = field(default_factory=list)
    present: Counter[str] = field(default_factory=Counter)
    stale: dict[tuple[Scan, str], list[str]] = field(default_factory=dict)
    fingerprints: dict[Scan, str] = field(default_factory=dict)
    synthetic: bool = False


def make_plan(lake: Lake, recipes: Sequence[tuple[Choice, Recipe]], scans: Sequence[dict[str, Any]]) -> Plan:
    """Compare scans of the manifest with table features.

    Raises:
        InputError: the lake knows a feature set of that name with another recipe.
    """
    known = {row["feature_set"]: row["recipe"] for row in lake.read("feature_sets").to_pylist()}
    there: dict[str, dict[tuple[str, str, str], str]] = {}
    for _, recipe in recipes:
        if known.get(recipe.feature_set, recipe.text) != recipe.text:
            raise InputError(
                f"The lake has a feature set {recipe.feature_set} of another recipe; the two must not mix.",
                hint="Compare column recipe of table feature_sets with what was asked for, or use another lake.",
            )
        columns = ["cohort", "scan_id", "modality", "input_sha256"]
        rows = lake.read("features", {"feature_set": recipe.feature_set}, columns)
        *keys, digests = (rows[column].to_pylist() for column in columns)
        there[recipe.feature_set] = dict(zip(zip(*keys, strict=True), digests, strict=True))
    plan = Plan(synthetic=any("synthetic" in scan["warnings"] for scan in scans))
    for scan in scans:
        key = (scan["cohort"], scan["scan_id"])
        files = files_of(scan)
        current = {branch: input_digest(branch, files) for branch in possible_branches(files)}
        wanted = []
        for choice, recipe in recipes:
            rows_there = there[recipe.feature_set]
            lacking = tuple(branch for branch, digest in current.items() if rows_there.get((*key, branch)) != digest)
            if not lacking:
                plan.present[recipe.feature_set] += 1
                continue
            wanted.append(Wanted(recipe.feature_set, choice, lacking))
            plan.stale[key, recipe.feature_set] = [branch for branch in lacking if (*key, branch) in rows_there]
        if wanted:
            plan.fingerprints[key] = scan["fingerprint"]
            plan.tasks.append(ScanTask(*key, files, tuple(scan["tumour_box"]), tuple(wanted)))
    return plan


def files_of(scan: dict[str, Any]) -> tuple[ScanFile, ...]:
    """The files of a row of table scans."""
    return tuple(ScanFile(file["role"], file["uri"], file["sha256"]) for file in scan["files"])
