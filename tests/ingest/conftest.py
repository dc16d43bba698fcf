"""Small scans on disk, a cluster for all tests of the room, and TFRecords, made without gliolake's own readers."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from gliolake.storage.lake import Lake
from tests.support.standing import standing_cluster

SHAPE = (24, 20, 16)
BRATS_SUFFIXES = {"FLAIR": "flair", "T1": "t1", "T1wCE": "t1ce", "T2": "t2", "mask": "seg"}
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


class ScanWriter:
    """Writes scans of small volumes. Each scan's voxels follow from its seed, so equal seeds are equal content."""

    shape = SHAPE
    suffixes = BRATS_SUFFIXES
    affine = LPS

    def image(self, seed: int) -> np.ndarray:
        return np.random.default_rng(seed).integers(1, 900, SHAPE, dtype=np.int16)

    def mask(self) -> np.ndarray:
        """Labels 1, 2 and 4 in the box x 3–9, y 5–12, z 2–8."""
        mask = np.zeros(SHAPE, np.uint8)
        mask[3:9, 5:12, 2:8] = 2
        mask[4:8, 6:10, 3:7] = 1
        mask[5, 7, 4] = 4
        return mask

    def save(self, path: Path, voxels: np.ndarray, affine: np.ndarray = LPS) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.Nifti1Image(voxels, affine).to_filename(path)
        return path

    def scan(
        self,
        root: Path,
        scan_id: str,
        seed: int = 0,
        *,
        pattern: str = "{scan_id}/{scan_id}_{suffix}.nii.gz",
        suffixes: Mapping[str, str] = BRATS_SUFFIXES,
    ) -> dict[str, Path]:
        """A sound scan; returns its files by role."""
        return {
            role: self.save(
                root / pattern.format(scan_id=scan_id, suffix=suffix),
                self.mask() if role == "mask" else self.image(10 * seed + number),
            )
            for number, (role, suffix) in enumerate(suffixes.items())
        }


@pytest.fixture
def writer() -> ScanWriter:
    return ScanWriter()


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Address of a cluster of one worker that the tests of a module share."""
    with standing_cluster() as client:
        yield client.scheduler.address


@pytest.fixture
def files_of() -> Callable[[Lake], dict[str, bytes]]:
    """Every file of a lake and its bytes: two equal answers mean that nothing was written."""

    def look(lake: Lake) -> dict[str, bytes]:
        root = Path(lake.root)
        return {str(file.relative_to(root)): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}

    return look


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


@pytest.fixture(scope="session")
def tfrecords() -> TfRecords:
    return TfRecords()
