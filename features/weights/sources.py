"""Where the weights of the pretrained networks come from, with checksum, licence and size."""

from __future__ import annotations

from dataclasses import dataclass

from gliolake.errors import check_choice

GLUON_STORE = "https://apache-mxnet.s3-accelerate.dualstack.amazonaws.com"
"""As in gluoncv/torch/model_zoo/model_store.py and gluoncv/model_zoo/model_store.py, which have the full sha1 sums."""

MXNET = "mxnet/"
"""Begins the name of a network's weights for MXNet."""


@dataclass(frozen=True)
class Source:
    """Where a network's weights come from.

    Attributes:
        url: Address of the file.
        sha1: The file's sha1 where its publisher names one, else "".
        licence: Under which it was published.
        megabytes: About how large the file is.
    """

    url: str
    sha1: str
    licence: str
    megabytes: int


def _gluon(name: str, sha1: str, megabytes: int, origin: str = "") -> Source:
    """A file of GluonCV's, whose name carries the first eight digits of its sha1."""
    return Source(f"{GLUON_STORE}/torch/models/{name}-{sha1[:8]}.pth", sha1, f"Apache-2.0 (GluonCV){origin}", megabytes)


def _gluon_mxnet(name: str, sha1: str, megabytes: int) -> Source:
    """The same for MXNet: an archive, in which the file lies whose sha1 it is."""
    return Source(f"{GLUON_STORE}/gluon/models/{name}-{sha1[:8]}.zip", sha1, "Apache-2.0 (GluonCV)", megabytes)


_FACEBOOK = "; its file cites Facebook's IG-65M pre-training, whose terms GluonCV does not repeat"

SOURCES = {
    "i3d_nl10_resnet101_v1_kinetics400": _gluon(
        "i3d_nl10_resnet101_v1_kinetics400", "526a2ed07cffeab6d827ab28c979b537100cd2b3", 285
    ),
    "slowfast_4x16_resnet50_kinetics400": _gluon(
        "slowfast_4x16_resnet50_kinetics400", "1d1eadb258ccfc0c117db0ff0eaf1638d18405b3", 138
    ),
    "r2plus1d_v2_resnet152_kinetics400": _gluon(
        "r2plus1d_v2_resnet152_kinetics400", "42707ffcab518cdda93523004360de167863c5d8", 474, _FACEBOOK
    ),
    "ircsn_v2_resnet152_f32s2_kinetics400": _gluon(
        "ircsn_v2_resnet152_f32s2_kinetics400", "82855d2c85a888e96477130253b90a4892bdc649", 119, _FACEBOOK
    ),
    "vivit_b_16x2": Source(
        "https://huggingface.co/google/vivit-b-16x2-kinetics400/resolve/main/pytorch_model.bin", "", "MIT", 356
    ),
    "vivit_l_16x2_fe": Source(
        "https://storage.googleapis.com/scenic-bucket/vivit/kinetics_400/vivit_large_16x2_fe/checkpoint",
        "",
        "Apache-2.0 (scenic)",
        2427,
    ),
    "mxnet/i3d_nl10_resnet101_v1_kinetics400": _gluon_mxnet(
        "i3d_nl10_resnet101_v1_kinetics400", "59186c31dea2f20940a358fc8ea5199cd6d4303c", 551
    ),
    "mxnet/slowfast_4x16_resnet50_kinetics400": _gluon_mxnet(
        "slowfast_4x16_resnet50_kinetics400", "9d650f5186ffc08348f8d7384d6994a8f39a03b1", 138
    ),
}
"""No checksum is published for the two ViViTs: the sha256 of the file that was added is kept, and must not change. The
factorised encoder's size is that of its parameters; the published file also holds its optimiser's state.
The sizes for MXNet are those of files that MXNet writes for these networks."""


def source_of(name: str) -> Source:
    """Where the weights of this name come from.

    Raises:
        InputError: there are none; the message suggests the nearest names.
    """
    return SOURCES[check_choice("video network", name, SOURCES)]
