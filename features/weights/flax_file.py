"""Arrays of a flax checkpoint, read without flax, without pickle and without copying.

A checkpoint of ``flax.training.checkpoints`` is one msgpack map of maps (flax/serialization.py). A leaf that is an
array is an extension of type 1, whose data are again msgpack: [shape, name of the dtype, the bytes in C order]. A
scalar array has type 3. The file is mapped into memory, walked once, and of each array only its place is kept: a
checkpoint with the optimiser's state in it costs no more memory than the arrays that are used.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gliolake import limits
from gliolake.errors import InputError

DEEPEST = 32
"""Maps within maps that are followed; a checkpoint of scenic has 7."""

ARRAY, SCALAR = 1, 3

FIXED = dict(zip(range(0xCA, 0xD4), (">f", ">d", ">B", ">H", ">I", ">Q", ">b", ">h", ">i", ">q"), strict=True))
"""Numbers by their first byte (github.com/msgpack/msgpack/blob/master/spec.md)."""

BLOBS = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I", 0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}
"""Byte strings (C4–C6) and texts (D9–DB): how their length is written."""


@dataclass(frozen=True)
class StoredArray:
    """An array where it lies in the file."""

    dtype: str
    shape: tuple[int, ...]
    data: memoryview

    def read(self) -> npt.NDArray[np.float32]:
        """The array as float32, a view of the file where it is stored so.

        Raises:
            InputError: it holds no floating-point numbers, or its bytes do not fill its shape.
        """
        width = {"float32": 4, "float16": 2, "bfloat16": 2, "float64": 8}.get(self.dtype)
        if width is None:
            raise InputError(f"An array of dtype {self.dtype} cannot be a network's weights.")
        if math.prod(self.shape) * width != len(self.data):
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
    with limits.open_regular(path) as file:
        if not path.stat().st_size:
            raise InputError(f"{path.name} is empty.")
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    arrays: dict[str, StoredArray] = {}
    try:
        reader = _Reader(view)
        top = reader.item(arrays, (), 0)
    except (struct.error, IndexError, UnicodeDecodeError, _NotFlax) as error:
        raise InputError(
            f"{path.name} is not a whole flax checkpoint (msgpack): {error or 'it ends too early'}.",
            hint="Get the file again; its size should be the one that the server names.",
        ) from None
    if not isinstance(top, dict) or reader.at != len(view):
        raise InputError(f"{path.name} is not a flax checkpoint: it does not consist of one msgpack map.")
    return arrays


class _NotFlax(Exception):
    pass


class _Reader:
    """Reads msgpack items one after the other. Maps come back empty: their arrays went to ``arrays``.

    An array's own data are read by a reader that is ``inner``: no array holds others.
    """

    def __init__(self, view: memoryview, *, inner: bool = False) -> None:
        self.view = view
        self.at = 0
        self.inner = inner
        self.left = limits.TENSORS

    def item(self, arrays: dict[str, StoredArray], path: tuple[str, ...], depth: int) -> Any:
        if depth > DEEPEST:
            raise _NotFlax(f"maps are nested more than {DEEPEST} deep")
        self.left -= 1
        if self.left < 0:
            raise _NotFlax(f"it has more than {limits.TENSORS:,} items")
        head = self.view[self.at]
        self.at += 1
        if 0x80 <= head < 0x90 or head in {0xDE, 0xDF}:
            self._map(self._count(head, 0x80, 0xDE), arrays, path, depth)
            return {}
        if 0x90 <= head < 0xA0 or head in {0xDC, 0xDD}:
            count = self._count(head, 0x90, 0xDC)
            return [self.item(arrays, (*path, str(index)), depth + 1) for index in range(count)]
        if not self.inner and (0xC7 <= head <= 0xC9 or 0xD4 <= head <= 0xD8):
            return self._extension(head, arrays, path)
        return self._plain(head)

    def _plain(self, head: int) -> Any:
        """A number, a text, bytes, true, false or nothing."""
        if head < 0x80 or head >= 0xE0:
            return head if head < 0x80 else head - 256
        if 0xA0 <= head < 0xC0:
            return str(self._bytes(head - 0xA0), "utf-8")
        if head in BLOBS:
            blob = self._bytes(self._number(BLOBS[head]))
            if head >= 0xD9 and len(blob) > limits.TENSORS:
                raise _NotFlax(f"a text has {len(blob):,} bytes")
            return str(blob, "utf-8") if head >= 0xD9 else blob
        if head in FIXED:
            return self._number(FIXED[head])
        constants = {0xC0: None, 0xC2: False, 0xC3: True}
        if head not in constants:
            raise _NotFlax(f"byte {head:#x} begins nothing that may stand there")
        return constants[head]

    def _count(self, head: int, small: int, large: int) -> int:
        """Items of a map or list, whose number stands in the head, or in the two or four bytes after it."""
        if head < large:
            return head - small
        count: int = self._number(">H" if head == large else ">I")
        return count

    def _map(self, count: int, arrays: dict[str, StoredArray], path: tuple[str, ...], depth: int) -> None:
        for _ in range(count):
            key = self.item(arrays, path, depth + 1)
            if not isinstance(key, str):
                raise _NotFlax("a key is not text")
            self.item(arrays, (*path, key), depth + 1)

    def _extension(self, head: int, arrays: dict[str, StoredArray], path: tuple[str, ...]) -> None:
        length = 1 << (head - 0xD4) if head >= 0xD4 else self._number({0xC7: ">B", 0xC8: ">H", 0xC9: ">I"}[head])
        kind = self._number(">b")
        data = self._bytes(length)
        if kind in {ARRAY, SCALAR}:
            arrays["/".join(path)] = _stored(data)

    def _number(self, layout: str) -> Any:
        number = struct.unpack_from(layout, self.view, self.at)[0]
        self.at += struct.calcsize(layout)
        return number

    def _bytes(self, length: int) -> memoryview:
        if self.at + length > len(self.view):
            raise _NotFlax(f"it ends {self.at + length - len(self.view)} bytes too early")
        self.at += length
        return self.view[self.at - length : self.at]


def _stored(data: memoryview) -> StoredArray:
    fields = _Reader(data, inner=True).item({}, (), 0)
    if not isinstance(fields, list) or len(fields) != 3 or not isinstance(fields[0], list):
        raise _NotFlax("an array lacks its shape, dtype or bytes")
    shape, dtype, buffer = fields
    if isinstance(dtype, memoryview):
        dtype = str(dtype[: limits.NAME], "ascii")
    whole = all(isinstance(edge, int) and edge >= 0 for edge in shape) and len(shape) <= DEEPEST
    if not whole or not isinstance(dtype, str) or not isinstance(buffer, memoryview):
        raise _NotFlax("an array has no proper shape, dtype or bytes")
    return StoredArray(dtype, tuple(shape), buffer)
