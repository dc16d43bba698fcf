"""The example queries of this package, each with its question and its SQL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files as resource_files

from gliolake.errors import check_choice


@dataclass(frozen=True)
class Question:
    """One file of ``sql/examples``: its name, the question, and the whole text, which is one statement."""

    name: str
    question: str
    sql: str


@cache
def questions() -> Mapping[str, Question]:
    """All example queries by name."""
    folder = resource_files("gliolake.sql").joinpath("examples")
    texts = {item.name.removesuffix(".sql"): item.read_text("utf-8") for item in folder.iterdir()}
    return {name: Question(name, _asked(texts[name]), texts[name]) for name in sorted(texts)}


def question(name: str) -> Question:
    """The example query of this name.

    Raises:
        InputError: there is none; the message suggests the nearest names.
    """
    return questions()[check_choice("example", name, questions(), hint="`gliolake sql --examples` lists them.")]


def _asked(text: str) -> str:
    """The comment on top, up to the lines on columns, which are indented."""
    lines = re.match(r"(?:-- \S.*\n)+", text)
    return re.sub(r"\s*\n?-- ", " ", lines[0]).strip() if lines else ""
