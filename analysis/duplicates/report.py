"""What `gliolake suspects` found, for a person and for a program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

SHOWN = 20

NEXT = """\
Nothing was joined. Look at each pair: gliolake sql "FROM suspects", gliolake preview SCAN. If the two are one patient,
write the one's id into the other's row of its label file, in the column that [labels.declared_id] of the cohort's
description names (of ucsf_pdgm "BraTS21 ID"), and ingest the labels again: that is a link, and the splits follow it.
Where the description names none, add one to a copy of it and give that as --cohort. A pair that you find to be two
people cannot be struck off: it is suspected again next time."""


@dataclass(frozen=True)
class Suspect:
    """A pair (cohort, scan id), the smaller first; how many pairs of different people are expected to be as near in the
    whole search; and its distance in each modality that both have, 1 being usual."""

    first: tuple[str, str]
    second: tuple[str, str]
    expected: float
    apart: Mapping[str, float]


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

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return asdict(self)

    def notes(self) -> list[str]:
        """What a reader has to know of the search."""
        said = []
        if self.others:
            said.append(f"One of {self.others + 1} feature sets of the lake; --feature-set takes another.")
        said += [f"{name} has {n} scans with vectors: too few to tell what is usual." for name, n in self.few.items()]
        if self.blank:
            said.append(f"{self.blank:,} scans have no vector that says anything (constant, or not finite).")
        if not self.told:
            said.append("Nothing can be told: too few scans, or vectors that hardly differ.")
            return said
        said += [
            f"Self-test: of {one.pairs:,} known pairs ({one.relation}) the search finds {one.found:,}."
            for one in self.known
            if one.pairs
        ]
        if not any(one.pairs for one in self.known):
            said.append("No links tie any two of these scans, so the search could not be tested on known pairs.")
        return said

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        scans = ", ".join(f"{count:,} of {name}" for name, count in self.cohorts.items()) or "none"
        suspected = "1 pair" if len(self.suspects) == 1 else f"{len(self.suspects):,} pairs"
        head = Text.assemble(
            (self.feature_set, "bold"), f": {suspected} suspected among {scans}\nrests on ",
            (self.basis, "" if self.basis == "trained weights" else "bold yellow"),
        )  # fmt: skip
        notes = [Text(note) for note in self.notes()]
        if not self.suspects:
            return Group(head, *notes)
        table = Table("scan", "and scan", "expected by chance", "distance, 1 being usual")
        for suspect in self.suspects[:SHOWN]:
            apart = ", ".join(f"{name} {distance:.2f}" for name, distance in suspect.apart.items())
            table.add_row(
                Text("/".join(suspect.first)), Text("/".join(suspect.second)), f"{suspect.expected:.2g}", Text(apart)
            )
        if len(self.suspects) > SHOWN:
            notes.insert(0, Text(f"… and {len(self.suspects) - SHOWN:,} more in the view suspects."))
        foot = (
            f"At most {self.false_pairs:g} of them are expected to be two people, if nothing but chance makes people "
            "alike. How many are cannot be known without the truth."
        )
        return Group(head, table, *notes, Text(foot, style="dim"), Text(NEXT, style="dim"))
