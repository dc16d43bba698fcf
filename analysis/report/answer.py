"""The answer of a report: the study's claim and the reproduced result, in figures and in words computed from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gliolake.analysis.report.table import shown
from gliolake.analysis.study.notation import Row, number
from gliolake.analysis.study.published import ask

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

HEADLINE = """
    SELECT *, coalesce(weights = 'trained', false) AS trained FROM results
    WHERE "study" = $study AND metric = 'auc' AND state <> 'quoted' AND split = $split
    ORDER BY published IS NULL, position LIMIT 1
"""
"""The study's headline model: the first row of the split for which it published an AUC of its own."""

BEST = """
    SELECT *, coalesce(weights = 'trained', false) AS trained, count(*) OVER () AS candidates FROM results
    WHERE "study" = $study AND metric = 'auc' AND split = 'internal' AND reproduced IS NOT NULL
    ORDER BY reproduced DESC, position LIMIT 1
"""

OUTSIDE = """
    SELECT mean AS reproduced, ci_low, ci_high, patients FROM summaries
    WHERE experiment = $experiment AND split = 'external' AND metric = 'auc'
"""

CHANCE = 0.5
OF_CHANCE = {
    "within": "no evidence that the model tells methylated from unmethylated tumours",
    "below": "the model does better than chance",
    "above": "the model does worse than chance",
}
"""What it says of a model where chance lies with regard to its interval."""


@dataclass(frozen=True)
class Claim:
    """An AUC of a model, with a 95 % interval, and the published one where there is one.

    Attributes:
        title: what it is of. label: the row of the study. basis: what it rests on; trained: whether on trained weights.
        value, ci_low, ci_high, published: AUCs. patients: tested. why: why there is no figure.
    """

    title: str
    label: str
    basis: str
    trained: bool
    value: float | None
    ci_low: float | None
    ci_high: float | None
    published: float | None
    patients: int | None
    why: str = ""

    @property
    def interval(self) -> str:
        """The interval in words."""
        if self.ci_low is None or self.ci_high is None:
            return "no interval"
        return f"95 % interval {number(self.ci_low)} to {number(self.ci_high)}"

    @property
    def verdict(self) -> str:
        """What the interval says of the published figure, and of chance."""
        if self.value is None:
            return f"There is no figure. {self.why[:1].upper()}{self.why[1:]}"
        if self.ci_low is None or self.ci_high is None:
            return "There is no interval, so nothing can be held against it."
        told = []
        if self.published is not None:
            told.append(f"the published value lies {placed(self.published, self.ci_low, self.ci_high)} the interval")
        chance = placed(CHANCE, self.ci_low, self.ci_high)
        told.append(f"{CHANCE} lies {chance} {'it' if told else 'the interval'}: {OF_CHANCE[chance]}")
        words = ", and ".join(told)
        return words[0].upper() + words[1:] + "."


def placed(value: float, low: float, high: float) -> str:
    """Where a value lies with regard to an interval: below, within or above."""
    if value < low:
        return "below"
    return "above" if value > high else "within"


@dataclass(frozen=True)
class Answer:
    """The headline model inside and outside, the best model beside it, and one sentence.

    Attributes:
        sentence: what came out. claims: of the headline model. best: of the best one, from inside and outside.
        choice: what has to be known of how the best one was found.
    """

    sentence: str
    claims: tuple[Claim, ...]
    best: tuple[Claim, ...]
    choice: str


def answer(connection: DuckDBPyConnection, study: str) -> Answer:
    """The answer that the lake gives to a study's claim."""
    claims = []
    for split in ("internal", "external"):
        for row in ask(connection, HEADLINE, {"study": study, "split": split}):
            claims.append(_claim(f"{split} patients", row))
    found = ask(connection, BEST, {"study": study})
    best, choice = [], ""
    for row in found:
        best.append(_claim("internal patients", row | {"published": None}))
        outside = ask(connection, OUTSIDE, {"experiment": row["experiment"]})
        best += [_claim("external patients", row | one | {"published": None, "split": "external"}) for one in outside]
        choice = f"Of {row['candidates']} finished rows it has the highest AUC: picked by its result, it is flattered."
    return Answer(_sentence(claims), tuple(claims), tuple(best), choice)


def _claim(title: str, row: Row) -> Claim:
    return Claim(
        title, shown(row["label"]), shown(row["basis"]), row["trained"],
        row["reproduced"], row["ci_low"], row["ci_high"], row["published"], row["patients"],
        shown(row["note"]),
    )  # fmt: skip


def _sentence(claims: list[Claim]) -> str:
    """What became of the first claim, in one sentence."""
    if not claims:
        return "The study has no row of its own to be held against a published figure."
    first = claims[0]
    against = "" if first.published is None else f", where {number(first.published)} was published"
    if first.value is None:
        return f"The study's {first.label} could not be computed{against}. {first.why[:1].upper()}{first.why[1:]}"
    verdict = first.verdict[0].lower() + first.verdict[1:]
    return (
        f"On {first.patients:,} {first.title} the study's {first.label} reaches an AUC of {number(first.value)} "
        f"({first.interval}){against}: {verdict}{'' if first.trained else f' This rests on {first.basis}.'}"
    )
