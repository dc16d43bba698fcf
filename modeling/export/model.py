"""Loads an exported model from its folder; every file is checked before use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gliolake.modeling.export.description import NAME, Description, parse_description
from gliolake.modeling.export.fitted import Fitted, check_shapes
from gliolake.modeling.export.folder import read_folder, unpack_tensors
from gliolake.modeling.export.neighbours import Reference, as_reference
from gliolake.modeling.export.recalibration import Recalibration, as_recalibration
from gliolake.modeling.models.problem import modality_of

CALIBRATION = "calibration."


@dataclass(frozen=True)
class Model:
    """A model that can be asked.

    Attributes:
        folder: where it lies. model_id: short digest of all its files.
        card: the model card, as written. bytes: of all files.
    """

    folder: Path
    model_id: str
    description: Description
    fitted: Fitted
    recalibration: Recalibration
    reference: Reference
    card: str
    bytes: int


def load_model(folder: Path) -> Model:
    """The model in a folder.

    Raises:
        NotAModel: it holds none. NewerModel: it is of a later format. DamagedFile: a file is missing or was changed.
    """
    files, model_id = read_folder(folder)
    description = parse_description(files[NAME])
    told = description.told
    tensors = unpack_tensors("weights.safetensors", files["weights.safetensors"])
    calibration = {name: of for name, of in tensors.items() if name.startswith(CALIBRATION)}
    resamples = description.calibration["resamples"]
    check_shapes(
        calibration,
        {"calibration.line": (2,), "calibration.lines": (resamples, 2), "calibration.drawn": (resamples,)},
        "weights.safetensors",
    )
    shown = np.array([modality_of(name) not in told.settings.masked_branches for name in description.branches])
    own = {name: of for name, of in tensors.items() if name not in calibration}
    fitted = Fitted(told.model, told.settings, shown, own)
    fitted.check(len(description.fits))
    reference = unpack_tensors("reference.safetensors", files["reference.safetensors"])
    return Model(
        folder, model_id, description, fitted, as_recalibration(calibration),
        as_reference(reference, len(shown), fitted.count), files["MODEL_CARD.md"].decode("utf-8", "replace"),
        sum(map(len, files.values())),
    )  # fmt: skip
