"""Finds the feature set of a lake for a name in a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gliolake.errors import InputError, check_choice
from gliolake.modeling.study.file import IMAGE
from gliolake.storage.json_cell import json_cell

BEST_FIRST = ("trained", "released", "untrained", "random")
"""What vectors rest on, by how much their figures mean."""


def resolve(
    name: str, backbones: Sequence[str], delta: str, sets: Sequence[Mapping[str, Any]], chosen: Mapping[str, str]
) -> str:
    """The feature set that serves for a name.

    It is the one that was chosen; else that of the first of the backbones that the lake has any of, with the weights
    that mean most. For delta of images its recipe has to say that DeltaT1 was made from images.

    Args:
        name: of the features in the study.
        backbones: that can serve, the best first.
        delta: a name of ``gliolake.modeling.study.file.DELTAS``.
        sets: rows of table feature_sets.
        chosen: feature sets by name.

    Raises:
        InputError: there is none, or several that are as good.
    """
    if name in chosen:
        known = {row["feature_set"]: row for row in sets}
        one = check_choice("feature set", chosen[name], known, hint="gliolake status lists them.")
        if delta == IMAGE and _delta(known[one]) != IMAGE:
            raise InputError(f"DeltaT1 of {one} was not made from images.", hint=f"Extract with --delta {IMAGE}.")
        return one
    for backbone in backbones:
        of_backbone = [row for row in sets if row["backbone"] == backbone]
        fitting = [row for row in of_backbone if delta != IMAGE or _delta(row) == IMAGE]
        if of_backbone and not fitting:
            raise InputError(
                f"The lake's vectors of {backbone} have no DeltaT1 made from images.",
                hint=f"It takes the images: gliolake extract --backbone {backbones[0]} --delta {IMAGE}.",
            )
        for weights in BEST_FIRST:
            same = sorted(row["feature_set"] for row in fitting if row["weights"] == weights)
            if len(same) > 1:
                raise InputError(
                    f"The lake has {len(same)} {weights} feature sets of {backbone}: {', '.join(same)}.",
                    hint=f"Say which is meant: --features '{name}=SET'.",
                )
            if same:
                return same[0]
    raise InputError(
        f"The lake has no vectors of {' or '.join(backbones)}.",
        hint=f"Extract them (gliolake extract --backbone {backbones[0]}), which needs its weights and the images; or "
        f"name another feature set: --features '{name}=SET'.",
    )


def _delta(row: Mapping[str, Any]) -> str:
    """How a feature set's DeltaT1 was made; "" where its recipe does not say."""
    recipe = json_cell(row, "recipe", "feature_set")
    return str(recipe.get("clip", {}).get("delta", ""))
