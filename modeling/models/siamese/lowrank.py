"""A Siamese network with few weights: one low-rank encoder for all branches, for more features than patients."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gliolake.modeling.models.settings import Settings
from gliolake.modeling.models.siamese.branch import Inputs
from gliolake.modeling.models.siamese.kernels import SLOPE
from gliolake.modeling.models.siamese.layers import (
    BatchedLinear,
    BatchedModel,
    Draw,
    Output,
    cross_entropy,
    presence,
    probability_of,
)
from gliolake.schema.vocabulary import FEATURE_LENGTH

WIDE = 16
"""Columns that a product is made in multiples of: as many as a vector instruction takes, and twice as fast as 8."""


class _Encoded(torch.autograd.Function):
    """Values (N, C, 400) times weights (F, K, 400, r): (F, K, N, r), for all scans, whether they are asked for or not.

    To copy the values of a batch takes longer than to multiply those of all scans where they lie; so it is the short
    tokens that are picked. A product for each fit and branch, since the bits of a larger one depend on its size.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, inputs: Inputs) -> Tensor:
        values = torch.from_numpy(inputs.values)
        ctx.values, ctx.columns = values, inputs.columns.tolist()
        out = weight.new_empty((*weight.shape[:2], len(values), weight.shape[-1]))
        for own, told, columns in zip(weight, out, ctx.columns, strict=True):
            for k, column in enumerate(columns):
                torch.mm(values[:, column], own[k], out=told[k])
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        fits, branches, _, rank = gradients[0].shape
        d_weight = gradients[0].new_empty((fits, branches, ctx.values.shape[-1], rank))
        for own, told, columns in zip(gradients[0].contiguous(), d_weight, ctx.columns, strict=True):
            for k, column in enumerate(columns):
                torch.mm(ctx.values[:, column].T, own[k], out=told[k])
        return d_weight, None


class LowRankSNN(BatchedModel):
    """400 features to a token of ``hidden[0]`` numbers by the same weights in all branches, attention, a small head.

    A branch has two things of its own, the gains and the offsets of its token's numbers. The token's linear score
    decides how much attention a branch gets among those present. The head has the further widths of ``hidden``, or is
    linear. Dropout falls on the pooled token and on the head's layers.
    """

    def __init__(self, draw: Draw, settings: Settings, branches: int, threads: int) -> None:
        super().__init__()
        rank = settings.hidden[0]
        self.encoder = nn.Parameter(draw(FEATURE_LENGTH**-0.5, (FEATURE_LENGTH, rank)))
        self.offset = nn.Parameter(draw(rank**-0.5, (branches, 1, rank)))
        self.gain = nn.Parameter(torch.ones_like(self.offset))
        self.score = nn.Parameter(draw(rank**-0.5, (1, 1, rank)))
        self.head = nn.ModuleList(BatchedLinear(draw, a, b) for a, b in pairwise((*settings.hidden, 1)))
        self.noise = settings.hidden

    def forward(self, inputs: Inputs, rows: np.ndarray, masks: list[Tensor] | None = None) -> Output:
        """One logit per row (F, B)."""
        tokens = self._tokens(inputs, rows)
        score = (tokens * self.score).sum(-1).transpose(1, 2)
        attention = score.masked_fill(~presence(inputs, rows), float("-inf")).softmax(-1)
        logit = self._headed((attention.transpose(1, 2)[..., None] * tokens).sum(1), masks)
        return Output(logit, probability_of(logit), attention)

    def _tokens(self, inputs: Inputs, rows: np.ndarray) -> Tensor:
        """(F, K, B, r). The few weights are standardised in place of the many values: (x - m) s w = x (s w) - m (s w).

        That of a missing branch is of no use, and has no attention.
        """
        scaled = torch.from_numpy(inputs.scale)[..., None] * self.encoder[:, None]
        centre = torch.from_numpy(inputs.shift)[:, :, None] @ scaled
        rank = scaled.shape[-1]
        encoded: Tensor = _Encoded.apply(functional.pad(scaled, (0, -rank % WIDE)), inputs)[..., :rank]
        index = torch.from_numpy(np.maximum(rows, 0))[:, None, :, None]
        chosen = encoded.gather(2, index.expand(-1, encoded.shape[1], -1, encoded.shape[3]))
        return (chosen - centre) * self.gain + self.offset

    def _headed(self, pooled: Tensor, masks: list[Tensor] | None) -> Tensor:
        x = pooled
        for which, layer in enumerate(self.head):
            x = functional.leaky_relu(x, SLOPE) if which else x
            x = layer(x if masks is None else x * masks[which])
        return x[..., 0]

    def loss(self, output: Output, label: Tensor) -> Tensor:
        """Binary cross-entropy of each row."""
        return cross_entropy(output.score, label)
