"""ViViT-B/16x2, unfactorised, from transformers: the network that the study's script really runs (contradiction 7).

Its normalisation is in dispute. The original (scenic/projects/vivit/configs/kinetics400/vivit_base_k400.py,
``zero_centering = True``, no mean or deviation) was trained on pixels scaled to −1…1, and the script that converted
the checkpoint for transformers (convert_vivit_flax_to_pytorch.py) asserts just that: ``do_normalize is False``. The
image processor that transformers ships with the checkpoint scales to −1…1 and then subtracts 0.5 and divides by 0.5
once more, so that the network sees −3…1. A network is right on the input it was trained on: −1…1 is used here. Vectors
made by way of that image processor, such as the study's, differ; the recipe records what was done.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gliolake.features.networks.frames import Preprocessing
from gliolake.schema.vocabulary import FEATURE_LENGTH

if TYPE_CHECKING:
    import torch
    from torch import nn

VIVIT_PREPROCESSING = Preprocessing(
    frames=32,
    size=224,
    mean=(0.5, 0.5, 0.5),
    deviation=(0.5, 0.5, 0.5),
    source="scenic's zero_centering: −1 to 1; not the −3 to 1 of the image processor published with the port",
)


def build_vivit(**changed: Any) -> nn.Module:
    """The network, configured offline: (n, 3, 32, 224, 224) float32 to (n, 400) logits.

    Of its last layer only the class token is computed, since the classifier looks at no other: a thirteenth of the
    arithmetic less. ``changed`` settings make smaller ones for tests.

    VivitConfig's defaults are this network's (width 768, 12 layers, 12 heads, tubelets of 2 × 16 × 16, GELU in its
    tanh form, layer norm ε 1e-6); they are written out so that a change of defaults changes nothing here.
    """
    from torch.nn.functional import scaled_dot_product_attention
    from transformers.models.vivit.configuration_vivit import VivitConfig
    from transformers.models.vivit.modeling_vivit import VivitForVideoClassification, VivitLayer
    from transformers.utils import logging

    logging.set_verbosity_error()  # it warns of a loss function that nobody asked for

    class ClassTokenLayer(VivitLayer):
        """A layer that gives the first token alone: (n, tokens, width) to (n, 1, width)."""

        def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
            attention, tokens = self.attention, self.layernorm_before(hidden_states)
            query, key, value = (
                layer(each).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
                for layer, each in (
                    (attention.q_proj, tokens[:, :1]),
                    (attention.k_proj, tokens),
                    (attention.v_proj, tokens),
                )
            )
            attended = scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
            token = hidden_states[:, :1] + attention.o_proj(attended)
            result: torch.Tensor = token + self.mlp(self.layernorm_after(token))
            return result

    class Vivit(VivitForVideoClassification):
        """Takes channels before frames, as the other networks do, and gives bare logits."""

        def forward(self, clips: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = super().forward(pixel_values=clips.transpose(1, 2)).logits
            return logits

    published: dict[str, Any] = {
        "image_size": 224,
        "num_frames": 32,
        "tubelet_size": [2, 16, 16],
        "num_channels": 3,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "hidden_act": "gelu_fast",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "layer_norm_eps": 1e-6,
        "qkv_bias": True,
    }
    settings = VivitConfig(**(published | changed))
    settings.num_labels = FEATURE_LENGTH
    settings._attn_implementation = "sdpa"
    network = Vivit(settings)
    network.vivit.layers[-1] = ClassTokenLayer(settings)
    return network


RENAMED: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"\.encoder\.layer\.", ".layers."),
    (r"\.attention\.attention\.(query|key|value)\.", lambda found: f".attention.{found[1][0]}_proj."),
    (r"\.attention\.output\.dense\.", ".attention.o_proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
)
"""The published file has the names of transformers 4; transformers 5 renamed the modules (conversion_mapping.py)."""


def today_name(name: str) -> str:
    """The name that a tensor of the published file has in today's network; today's names stay as they are."""
    for before, after in RENAMED:
        name = re.sub(before, after, name)
    return name
