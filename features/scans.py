"""The scans that a command works on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gliolake.errors import InputError, check_choice
from gliolake.storage.lake import Lake


def scans_of(lake: Lake, cohorts: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Rows of table scans, of some cohorts or of all, in the order of their names.

    Raises:
        InputError: a cohort has no scans, or no cohort has.
    """
    columns = ["cohort", "scan_id", "files", "tumour_box", "fingerprint", "warnings"]
    scans = lake.read("scans", columns=columns).to_pylist()
    known = {scan["cohort"] for scan in scans}
    if not known:
        raise InputError("The lake has no scans.", hint="Ingest a cohort's images first: gliolake ingest --images DIR.")
    for name in cohorts or ():
        check_choice("cohort with scans", name, known)
    chosen = [scan for scan in scans if not cohorts or scan["cohort"] in cohorts]
    return sorted(chosen, key=lambda scan: (scan["cohort"], scan["scan_id"]))
