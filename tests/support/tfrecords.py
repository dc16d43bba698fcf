"""TFRecords, made without gliolake's own reader."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


class TfRecords:
    """Encodes tf.train.Example messages and their framing, from the published formats."""

    names = ("DF_FLAIR", "DF_T1", "DF_T1CE", "DF_T2", "DF_DETAL_T1")

    def record(self, data: bytes) -> bytes:
        length = struct.pack("<Q", len(data))
        return length + self._masked(length) + data + self._masked(data)

    def example(self, features: Mapping[str, Any]) -> bytes:
        """bytes -> bytes list, float array -> packed float list, int array -> packed int64 list."""
        entries = b"".join(
            self._field(1, self._field(1, name.encode()) + self._field(2, self._feature(value)))
            for name, value in features.items()
        )
        return self._field(1, entries)

    def vectors(self, seed: int, label: int) -> dict[str, bytes]:
        """A record as the study writes it: float32 and int32 as bytes."""
        numbers = np.random.default_rng(seed).random((5, 400), np.float32)
        vectors = {name: row.astype("<f4").tobytes() for name, row in zip(self.names, numbers, strict=True)}
        return vectors | {"Label": struct.pack("<i", label)}

    def file(self, path: Path, *examples: Mapping[str, Any]) -> Path:
        path.write_bytes(b"".join(self.record(self.example(example)) for example in examples))
        return path

    def _feature(self, value: Any) -> bytes:
        if isinstance(value, bytes):
            return self._field(1, self._field(1, value))
        if value.dtype.kind == "f":
            return self._field(2, self._field(1, value.astype("<f4").tobytes()))
        return self._field(3, self._field(1, b"".join(self._varint(int(n) % (1 << 64)) for n in value)))

    def _field(self, number: int, data: bytes) -> bytes:
        return self._varint(number << 3 | 2) + self._varint(len(data)) + data

    def _varint(self, number: int) -> bytes:
        out = bytearray()
        while number > 127:
            out.append(number & 127 | 128)
            number >>= 7
        return bytes([*out, number])

    def _masked(self, data: bytes) -> bytes:
        # Bit by bit, as the polynomial is defined, where the reader has a table.
        crc = 0xFFFFFFFF
        for byte in data:
            crc ^= byte
            for _ in range(8):
                crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        crc ^= 0xFFFFFFFF
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
