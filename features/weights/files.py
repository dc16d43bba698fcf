"""A file of weights becomes tensors, or is refused by name. No file that is read here can execute anything.

Three formats: torch's own (``.pth``, ``.bin``), unpickled by torch's restricted reader, which knows tensors and plain
containers only; safetensors; and flax's msgpack for ViViT-L/16x2 FE. They are told apart by their first bytes.
"""

from __future__ import annotations

import io
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gliolake import limits
from gliolake.errors import InputError
from gliolake.features.networks.registry import NETWORKS, UNUSED, expected_shapes, network_of, same_tensors
from gliolake.features.weights.mxnet_params import LIST_MAGIC
from gliolake.features.weights.vivit_flax import convert_flax, shorten

if TYPE_CHECKING:
    import torch

Shapes = Mapping[str, tuple[int, ...]]

READABLE = "torch (.pth, .bin), safetensors, MXNet (.params), or the original flax checkpoint of vivit_l_16x2_fe"


def file_format(path: Path) -> str:
    """``torch``, ``safetensors``, ``flax`` or ``mxnet``, by the file's first bytes.

    Raises:
        InputError: there is no such file, it is empty or too large, or of no known format.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    size = path.stat().st_size
    if size > limits.WEIGHTS:
        raise InputError(f"{path.name} has {size} bytes, more than any file of weights ({limits.WEIGHTS}).")
    with path.open("rb") as file:
        head = file.read(16)
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < size:
        return "safetensors"
    if head == LIST_MAGIC:
        return "mxnet"
    if head[:4] == b"PK\x03\x04" or head[:1] == b"\x80":
        # b"\x80" begins a pickle, and also an empty msgpack map, which is no checkpoint either.
        return "torch"
    if head[:1] and (0x81 <= head[0] <= 0x8F or head[0] in {0xDE, 0xDF}):
        return "flax"
    raise InputError(
        f"{path.name} is no file of weights: it has {size} bytes and begins like none of them.",
        hint=f"Known formats: {READABLE}.",
    )


def read_weights(path: Path, name: str) -> dict[str, torch.Tensor]:
    """The tensors of a file for torch by their names in today's network, float32, all of them and in their shapes.

    Raises:
        InputError: the file is missing, damaged, of another format, asks to execute code, or holds the weights of
            something else; the message names the file, and the tensors that are missing, unexpected or misshapen.
    """
    kind = file_format(path)
    if kind == "mxnet":
        raise InputError(f"{path.name} is a file of MXNet's.", hint=f"Add it as mxnet/{name}.")
    if kind == "flax":
        if name != "vivit_l_16x2_fe":
            raise InputError(
                f"{path.name} is a flax checkpoint, and {name} cannot be read from one.", hint=f"Known: {READABLE}."
            )
        return convert_flax(path)
    tensors = read_safetensors(path) if kind == "safetensors" else read_torch(path)
    today = network_of(name).today
    state = {today(key): value for key, value in tensors.items() if not key.endswith(UNUSED)}
    check_shapes({key: tuple(value.shape) for key, value in state.items()}, name, path.name)
    whole = sorted(key for key, value in state.items() if not value.is_floating_point())
    if whole:
        raise InputError(f"{path.name} holds numbers that are not floating-point in: {shorten(whole)}.")
    return {key: value.float() for key, value in state.items()}


def check_shapes(found: Shapes, name: str, file: str) -> None:
    """Compare a file's tensors with the network's.

    Raises:
        InputError: they are not the same; the hint gives the likeliest explanation.
    """
    wanted = expected_shapes(name)
    missing, unexpected = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    wrong = [
        f"{key} has shape {found[key]}, not {shape}"
        for key, shape in wanted.items()
        if key in found and found[key] != shape
    ]
    lists = (("missing", missing), ("unexpected", unexpected), ("of another shape", wrong))
    problems = [f"{kind}: {shorten(names)}" for kind, names in lists if names]
    if problems:
        raise InputError(
            f"{file} does not hold the weights of {name}. {'; '.join(problems)}.", hint=_explanation(found, wanted)
        )


def _explanation(found: Shapes, wanted: Shapes) -> str:
    for name in NETWORKS:
        if same_tensors(name, {NETWORKS[name].today(key): shape for key, shape in found.items()}):
            return f"These are the weights of {name}."
    prefix = next(iter(found), "").split(".")[0] + "."
    if found and all(key.startswith(prefix) and key.removeprefix(prefix) in wanted for key in found):
        return f"Every name begins with {prefix!r}: the network was wrapped when it was saved. Save it unwrapped."
    if found.keys() == wanted.keys():
        return "The names agree and the shapes do not: it was probably trained for other classes than Kinetics-400's."
    shared = len(found.keys() & wanted.keys())
    return f"{shared} of its {len(found)} names agree: the file is of another network, or of another version of it."


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file.

    Raises:
        InputError: it is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
    except (SafetensorError, ValueError) as error:
        raise _damaged(path, "safetensors", error) from None
    return tensors


def read_torch(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file of torch's, which is read without running any of its code.

    Raises:
        InputError: it is damaged, asks to run code, or holds other things than tensors.
    """
    import torch

    try:
        source: Any = path
        if zipfile.is_zipfile(path):
            _check_archive(path)
        else:
            # A file asked for more than it has makes room for all of it first, and a pickle may claim any length.
            source = io.BytesIO(path.read_bytes())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's reader wonders at pickles of other protocols, then refuses them
            content: Any = torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL ([A-Za-z_][\w.]*)", str(error))
        if asked:
            raise InputError(
                f"{path.name} asks to run code ({asked[1]}) when it is read, and was refused; nothing was run.",
                hint="A file of weights holds tensors only. Do not use this one, unless you know who made it and "
                "convert it to safetensors yourself.",
            ) from None
        raise _damaged(path, "torch", error) from None
    except InputError:
        raise
    except Exception as error:  # a damaged file makes torch's reader fail in any of a dozen ways
        raise _damaged(path, "torch", error) from None
    if not isinstance(content, Mapping) or not all(_is_dense(value) for value in content.values()):
        items = content.items() if isinstance(content, Mapping) else ()
        nested = sorted(str(key) for key, value in items if isinstance(value, Mapping))
        raise InputError(
            f"{path.name} is not a mapping of names to tensors.",
            hint=f"It holds others within it ({shorten(nested)}): save the inner one by itself."
            if nested
            else "Save the network's state_dict().",
        )
    return dict(content)


def _is_dense(value: Any) -> bool:
    """Whether this is a tensor whose numbers were in the file, and not one that stands for others."""
    import torch

    return isinstance(value, torch.Tensor) and value.layout is torch.strided and value.device.type == "cpu"


def _check_archive(path: Path) -> None:
    """torch stores tensors uncompressed; an archive that does not could be a small file of enormous tensors."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise InputError(f"{path.name} is a compressed archive, which torch does not write.")
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise InputError(f"{path.name} is an archive that claims to hold more than the file does.")


def _damaged(path: Path, kind: str, error: Exception) -> InputError:
    text = re.sub(r"^Weights only load failed.*?(?=Unsupported|Invalid|$)", "", str(error).strip(), flags=re.DOTALL)
    reason = text.splitlines()[0][:200] if text else type(error).__name__
    return InputError(
        f"{path.name} ({path.stat().st_size} bytes) is damaged or cut short, and cannot be read as a {kind} file: "
        f"{reason}.",
        hint="Get the file again and compare its size and checksum (gliolake weights list).",
    )
