"""What `gliolake ccc` prints: the mean concordance of each pair of feature sets, as view ccc_summary tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gliolake.errors import InputError

if TYPE_CHECKING:
    from gliolake.storage.lake import Lake

SUMMARY = "SELECT * FROM ccc_summary WHERE list_contains($pairs, first || ' ' || second)"


@dataclass(frozen=True)
class AgreementReport:
    """The agreement of some pairs of feature sets.

    Attributes:
        rows: of view ccc_summary.
        computed: so many pairs were computed now; the others were there.
        single: whether one pair was asked for, and all modalities are to be shown.
    """

    rows: tuple[dict[str, Any], ...]
    computed: int
    single: bool


def report(lake: Lake, pairs: Sequence[tuple[str, str]], computed: int, *, single: bool) -> AgreementReport:
    """What the lake holds of these pairs.

    Raises:
        InputError: nothing: they have no scans in common, or no patient was examined twice.
    """
    from gliolake.sql.catalog import connect

    with connect(lake) as connection:
        names = [" ".join(pair) for pair in pairs]
        rows = connection.sql(SUMMARY, params={"pairs": names}).to_arrow_table().to_pylist()
    if not rows:
        raise _nothing(pairs, single)
    return AgreementReport(tuple(rows), computed, single)


def _nothing(pairs: Sequence[tuple[str, str]], single: bool) -> InputError:
    examined = "Scans of one patient are known by links: gliolake sql 'FROM examinations'."
    extract = "Extract both on the same scans: gliolake extract; gliolake status shows what there is."
    if not pairs:
        return InputError("The lake has fewer than two feature sets to compare.", hint=extract)
    (first, second), *_ = pairs
    if first == second:
        return InputError(
            f"No patient has two examinations with vectors of {first if single else 'one feature set'}.", hint=examined
        )
    return InputError(
        f"No scan has vectors of both {first} and {second}." if single else "No two feature sets share scans.",
        hint=extract,
    )
