"""The classes of Kinetics-400, in the order of the networks' outputs: the names of the 400 features."""

from __future__ import annotations

import ast
import importlib.util
import re
from functools import cache
from pathlib import Path

CLASSES = Path("data", "kinetics400", "classification.py")
"""The file of GluonCV that lists them."""


@cache
def kinetics_labels() -> tuple[str, ...]:
    """The 400 classes in words; none where GluonCV is not installed, as in MXNet's workers.

    GluonCV's file cannot be imported (see ``gliolake.features.networks.gluon_zoo``), so the list is read from its
    source. It has
    underscores for blanks and hyphens for brackets: ``hurling_-sport-``.
    """
    found = importlib.util.find_spec("gluoncv")
    if found is None or not found.submodule_search_locations:
        return ()
    source = Path(found.submodule_search_locations[0], CLASSES).read_text("utf-8")
    lists = (
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "self.classes"
    )
    return tuple(re.sub("-(.+)-", r"(\1)", name.replace("_", " ")) for name in ast.literal_eval(next(lists)))
