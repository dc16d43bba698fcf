"""Training settings of a model. Every setting is part of the experiment's identity."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from gliolake.errors import InputError, check_choice
from gliolake.schema.vocabulary import BRANCHES


@dataclass(frozen=True)
class Settings:
    """Settings of a model; those that it has no use for are empty.

    Attributes:
        branches: branches that are read, in the study's order.
        epochs: the most there are; 0 of a model that is fitted at once.
        patience: epochs without a better validation loss after which a fit is no longer followed.
        batch: scans per step.
        learning_rate, weight_decay: of AdamW; a step shrinks the weights by the product of the two.
        hidden: widths of the fully connected layers; the first of snn_lowrank's is the rank of its encoder.
        dropout: share of units dropped in training.
        validation: share of the training part's patients kept for stopping.
        c_grid: values of scikit-learn's C among which logistic regression chooses.
        masked_branches: branches that a model was trained on and is not shown when it predicts.
        modality_dropout: share of the branches masked while a network is trained, drawn anew for every scan and
            epoch; a scan keeps at least one.
        balanced: scans count in inverse proportion to how frequent their class is in the fitting part.
        calibrated: probabilities are tempered on the scans that training was stopped by
            (``gliolake.modeling.models.calibration``).
        ensemble_size: networks trained for each fit, from other random numbers, whose probabilities are averaged.
        harmonise: combat, or empty: what scans of a site have in common is taken away
            (``gliolake.modeling.models.harmonisation``).
    """

    branches: tuple[str, ...] = BRANCHES
    epochs: int = 200
    patience: int = 50
    batch: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    hidden: tuple[int, ...] = ()
    dropout: float = 0.0
    validation: float = 0.2
    c_grid: tuple[float, ...] = ()
    masked_branches: tuple[str, ...] = ()
    modality_dropout: float = 0.0
    balanced: bool = False
    calibrated: bool = False
    ensemble_size: int = 1
    harmonise: str = ""


Model = Literal["snn", "snn_released", "snn_lowrank", "mlp", "logistic"]
"""What ``gliolake train --model`` takes; each has its defaults below."""

DEFAULTS: dict[str, Settings] = {
    "snn": Settings(hidden=(16,), dropout=0.3, weight_decay=1.0),
    "snn_released": Settings(batch=1, learning_rate=5e-5, weight_decay=0.0),
    "snn_lowrank": Settings(
        epochs=60,
        patience=20,
        batch=512,
        learning_rate=1e-2,
        weight_decay=1.0,
        hidden=(16,),
        dropout=0.2,
        modality_dropout=0.2,
        ensemble_size=4,
    ),
    "mlp": Settings(branches=("T1wCE",), hidden=(100, 32), dropout=0.4),
    "logistic": Settings(epochs=0, batch=0, patience=0, c_grid=(1e-4, 3e-4, 1e-3, 3e-3)),
}
MODELS = tuple(DEFAULTS)


def defaults(model: str) -> Settings:
    """The settings a model has unless told otherwise.

    Raises:
        InputError: no model of that name.
    """
    return DEFAULTS[check_choice("model", model, DEFAULTS)]


def with_options(model: str, modalities: tuple[str, ...] | None, epochs: int | None) -> Settings:
    """The model's defaults with the branches and epochs of a command.

    Raises:
        InputError: no such model or modality, or a number that makes no sense.
    """
    settings = defaults(model)
    if modalities is not None:
        for name in modalities:
            check_choice("modality", name, BRANCHES, hint=f"Modalities are {', '.join(BRANCHES)}.")
        if not modalities:
            raise InputError("No modality was chosen.", hint=f"Choose among {', '.join(BRANCHES)}.")
        settings = replace(settings, branches=tuple(b for b in BRANCHES if b in modalities))
    if epochs is not None and settings.epochs:
        if epochs < 1:
            raise InputError(f"{epochs} epochs: at least 1 is needed.")
        settings = replace(settings, epochs=epochs)
    return settings
