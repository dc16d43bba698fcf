"""ViViT-L/16x2 with factorised encoder, the network the study names; no port of it to torch exists, so here is one.

Written from the paper (Arnab et al. 2021, section 3.3, model 2) and the settings of scenic/projects/vivit/configs/
kinetics400/vivit_large_factorised_encoder.py: tubelets of 2 × 16 × 16, width 1024, a spatial encoder of 24 layers over
the 14 × 14 tubelets of each of 16 moments, a temporal encoder of another 24 layers over the 16 moments, 16 heads and an
MLP of 4096 in both, a class token and learned positions in both, layer norm before each block and after the last,
no extra projection before the classifier. The pixels are scaled to −1…1 (``zero_centering``). GELU is the tanh form and
the layer norm's ε 1e-6, which are flax's defaults.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from gliolake.schema.vocabulary import FEATURE_LENGTH


@dataclass(frozen=True)
class Shape:
    """Sizes of the network. The defaults are ViViT-L/16x2 FE's; tests of names and transposes use smaller ones."""

    width: int = 1024
    mlp: int = 4096
    heads: int = 16
    spatial_layers: int = 24
    temporal_layers: int = 24
    frames: int = 32
    size: int = 224
    tubelet: tuple[int, int, int] = (2, 16, 16)
    classes: int = FEATURE_LENGTH

    @property
    def moments(self) -> int:
        """Tubelets along time."""
        return self.frames // self.tubelet[0]

    @property
    def places(self) -> int:
        """Tubelets of one moment."""
        return (self.size // self.tubelet[1]) * (self.size // self.tubelet[2])


class Attention(nn.Module):
    """Multi-head attention of some tokens to all: (n, asking, width) and (n, tokens, width) to (n, asking, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, asking: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            layer(each).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, each in ((self.query, asking), (self.key, tokens), (self.value, tokens))
        )
        attended = functional.scaled_dot_product_attention(query, key, value)
        mixed: torch.Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return mixed


class Block(nn.Module):
    """A transformer block, normalised before attention and before the MLP: (n, tokens, width) to (n, first, width)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(shape.width, eps=1e-6)
        self.attention = Attention(shape.width, shape.heads)
        self.norm_mlp = nn.LayerNorm(shape.width, eps=1e-6)
        self.widen = nn.Linear(shape.width, shape.mlp)
        self.narrow = nn.Linear(shape.mlp, shape.width)

    def forward(self, tokens: torch.Tensor, first: int | None = None) -> torch.Tensor:
        normed = self.norm_attention(tokens)
        tokens = tokens[:, :first] + self.attention(normed[:, :first], normed)
        wide = functional.gelu(self.widen(self.norm_mlp(tokens)), approximate="tanh")
        result: torch.Tensor = tokens + self.narrow(wide)
        return result


class Encoder(nn.Module):
    """Tokens (n, tokens, width) to one vector each, (n, width): the class token's after the last layer."""

    def __init__(self, shape: Shape, layers: int, tokens: int) -> None:
        super().__init__()
        self.class_token = nn.Parameter(torch.zeros(1, 1, shape.width))
        self.positions = nn.Parameter(torch.zeros(1, tokens + 1, shape.width))
        self.blocks = nn.ModuleList(Block(shape) for _ in range(layers))
        self.norm = nn.LayerNorm(shape.width, eps=1e-6)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        tokens = torch.cat((self.class_token.expand(len(tokens), -1, -1), tokens), dim=1) + self.positions
        for block in self.blocks[:-1]:
            tokens = block(tokens)
        tokens = self.blocks[-1](tokens, first=1)  # of the last block's tokens only the class token is looked at
        vector: torch.Tensor = self.norm(tokens[:, 0])
        return vector


class VivitFactorised(nn.Module):
    """(n, 3, frames, size, size) to logits (n, classes)."""

    def __init__(self, shape: Shape | None = None) -> None:
        super().__init__()
        shape = shape or Shape()
        self.shape = shape
        self.embedding = nn.Conv3d(3, shape.width, kernel_size=shape.tubelet, stride=shape.tubelet)
        self.spatial = Encoder(shape, shape.spatial_layers, shape.places)
        self.temporal = Encoder(shape, shape.temporal_layers, shape.moments)
        self.classifier = nn.Linear(shape.width, shape.classes)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        tubelets = self.embedding(clips).flatten(3)  # (n, width, moment, place)
        moments = self.spatial(tubelets.permute(0, 2, 3, 1).flatten(0, 1))
        films = self.temporal(moments.unflatten(0, (len(clips), -1)))
        logits: torch.Tensor = self.classifier(films)
        return logits
