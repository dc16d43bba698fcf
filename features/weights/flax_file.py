"""Arrays of a flax checkpoint, read without flax and without pickle.

A checkpoint of ``flax.training.checkpoints`` is one msgpack map of maps (flax/serialization.py). A leaf that is an
array is an extension of type 1, whose data are again msgpack: [shape, name of the dtype, the bytes in C order]. A
scalar array has type 3. All arrays are held in memory, those of the optimiser's state too.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt

from gliolake import limits
from gliolake.errors import InputError

DEEPEST = 32
"""Maps within maps that are followed, and axes of an array; a checkpoint of scenic has 7 and 5."""

ARRAY, SCALAR = 1, 3
WIDTHS = {"float32": 4, "float16": 2, "bfloat16": 2, "float64": 8}


@dataclass(frozen=True)
class StoredArray:
    """An array as the file has it."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    def read(self) -> npt.NDArray[np.float32]:
        """The array as float32, a view of ``data`` where it is stored so.

        Raises:
            InputError: it holds no floating-point numbers, or its bytes do not fill its shape.
        """
        if self.dtype not in WIDTHS:
            raise InputError(f"An array of dtype {self.dtype} cannot be a network's weights.")
        if math.prod(self.shape) * WIDTHS[self.dtype] != len(self.data):
            raise InputError(f"An array of shape {self.shape} and dtype {self.dtype} has {len(self.data)} bytes.")
        if self.dtype == "bfloat16":  # the upper half of a float32
            numbers = (np.frombuffer(self.data, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            numbers = np.frombuffer(self.data, np.dtype(self.dtype)).astype(np.float32, copy=False)
        return numbers.reshape(self.shape)


def read_flax(path: Path) -> dict[str, StoredArray]:
    """All arrays of a checkpoint by the path of their keys, e.g. ``optimizer/target/embedding/kernel``.

    Raises:
        InputError: the file is empty, truncated, nested too deep, or no flax checkpoint.
    """
    if not path.stat().st_size:
        raise InputError(f"{path.name} is empty.")
    try:
        with limits.open_regular(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
            top = msgpack.unpackb(
                whole, ext_hook=_stored, object_hook=_Items(), max_str_len=limits.TENSORS, max_array_len=limits.NAME
            )
        if not isinstance(top, dict):
            raise ValueError("it is no msgpack map")
        return dict(_arrays(top, ()))
    except ValueError as error:
        raise InputError(
            f"{path.name} is not a whole flax checkpoint (msgpack): {error}.",
            hint="Get the file again; its size should be the one that the server names.",
        ) from None


class _Items:
    """Counts the items of all maps: those of a few bytes each need far more memory than the file has bytes."""

    def __init__(self) -> None:
        self.left = limits.TENSORS

    def __call__(self, items: dict[Any, Any]) -> dict[Any, Any]:
        self.left -= len(items) + 1
        if self.left < 0:
            raise ValueError(f"it has more than {limits.TENSORS:,} items")
        return items


def _arrays(item: Any, path: tuple[str, ...]) -> Iterator[tuple[str, StoredArray]]:
    if len(path) > DEEPEST:
        raise ValueError(f"maps are nested more than {DEEPEST} deep")
    if isinstance(item, StoredArray):
        yield "/".join(path), item
    elif isinstance(item, (dict, list)):
        for key, inner in item.items() if isinstance(item, dict) else enumerate(item):
            if isinstance(key, bytes):
                raise ValueError("a key is not text")
            yield from _arrays(inner, (*path, str(key)))


def _stored(kind: int, data: bytes) -> StoredArray | None:
    """The array in an extension; None in place of one that is no array."""
    if kind not in {ARRAY, SCALAR}:
        return None
    match msgpack.unpackb(data, max_array_len=DEEPEST, max_map_len=0):
        case [[*shape], str(dtype), bytes(buffer)] if all(isinstance(edge, int) and edge >= 0 for edge in shape):
            return StoredArray(dtype, tuple(shape), buffer)
    raise ValueError("an array has no proper shape, dtype or bytes")
