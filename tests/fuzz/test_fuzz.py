"""Every parser of strangers' files against the inputs that once broke one, and against sound ones, spoilt by chance."""

from __future__ import annotations

import resource
import signal
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.parsers import PARSERS, Parser, feed
from tests.support.full import examples

CORPUS = Path(__file__).parent / "corpus"
INPUTS = sorted(path for path in CORPUS.glob("*/*") if path.is_file())

MEMORY = 64 << 20
"""Bytes of Python objects that an input of at most some kilobytes may ask for."""

ADDRESSES = 2 << 30
"""Bytes of address space beyond which a parser gets no more, so that no input takes the machine with it."""

SLOWEST = 20
"""Seconds after which a parser hangs."""


@contextmanager
def bounded() -> Iterator[None]:
    """Fail where what is done within asks for too much memory, or does not end."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"it takes more than {SLOWEST} s")

    former, (soft, hard) = signal.signal(signal.SIGALRM, stop), resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + ADDRESSES, hard))
    signal.alarm(SLOWEST)
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGALRM, former)
    assert peak < MEMORY


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_an_input_of_the_corpus_is_read_or_refused(path: Path) -> None:
    parser = PARSERS[path.parent.name]
    feed(parser, b"")  # what is imported on first use is not the input's doing
    with bounded():
        feed(parser, path.read_bytes())


def spoilt(sound: list[bytes]) -> st.SearchStrategy[bytes]:
    """A sound input with a piece of it replaced, repeated or cut out; or chance bytes."""

    def spoil(data: bytes, at: float, length: int, new: bytes) -> bytes:
        begin = int(at * len(data))
        return data[:begin] + new + data[begin + length :]

    pieces = st.one_of(
        st.binary(max_size=9), st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\x7f" * 8, b"[" * 99, b"^(a+)+"])
    )
    return st.builds(spoil, st.sampled_from([b"", *sound]), st.floats(0, 1), st.integers(0, 12), pieces)


@pytest.mark.parametrize("name", PARSERS)
def test_a_sound_input_spoilt_by_chance_is_read_or_refused(name: str) -> None:
    sound = [path.read_bytes() for path in INPUTS if path.parent.name == name]
    assert sound, "a parser without a sound input in the corpus is hardly tried"
    parser: Parser = PARSERS[name]

    @given(data=spoilt(sound))
    @settings(max_examples=examples(25 if name == "weights" else 100), deadline=None)
    def run(data: bytes) -> None:
        feed(parser, data)

    feed(parser, b"")
    with bounded():
        run()
