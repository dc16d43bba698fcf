"""The recipe of a feature set: backbone, options and clip settings, recorded in full, and its id."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from gliolake.errors import InputError, check_choice
from gliolake.features.backbones.registry import BACKBONES, Backbone, BackboneOptions, has_choice, open_backbone
from gliolake.features.clips import ClipSettings


@dataclass(frozen=True)
class Choice:
    """A backbone and the options it has."""

    backbone: str
    options: BackboneOptions

    def open(self) -> Backbone:
        """The backbone, as ``gliolake.features.backbones.registry.open_backbone`` gives it."""
        return open_backbone(self.backbone, self.options)


@dataclass(frozen=True)
class Recipe:
    """All that decides vectors. Its id is the backbone's name and a short hash of all of it."""

    backbone: str
    weights: str
    text: str

    @property
    def feature_set(self) -> str:
        """E.g. ``random_conv-1f3a5c7e90``: ten hexadecimal digits of the sha256 of the canonical JSON."""
        return f"{self.backbone}-{hashlib.sha256(self.text.encode()).hexdigest()[:10]}"

    def row(self) -> dict[str, str]:
        """The row of table feature_sets."""
        return {
            "feature_set": self.feature_set,
            "backbone": self.backbone,
            "weights": self.weights,
            "recipe": self.text,
        }


def make_recipe(backbone: Backbone, settings: ClipSettings, volume_set: str = "") -> Recipe:
    """The recipe of a backbone on clips of these settings, as JSON with sorted keys and no spaces.

    ``volume_set`` is named where there is one: the scans that needed preprocessing are cut from its volumes.
    """
    recipe = {"backbone": backbone.name, "weights": backbone.weights, "network": backbone.recipe()}
    volumes = {"volumes": volume_set} if volume_set else {}
    text = json.dumps(
        {**recipe, **volumes, "clip": settings.recipe()}, sort_keys=True, separators=(",", ":"), allow_nan=False
    )
    return Recipe(backbone.name, backbone.weights, text)


def choose(backbones: Sequence[str], options: BackboneOptions) -> tuple[Choice, ...]:
    """Each backbone with those of the options that it has a choice of. One backbone alone must have them all.

    Raises:
        InputError: no backbone, none of that name, one twice, or an option that none of them has.
    """
    if not backbones:
        raise InputError("No backbone was asked for.", hint=f"Known: {', '.join(sorted(BACKBONES))}.")
    for name in backbones:
        check_choice("backbone", name, BACKBONES)
        if backbones.count(name) > 1:
            raise InputError(
                f"Backbone {name} was asked for twice.",
                hint="One run follows one recipe per backbone: for other options, run the command again with them.",
            )
    usual = BackboneOptions()
    chosen = [field.name for field in fields(options) if getattr(options, field.name) != getattr(usual, field.name)]
    homeless = [option for option in chosen if not any(has_choice(name, option) for name in backbones)]
    choices = []
    for name in backbones:
        # What no backbone has is left in for the first to refuse, with its own words.
        foreign = [option for option in chosen if not has_choice(name, option) and option not in homeless]
        choices.append(Choice(name, replace(options, **{option: getattr(usual, option) for option in foreign})))
    if len({choice.options.engine for choice in choices}) > 1:
        raise InputError(
            f"{backbones[0]} and {backbones[-1]} are computed by different engines.",
            hint="Run the command once for each.",
        )
    return tuple(choices)
