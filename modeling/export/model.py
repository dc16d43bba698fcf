"""An exported model, read from its folder: every file checked before it is used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gliolake.modeling.export.card import NOT_A_DEVICE, RULES, metric_rows, right_about, same_to
from gliolake.modeling.export.description import NAME, Description, parse_description
from gliolake.modeling.export.fitted import Fitted, check_shapes
from gliolake.modeling.export.folder import read_folder, unpack_tensors
from gliolake.modeling.export.neighbours import Reference, as_reference
from gliolake.modeling.export.recalibration import Recalibration, as_recalibration
from gliolake.modeling.models.problem import modality_of

if TYPE_CHECKING:
    from rich.console import RenderableType

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

    def as_dict(self) -> dict[str, Any]:
        """What there is to know of it, tensors aside."""
        from dataclasses import asdict

        return {"folder": str(self.folder), "model_id": self.model_id, "bytes": self.bytes, **asdict(self.description)}

    def __rich__(self) -> RenderableType:
        return _shown(self)


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
    shown = np.array([modality_of(name) not in told.settings.withheld for name in description.branches])
    own = {name: of for name, of in tensors.items() if name not in calibration}
    fitted = Fitted(told.model, told.settings, shown, own)
    fitted.check(len(description.fits))
    reference = unpack_tensors("reference.safetensors", files["reference.safetensors"])
    return Model(
        folder, model_id, description, fitted, as_recalibration(calibration),
        as_reference(reference, len(shown), fitted.count), files["MODEL_CARD.md"].decode("utf-8", "replace"),
        sum(map(len, files.values())),
    )  # fmt: skip


def _shown(model: Model) -> RenderableType:
    """What it is, what it rests on, how good it is; and that its files are sound, since only such a model is loaded."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    description, told = model.description, model.description.told
    training, proof = description.training, description.proof
    sets = " and ".join(one["feature_set"] for one in description.feature_sets)
    head = Text.assemble(
        (description.experiment, "bold"), f": {len(description.fits)} fits of {told.model} on {sets}\n",
        "rests on ", (description.rests_on, "" if description.trained else "bold red"), "\n",
        f"branches {description.reads}; {RULES[told.label_rule]}\n",
        f"trained on {training['scans']} scans of {training['patients']} patients, {training['methylated']} "
        f"methylated: {', '.join(training['cohorts'])}\n",
        f"the lake's {proof['predictions']:,} predictions found again {same_to(proof['difference'])}",
    )  # fmt: skip
    table = Table("split", "metric", "mean", "95 % interval", "optimism", "patients")
    for row in metric_rows(description):
        table.add_row(*row)
    foot = Text(f"{right_about(description)}\n", style="")
    foot.append(NOT_A_DEVICE, style="dim")
    kept = Text(f"{model.folder}: model {model.model_id}, {model.bytes / 1e6:.1f} MB, all checksums right", style="dim")
    return Group(head, table, foot, kept)
