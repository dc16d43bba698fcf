"""Selects the weights of a network: a file of the weights folder, or random numbers from a seed.

Choosing reads a file's description only. So the command that plans the work has what recipes need, and loads nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gliolake.errors import InputError
from gliolake.features.weights.folder import WeightsFile, find_weights, found_path
from gliolake.features.weights.untrained import REVISION as DRAWN

UNTRAINED = re.compile(r"untrained:(\d{1,18})")


@dataclass(frozen=True)
class ChosenWeights:
    """A choice of weights.

    Attributes:
        seed: Of numbers that are drawn; it matters where there is no file.
        file: The file that was added to the weights folder; None for drawn numbers.
        folder: The weights folder; see ``gliolake.features.weights.folder.weights_folder``.
    """

    seed: int
    file: WeightsFile | None
    folder: str | None

    @property
    def kind(self) -> str:
        """``trained`` or ``untrained`` (column ``weights`` of table feature_sets)."""
        return "trained" if self.file else "untrained"

    @property
    def text(self) -> str | None:
        """The choice in the words of ``choose_weights``."""
        return None if self.file else f"untrained:{self.seed}"

    def path(self) -> Path | None:
        """Where the file is, after its bytes were compared with its sha256; None for drawn numbers.

        Raises:
            InputError: it was changed since it was added.
        """
        return found_path(self.file, self.folder) if self.file else None

    def recipe(self) -> dict[str, Any]:
        """What decides the numbers, as JSON values."""
        if self.file is None:
            return {"untrained_seed": self.seed, "revision": DRAWN}
        return {"sha256": self.file.sha256, "added_sha256": self.file.added_sha256, "origin": self.file.origin}


def choose_weights(network: str, text: str | None, folder: str | None = None) -> ChosenWeights:
    """The weights that were asked for.

    Args:
        network: A name of ``gliolake.features.weights.sources.SOURCES``.
        text: ``untrained:SEED``; None for the file that was added for this network.
        folder: The weights folder; see ``gliolake.features.weights.folder.weights_folder``.

    Raises:
        InputError: the text is neither, or no file was added.
    """
    if text is None:
        return ChosenWeights(0, find_weights(network, folder), folder)
    found = UNTRAINED.fullmatch(text)
    if not found:
        raise InputError(
            f"{text!r} is not a choice of weights.",
            hint="It is untrained:SEED, e.g. untrained:0, or left out for the file added with gliolake weights add.",
        )
    return ChosenWeights(int(found[1]), None, folder)
