"""The tensors of MXNet's networks, from a ``.params`` file or drawn for a seed, under the names that torch's have.

GluonCV's two zoos define the same networks, layer by layer, so a tensor has one name here whichever engine computes:
``bn1.gamma`` is torch's ``bn1.weight``, and of the several names that I3D has for a layer the first in torch is taken.

A ``.params`` file is what ``Block.save_parameters`` writes (mxnet/src/ndarray/ndarray.cc): a magic number, the arrays
with their shapes and types, their names. It is read here rather than by MXNet: on either side of the cluster, nothing
in it can be executed, and a damaged one is refused by name.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import re
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from gliolake import limits
from gliolake.errors import InputError
from gliolake.process.signals import temporary_folder

Tensor = npt.NDArray[np.float32]
Shapes = Mapping[str, tuple[int, ...]]

LIST_MAGIC = struct.pack("<QQ", 0x112, 0)
"""The first 16 bytes of a ``.params`` file."""

ARRAY_MAGICS = {0xF993FAC9, 0xF993FACA}
"""An array of MXNet 1, with legacy or with numpy's shapes."""

TYPES = {0: "<f4", 1: "<f8", 2: "<f2"}
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, ValueError)
"""What reading a damaged or encrypted zip archive raises."""

BOTTLENECK = ("conv1", "bn1", "relu", "conv2", "bn2", "relu", "conv3", "bn3", "nonlocal_block")
ALIASES = {"head.1.": "fc.", ".W_bn.0.": ".W.", ".W_bn.1.": ".bn.", ".gamma": ".weight", ".beta": ".bias"}


def shared_name(name: str) -> str:
    """The name of a tensor of GluonCV's MXNet or torch network, by which both know it."""
    name = re.sub(r"\bbottleneck\.([0-8])\.", lambda found: BOTTLENECK[int(found[1])] + ".", name)
    for alias, shared in ALIASES.items():
        name = name.replace(alias, shared)
    return name


def untrained_tensor(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    """The numbers that ``gliolake.features.weights.untrained`` gives to this tensor, bit for bit, drawn without torch.

    torch's generator is the Mersenne twister begun with the key's lower 32 bits; a number is 24 bits of its output.

    Args:
        name: Its shared name.
        shape: Its shape.
        seed: Of ``untrained:SEED``.
    """
    if len(shape) < 2:
        return np.full(shape, name.endswith((".weight", "running_var")), np.float32)
    word = hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8]
    key = int.from_bytes(word, "little") >> 1 & 0xFFFFFFFF
    bits = np.random.RandomState(key).randint(0, 2**32, math.prod(shape), np.uint32) & 0xFFFFFF
    deviation = np.float32(2 * math.sqrt(3) * (1 / math.sqrt(math.prod(shape[1:]))))
    return ((bits.astype(np.float32) / np.float32(2**24) - np.float32(0.5)) * deviation).reshape(shape)


def read_params(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.params`` file by their shared names, float32.

    Raises:
        InputError: there is no such file, or it is damaged, cut short or of another kind.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    try:
        with path.open("rb") as file:
            if file.read(16) != LIST_MAGIC:
                raise ValueError("it does not begin as such a file does")
            arrays = [_array(file) for _ in range(_count(file))]
            names = [_name(file) for _ in range(_count(file))]
            if len(names) != len(arrays) or file.read(1):
                raise ValueError(f"it has {len(arrays)} arrays, {len(names)} names, and more behind them")
    except (ValueError, struct.error) as error:
        raise InputError(
            f"{path.name} ({path.stat().st_size} bytes) is no whole .params file of MXNet: {error}.",
            hint="Get the file again and compare its size and checksum (gliolake weights list).",
        ) from None
    return {shared_name(name): array for name, array in zip(names, arrays, strict=True)}


def check_params(path: Path, name: str) -> None:
    """Read a file through, and compare its tensors with those of the network's twin in torch.

    Raises:
        InputError: it is damaged, or holds the weights of something else.
    """
    from gliolake.features.networks.registry import expected_shapes

    found = {key: value.shape for key, value in read_params(path).items()}
    check_shapes(found, {shared_name(key): shape for key, shape in expected_shapes(name).items()}, path.name, name)


def check_shapes(found: Shapes, wanted: Shapes, file: str, name: str) -> None:
    """Compare the shapes of a file's tensors, by shared names, with the network's.

    Raises:
        InputError: they are not the same.
    """
    differing = sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))
    if differing:
        key = differing[0]
        raise InputError(
            f"{file} does not hold the weights of {name}: {len(differing)} tensors differ, the first of them {key} "
            f"(in the file {found.get(key, 'absent')}, in the network {wanted.get(key, 'absent')}).",
            hint="It is of another network, or was trained for other classes than Kinetics-400's.",
        )


@contextmanager
def unpacked(archive: Path) -> Iterator[Path]:
    """The one ``.params`` file of the zip archive that GluonCV publishes, for as long as it is wanted.

    Raises:
        InputError: the archive is damaged, or holds none or several.
    """
    with temporary_folder("weights") as folder:
        try:
            with zipfile.ZipFile(archive) as packed:
                inside = [entry for entry in packed.infolist() if entry.filename.endswith(".params")]
                if len(inside) != 1:
                    raise InputError(f"{archive.name} holds {len(inside)} .params files where one is expected.")
                _check_entry(archive, inside[0])
                path = folder / PurePath(inside[0].filename).name
                with packed.open(inside[0]) as source, path.open("wb") as target:
                    shutil.copyfileobj(source, target)
        except InputError:
            raise
        except (*_DAMAGE, OSError) as error:
            if isinstance(error, OSError) and error.errno != errno.EINVAL:  # a place before the file's beginning
                raise
            raise InputError(f"{archive.name} is damaged: {error}.", hint="Get the file again.") from None
        yield path


def _check_entry(archive: Path, entry: zipfile.ZipInfo) -> None:
    """Weights hardly shrink: an entry that unpacks to many times its size holds something else."""
    most = min(limits.UNPACKED_WEIGHTS, limits.INFLATION * archive.stat().st_size)
    if entry.file_size > most or entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise InputError(
            f"{archive.name} would unpack to {entry.file_size:,} bytes; the limit for it is {most:,}.",
            hint="Get the file again.",
        )


def _array(file: BinaryIO) -> Tensor:
    magic, storage, axes = struct.unpack("<IiI", _read(file, 12))
    if magic not in ARRAY_MAGICS or storage != 0 or not 0 < axes < 8:
        raise ValueError("one of its arrays is not dense, or no array")
    shape = struct.unpack(f"<{axes}q", _read(file, 8 * axes))
    _, _, kind = struct.unpack("<iii", _read(file, 12))
    if kind not in TYPES or not all(0 < length <= limits.TENSORS for length in shape):
        raise ValueError(f"it holds an array of shape {shape} and type {kind}")
    numbers = np.frombuffer(_read(file, math.prod(shape) * np.dtype(TYPES[kind]).itemsize), TYPES[kind])
    with np.errstate(over="ignore"):
        return numbers.reshape(shape).astype(np.float32, copy=False)


def _name(file: BinaryIO) -> str:
    return _read(file, _count(file)).decode("utf-8")


def _count(file: BinaryIO) -> int:
    (count,) = struct.unpack("<Q", _read(file, 8))
    if count > limits.TENSORS:
        raise ValueError(f"it announces {count} of something")
    return int(count)


def _read(file: BinaryIO, length: int) -> bytes:
    # Asked of the file first: a damaged length must not reserve memory.
    content = file.read(length) if length <= _left(file) else b""
    if len(content) != length:
        raise ValueError("it ends too early")
    return content


def _left(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size - file.tell()
