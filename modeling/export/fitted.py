"""The fits of an exported model, and their predictions for new vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, logit

from gliolake.modeling.export.folder import DAMAGED, NotAModel
from gliolake.modeling.models.calibration import SURE
from gliolake.modeling.models.settings import Settings
from gliolake.process.threads import one_torch_thread
from gliolake.schema.vocabulary import FEATURE_LENGTH

if TYPE_CHECKING:
    from gliolake.modeling.models.siamese.layers import BatchedModel

PARAMETER = "network."
"""Begins the names of a network's parameters among the tensors."""

WIDE = ("weight", "intercept", "temperature")
"""Tensors in float64; the others are float32."""


@dataclass(frozen=True)
class Prediction:
    """What F fits say of n scans: probability (F, n), and attention (F, n, K) where the model has it."""

    probability: np.ndarray
    attention: np.ndarray | None


@dataclass(frozen=True)
class Fitted:
    """F fits of a model, each of ``ensemble_size`` networks.

    shown (K,) bool: branches it is shown; the others were masked when it was tested. tensors: by name, shift and
    scale (F, K, 400) of the standardisation, temperature (F,) where it was calibrated, and either weight (F, K, 400)
    and intercept (F,), or a network's parameters (F, ensemble_size, …).
    """

    model: str
    settings: Settings
    shown: np.ndarray
    tensors: Mapping[str, np.ndarray]

    @property
    def count(self) -> int:
        """F."""
        return len(self.tensors["shift"])

    def predict(self, values: np.ndarray) -> Prediction:
        """Probability and attention of scans (n, K, 400), NaN in a missing branch."""
        present = np.isfinite(values).all(-1) & self.shown
        known = np.ascontiguousarray(np.where(present[..., None], values, 0), np.float32)
        told = self._lines(known, present) if self.model == "logistic" else self._networks(known, present)
        if "temperature" not in self.tensors:
            return told
        score = logit(np.clip(told.probability, SURE, 1 - SURE)) / self.tensors["temperature"][:, None]
        return Prediction(expit(score), told.attention)

    def _lines(self, values: np.ndarray, present: np.ndarray) -> Prediction:
        shift, scale = self.tensors["shift"][:, None], self.tensors["scale"][:, None]
        features = ((values - shift) * scale * present[..., None]).astype(np.float64)
        score = np.einsum("fnkd,fkd->fn", features, self.tensors["weight"]) + self.tensors["intercept"][:, None]
        return Prediction(expit(score), None)

    def _networks(self, values: np.ndarray, present: np.ndarray) -> Prediction:
        import torch

        from gliolake.modeling.models.siamese.branch import Inputs
        from gliolake.modeling.models.siamese.layers import take_fits

        ensemble_size, scans = self.settings.ensemble_size, len(values)
        crowd = self.count * ensemble_size
        shift, scale = (self.tensors[name].repeat(ensemble_size, 0) for name in ("shift", "scale"))
        columns = np.tile(np.arange(len(self.shown)), (crowd, 1))
        inputs = Inputs(values, columns, np.tile(present, (crowd, 1, 1)), shift, scale)
        network = _empty(self.model, self.settings, crowd, len(self.shown))
        take_fits(network, {name: torch.from_numpy(of) for name, of in self._parameters().items()})
        network.eval()
        with one_torch_thread(), torch.no_grad():
            output = network(inputs, np.tile(np.arange(scans), (crowd, 1)))
        probability = output.probability.numpy().astype(np.float64).reshape(-1, ensemble_size, scans).mean(1)
        if output.attention is None:
            return Prediction(probability, None)
        attention = output.attention.numpy().astype(np.float64)
        return Prediction(probability, attention.reshape(-1, ensemble_size, *attention.shape[1:]).mean(1))

    def _parameters(self) -> dict[str, np.ndarray]:
        """A network's parameters (F · ensemble_size, …), by their names in it."""
        own = {name: of for name, of in self.tensors.items() if name.startswith(PARAMETER)}
        return {name.removeprefix(PARAMETER): of.reshape(-1, *of.shape[2:]) for name, of in own.items()}

    def check(self, fits: int) -> None:
        """Refuse tensors that are not those of so many fits.

        Raises:
            NotAModel: one is missing, unknown, or of another shape; names it.
        """
        wide = (fits, len(self.shown), FEATURE_LENGTH)
        expected = {"shift": wide, "scale": wide} | ({"temperature": (fits,)} if self.settings.calibrated else {})
        if self.model == "logistic":
            expected |= {"weight": wide, "intercept": (fits,)}
        else:
            ensemble_size = self.settings.ensemble_size
            try:
                network = _empty(self.model, self.settings, 1, len(self.shown))
            except IndexError as error:
                raise NotAModel(f"model.json: {self.model} has too few hidden layers.", hint=DAMAGED) from error
            for name, value in network.state_dict().items():
                expected[f"{PARAMETER}{name}"] = (fits, ensemble_size, *value.shape[1:])
        check_shapes(self.tensors, expected, "weights.safetensors")
        for name, of in self.tensors.items():
            if of.dtype != (np.float64 if name in WIDE else np.float32):
                raise NotAModel(f"weights.safetensors: {name} is of type {of.dtype}.", hint=DAMAGED)


def _empty(model: str, settings: Settings, crowd: int, branches: int) -> BatchedModel:
    """So many networks of a kind, with zeros where their parameters will be."""
    import torch

    from gliolake.modeling.models.siamese.branch import usable_cores
    from gliolake.modeling.models.siamese.networks import NETWORKS

    return NETWORKS[model](lambda _, shape: torch.zeros((crowd, *shape)), settings, branches, usable_cores())


def check_shapes(tensors: Mapping[str, np.ndarray], expected: Mapping[str, tuple[int, ...]], file: str) -> None:
    """Refuse tensors of other names or shapes than are expected.

    Raises:
        NotAModel: names the first.
    """
    for name in sorted(tensors.keys() | expected.keys()):
        if name not in tensors or name not in expected:
            which = "lacks" if name in expected else "has an unknown"
            raise NotAModel(f"{file} {which} tensor {name!r}.", hint=DAMAGED)
        if tensors[name].shape != expected[name]:
            raise NotAModel(f"{file}: {name} is {tensors[name].shape}; expected {expected[name]}.", hint=DAMAGED)
