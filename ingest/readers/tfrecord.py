"""TFRecord files of ``tf.train.Example`` messages, read without TensorFlow.

Framing, from tensorflow/core/lib/io/record_writer.h: length (uint64), masked crc32c of the length (uint32), data,
masked crc32c of the data (uint32), all little-endian. Message, from tensorflow/core/example/{example,feature}.proto:
``Example{1: Features{1: map<string, Feature{1: bytes | 2: float | 3: int64 list}>}}``, protocol buffer wire format.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gliolake import limits
from gliolake.errors import InputError

_POLYNOMIAL = 0x82F63B78  # Castagnoli, bits reversed
_MASK_DELTA = 0xA282EAD8
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5


class _Malformed(ValueError):
    """What is wrong with one record; the reader adds where."""


def read_examples(path: str | Path) -> Iterator[dict[str, np.ndarray]]:
    """The examples of a file, in order: each a mapping of feature names to 1-D arrays.

    A float list comes as float32, an int64 list as int64, a bytes list as uint8 (its values joined): what such bytes
    mean is for the caller to know.

    Raises:
        InputError: the file cannot be read, is truncated or damaged, or holds other messages; names the record and
            its byte offset. Examples before the damage have been yielded by then.
    """
    number, offset = 1, 0
    try:
        with limits.open_regular(path) as file:
            while header := file.read(12):
                data = _data(header, file.read(_length(header) + 4))
                yield _example(data)
                number, offset = number + 1, offset + len(data) + 16
    except _Malformed as error:
        raise InputError(
            f"{path}: record {number}, at byte {offset:,}, {error}.",
            hint="The file is damaged, or no TFRecord of tf.train.Example. Download it again and compare its size.",
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", hint="Check the path.") from error


def masked_crc32c(data: bytes) -> int:
    """The masked CRC-32C that TFRecord keeps of its lengths and data."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (_POLYNOMIAL if crc & 1 else 0)
        table.append(crc)
    return table


_CRC_TABLE = _crc_table()


def _length(header: bytes) -> int:
    if len(header) < 12:
        raise _Malformed("breaks off inside its length")
    if masked_crc32c(header[:8]) != int.from_bytes(header[8:], "little"):
        raise _Malformed("has a length that does not agree with its checksum")
    length = int.from_bytes(header[:8], "little")
    if length > limits.RECORD:
        raise _Malformed(f"claims a length of {length:,} bytes; the limit is {limits.RECORD:,}")
    return length


def _data(header: bytes, rest: bytes) -> bytes:
    length = int.from_bytes(header[:8], "little")
    if len(rest) < length + 4:
        raise _Malformed(f"breaks off: {length:,} bytes and a checksum are announced, {len(rest):,} bytes follow")
    data = rest[:length]
    if masked_crc32c(data) != int.from_bytes(rest[length:], "little"):
        raise _Malformed("has data that does not agree with its checksum")
    return data


def _example(data: bytes) -> dict[str, np.ndarray]:
    features: dict[str, np.ndarray] = {}
    for field, value in _fields(data):
        if field == 1:
            for inner, entry in _fields(_bytes(value)):
                if inner == 1:
                    name, feature = _entry(_bytes(entry))
                    features[name] = feature
    return features


def _entry(data: bytes) -> tuple[str, np.ndarray]:
    """A map entry: field 1 is the name, field 2 the Feature."""
    name, feature = b"", np.empty(0, np.float32)
    for field, value in _fields(data):
        if field == 1:
            name = _bytes(value)
        elif field == 2:
            for kind, values in _fields(_bytes(value)):
                if kind in (1, 2, 3):
                    feature = _list(kind, _bytes(values))
    try:
        return name.decode(), feature
    except UnicodeDecodeError as error:
        raise _Malformed("names a feature in bytes that are not UTF-8") from error


def _list(kind: int, data: bytes) -> np.ndarray:
    """A BytesList (1), FloatList (2) or Int64List (3), numbers packed or not."""
    values = [value for field, value in _fields(data) if field == 1]
    if kind == 3:
        whole = [n for value in values for n in ([value] if isinstance(value, int) else _varints(value))]
        return np.array([n - (1 << 64) if n >> 63 else n for n in whole], np.int64)
    joined = b"".join(_bytes(value) for value in values)
    if kind == 1:
        return np.frombuffer(joined, np.uint8)
    if len(joined) % 4:
        raise _Malformed(f"holds a float list of {len(joined)} bytes, which is no multiple of 4")
    return np.frombuffer(joined, "<f4").astype(np.float32)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message: number, and the value as an int (varint) or as its bytes."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        field, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            number, position = _varint(data, position)
            yield field, number
            continue
        if wire == _DELIMITED:
            size, position = _varint(data, position)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise _Malformed(f"is no tf.train.Example: it holds a field of unknown type {wire}")
        if size > len(data) - position:
            raise _Malformed("is no tf.train.Example: a field is longer than the message that holds it")
        yield field, data[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """The number that begins at ``position``, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, position
    raise _Malformed("is no tf.train.Example: a number in it has no end")


def _varints(data: bytes) -> Iterator[int]:
    position = 0
    while position < len(data):
        value, position = _varint(data, position)
        yield value


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise _Malformed("is no tf.train.Example: a number stands where a message is expected")
    return value
