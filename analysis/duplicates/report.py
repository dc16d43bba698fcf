"""The report of `gliolake suspects`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Suspect:
    """A pair (cohort, scan id), the smaller first; how many pairs of different people are expected to be as similar in
    the whole search; and its similarity in each modality that both have: 0 is usual, 1 the same."""

    first: tuple[str, str]
    second: tuple[str, str]
    expected: float
    similarity: Mapping[str, float]


@dataclass(frozen=True)
class Known:
    """Pairs that links make one patient, of one kind, and how many of them the search would have suspected."""

    relation: str
    pairs: int
    found: int


@dataclass(frozen=True)
class SuspectsReport:
    """What was compared, what is suspected, and how well the search does on pairs that are known.

    others: feature sets of the lake besides this one; cohorts: scans of each that was compared; few: of each that has
    too few; blank: scans without any vector that says something; told: whether there were enough pairs to say anything.
    """

    feature_set: str
    others: int
    basis: str
    false_pairs: float
    cohorts: Mapping[str, int]
    few: Mapping[str, int]
    blank: int
    told: bool
    suspects: tuple[Suspect, ...]
    known: tuple[Known, ...]

    def notes(self) -> list[str]:
        """What a reader has to know of the search."""
        said = []
        if self.others:
            said.append(f"One of {self.others + 1} feature sets of the lake; --feature-set takes another.")
        said += [f"{name} has {n} scans with vectors: too few to tell what is usual." for name, n in self.few.items()]
        if self.blank:
            said.append(f"{self.blank:,} scans have no vector that says anything (constant, or not finite).")
        if not self.told:
            return [*said, "Nothing can be told: too few scans, or vectors that hardly differ."]
        known = [one for one in self.known if one.pairs]
        said += [
            f"Self-test: of {one.pairs:,} known pairs ({one.relation}) the search finds {one.found:,}." for one in known
        ]
        if not known:
            said.append("No links tie any two of these scans, so the search could not be tested on known pairs.")
        return said
