"""TFRecords: what is written is read, and what is damaged is named by its record and byte."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gliolake import limits
from gliolake.errors import InputError
from gliolake.ingest.readers.tfrecord import masked_crc32c, read_examples
from tests.support.full import examples

FIXTURES = {"suppress_health_check": [HealthCheck.function_scoped_fixture]}

FEATURE = st.one_of(
    st.binary(max_size=60),
    st.lists(st.floats(width=32, allow_nan=False), max_size=20).map(lambda v: np.array(v, np.float32)),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20).map(lambda v: np.array(v, np.int64)),
)


def test_the_checksum_is_crc32c() -> None:
    assert masked_crc32c(b"123456789") == (((0xE3069283 >> 15) | (0xE3069283 << 17)) + 0xA282EAD8) % 2**32


@given(examples=st.lists(st.dictionaries(st.text(max_size=8), FEATURE, max_size=4), max_size=3))
@settings(max_examples=examples(60), deadline=None, **FIXTURES)
def test_what_is_written_is_read(tmp_path: Path, tfrecords: Any, examples: list[dict[str, Any]]) -> None:
    path = tfrecords.file(tmp_path / "a.tfrecords", *examples)
    read = list(read_examples(path))
    assert len(read) == len(examples)
    for found, given_ in zip(read, examples, strict=True):
        assert set(found) == set(given_)
        for name, value in given_.items():
            expected = np.frombuffer(value, np.uint8) if isinstance(value, bytes) else value
            assert found[name].dtype == expected.dtype
            assert np.array_equal(found[name], expected)


@given(data=st.binary(max_size=200))
@settings(max_examples=examples(300), deadline=None, **FIXTURES)
def test_random_bytes_in_a_sound_frame_are_read_or_refused_in_words(
    tmp_path: Path, tfrecords: Any, data: bytes
) -> None:
    path = tmp_path / "a.tfrecords"
    path.write_bytes(tfrecords.record(data))
    try:
        (example,) = read_examples(path)
    except InputError:
        return
    assert all(isinstance(value, np.ndarray) for value in example.values())


@given(data=st.binary(min_size=1, max_size=200))
@settings(max_examples=examples(100), deadline=None, **FIXTURES)
def test_random_bytes_are_no_tfrecord(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.tfrecords"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.tfrecords: record 1, at byte 0"):
        list(read_examples(path))


def test_numbers_need_not_be_packed(tmp_path: Path, tfrecords: Any) -> None:
    value = b"\x0d" + struct.pack("<f", 1.5) + b"\x0d" + struct.pack("<f", -2.0)
    whole = b"\x08\x05\x08\x07"
    entries = [
        tfrecords._field(1, tfrecords._field(1, name) + tfrecords._field(2, tfrecords._field(kind, content)))
        for name, kind, content in ((b"f", 2, value), (b"n", 3, whole))
    ]
    path = tmp_path / "a.tfrecords"
    path.write_bytes(tfrecords.record(tfrecords._field(1, b"".join(entries))))
    (example,) = read_examples(path)
    assert example["f"].tolist() == [1.5, -2.0]
    assert example["n"].tolist() == [5, 7]


DAMAGE = {
    "cut inside the second record": (lambda b, at: b[: at + 500], "record 2, at byte {at}, breaks off"),
    "cut inside a length": (lambda b, at: b[: at + 5], "record 2, at byte {at}, breaks off inside its length"),
    "cut before the last checksum ends": (lambda b, at: b[:-1], "record 2, at byte {at}, breaks off"),
    "a flipped bit of data": (
        lambda b, at: b[: at + 90] + bytes([b[at + 90] ^ 4]) + b[at + 91 :],
        "data that does not agree",
    ),
    "a flipped bit of a length": (
        lambda b, at: b[:at] + bytes([b[at] ^ 1]) + b[at + 1 :],
        "length that does not agree",
    ),
    "bytes at the end": (lambda b, at: b + b"\0", "record 3"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named_by_file_record_and_byte(tmp_path: Path, tfrecords: Any, damage: str) -> None:
    spoil, message = DAMAGE[damage]
    path = tfrecords.file(tmp_path / "a.tfrecords", tfrecords.vectors(0, 1), tfrecords.vectors(1, 0))
    content = path.read_bytes()
    at = len(content) // 2
    path.write_bytes(spoil(content, at))
    examples = read_examples(path)
    assert len(next(examples)["DF_T1"]) == 1600
    with pytest.raises(InputError) as caught:
        list(examples)
    assert message.format(at=f"{at:,}") in str(caught.value)
    assert "a.tfrecords" in str(caught.value)
    assert "Download it again" in caught.value.hint


def test_a_length_of_terabytes_is_refused_before_it_is_read(tmp_path: Path, tfrecords: Any) -> None:
    length = struct.pack("<Q", 1 << 42)
    path = tmp_path / "a.tfrecords"
    path.write_bytes(length + tfrecords._masked(length) + b"x" * 100)
    with pytest.raises(InputError, match=f"the limit is {limits.RECORD:,}"):
        list(read_examples(path))
