"""AdamW over many fits at once, and early stopping with the best parameters of each fit."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gliolake.modeling.models.settings import Settings
from gliolake.modeling.models.siamese.layers import LANES, BatchedModel


class Optimiser:
    """AdamW on the parameters of all fits laid side by side, each fit's padded to fill vector instructions.

    The last numbers of an array may round otherwise than those within (see
    ``gliolake.modeling.models.siamese.layers.LANES``); so it would matter to a fit whether it is the last.
    """

    def __init__(self, network: BatchedModel, settings: Settings) -> None:
        self.parameters = list(network.parameters())
        self.sizes = [parameter[0].numel() for parameter in self.parameters]
        self.padding = -sum(self.sizes) % LANES
        self.flat = nn.Parameter(self._side_by_side([parameter.data for parameter in self.parameters]))
        self.adam = torch.optim.AdamW(
            [self.flat], lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )

    @torch.no_grad()
    def step(self) -> None:
        """Move the parameters along their gradients, and forget these."""
        self.flat.grad = self._side_by_side([_gradient(parameter) for parameter in self.parameters])
        self.adam.step()
        for parameter, moved in zip(self.parameters, self.flat.split([*self.sizes, self.padding], 1), strict=False):
            parameter.copy_(moved.reshape(parameter.shape))
            parameter.grad = None

    @torch.no_grad()
    def keep(self, network: BatchedModel, fits: Tensor) -> None:
        """Go on with some of the fits, which the network's parameters are down to already."""
        self.parameters = list(network.parameters())
        self.flat.data, self.flat.grad = self.flat.data[fits], None
        for name, value in self.adam.state[self.flat].items():
            if value.shape:  # not the number of steps, which is the same for all
                self.adam.state[self.flat][name] = value[fits]

    def _side_by_side(self, tensors: list[Tensor]) -> Tensor:
        fits = len(tensors[0])
        return torch.cat([*(tensor.reshape(fits, -1) for tensor in tensors), torch.zeros(fits, self.padding)], 1)


def _gradient(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


class EarlyStopping:
    """Keeps, for each fit, the parameters of the epoch at which a loss was least."""

    def __init__(self, fits: int, patience: int) -> None:
        self.best = torch.full((fits,), float("inf"), dtype=torch.float64)
        self.epoch = torch.full((fits,), -1)
        self.following = torch.ones(fits, dtype=torch.bool)
        self.patience = patience
        self.state: dict[str, Tensor] = {}

    def update(self, epoch: int, fits: Tensor, loss: Tensor, network: BatchedModel) -> None:
        """Note the losses (f,) of some fits (f,) after an epoch, which are all that the network has.

        A fit whose best is ``patience`` epochs old is followed no more.
        """
        better = self.following[fits] & (loss < self.best[fits])
        at = fits[better]
        self.best[at] = loss[better]
        self.epoch[at] = epoch
        now = network.state_dict()
        if not self.state:
            self.state = {name: value.clone() for name, value in now.items()}
        for name, value in now.items():
            self.state[name][at] = value[better]
        self.following &= epoch - self.epoch < self.patience
