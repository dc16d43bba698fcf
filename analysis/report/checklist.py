"""The TRIPOD+AI checklist of a report: the section that fulfils each item, or why none does."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from importlib.resources import files

STATES = ("met", "partly", "not met")


@dataclass(frozen=True)
class Item:
    """An item of the checklist (Collins et al., BMJ 2024;385:e078378), its gist in our own words.

    Attributes:
        number, part, topic, gist: what it asks for.
        state: one of ``STATES``, on a page that has everything.
        where: anchors of the page that show it.
        how: how these meet it, or why it is not met.
    """

    number: int
    part: str
    topic: str
    gist: str
    state: str
    where: tuple[str, ...]
    how: str


def checklist(filled: Collection[str]) -> tuple[Item, ...]:
    """The items, judged by what the page has.

    An item that a page could meet, and for which this one has nothing to show, is not met.

    Args:
        filled: anchors of the page with something to see.
    """
    text = files("gliolake.analysis.report").joinpath("tripod.toml").read_text("utf-8")
    items = []
    for entry in tomllib.loads(text)["item"]:
        there = tuple(anchor for anchor in entry["where"] if anchor in filled)
        told = entry | {"where": there}
        if entry["where"] and not there:
            told |= {"state": "not met", "how": "This lake has nothing to show for it."}
        elif len(there) < len(entry["where"]) and entry["state"] == "met":
            told["state"] = "partly"
        items.append(Item(**told))
    return tuple(items)
