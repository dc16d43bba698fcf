"""Compiled loops are kept for the next process, and whatever has become of what was kept costs time alone."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

LOOP = """
import sys
sys.path.insert(0, {folder!r})
from loop import twice
print(twice(21), sum(twice.stats.cache_hits.values()))
"""


class Cache:
    """A loop in a file of its own, run in processes of their own that share a cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "loop.py").write_text(
            "from gliolake.process.compiled import njit\n"
            "\n@njit(nogil=True)\ndef twice(number):\n    return 2 * number\n"
        )

    def run(self, **environment: str) -> str:
        """What the loop gives, and how often it came out of the cache."""
        environment = {**os.environ, "XDG_CACHE_HOME": str(self.folder), **environment}
        command = [sys.executable, "-c", LOOP.format(folder=str(self.folder))]
        done = subprocess.run(
            command, env=environment, cwd=self.folder, capture_output=True, encoding="utf-8", check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def files(self, kind: str) -> list[Path]:
        return sorted(self.folder.rglob(f"*.{kind}"))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the loop and a cache that holds it."""
    made = Cache(tmp_path_factory.mktemp("kept"))
    assert made.run() == "42 0"
    assert made.run() == "42 1"
    return made.folder


@pytest.fixture
def cache(kept: Path) -> Iterator[Cache]:
    """The same for one test."""
    before = {file: file.read_bytes() for kind in ("nbi", "nbc") for file in kept.rglob(f"*.{kind}")}
    yield Cache(kept)
    for file, data in before.items():
        if file.is_dir():
            file.rmdir()
        file.write_bytes(data)


def emptied(data: bytes) -> bytes:
    return data[:0]


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flipped(data: bytes) -> bytes:
    return data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]


def of_something_else(_: bytes) -> bytes:
    return pickle.dumps("0.0.0") + pickle.dumps((1, {}))


def random(_: bytes) -> bytes:
    return b"\x80" + bytes(range(256)) * 8


@pytest.mark.parametrize(
    ("kind", "spoilt"),
    [
        ("nbi", emptied), ("nbi", cut), ("nbi", of_something_else), ("nbc", emptied), ("nbc", flipped), ("nbc", random),
    ],
)  # fmt: skip
def test_what_was_spoilt_is_compiled_anew(cache: Cache, kind: str, spoilt: Callable[[bytes], bytes]) -> None:
    for file in cache.files(kind):
        file.write_bytes(spoilt(file.read_bytes()))
    assert cache.run() == "42 0"
    for made in (*cache.files("nbi"), *cache.files("nbc")):
        data = made.read_bytes()
        assert data[-32:] == hashlib.sha256(data[:-32]).digest()


def test_a_cache_that_cannot_be_read_or_written_is_done_without(cache: Cache) -> None:
    for file in cache.files("nbi"):
        file.unlink()
        file.mkdir()  # neither can be done to it, not even by root
    assert cache.run() == "42 0"


def test_a_file_of_settings_in_the_current_folder_is_not_read(cache: Cache) -> None:
    settings = cache.folder / ".numba_config.yaml"
    settings.write_text("disable_jit: 1\ncache_dir: stranger\n")
    for file in cache.files("nbc"):
        file.unlink()
    assert cache.run() == "42 0", "it is read when numba is imported, and again when it compiles"
    settings.unlink()
    assert not (cache.folder / "stranger").exists()


def test_without_a_home_it_is_kept_among_temporary_files_and_never_beside_the_source(cache: Cache) -> None:
    temporary = cache.folder / "tmp"
    temporary.mkdir()
    nowhere = {"HOME": "/nonexistent", "XDG_CACHE_HOME": "", "TMPDIR": str(temporary)}
    assert [cache.run(**nowhere) for _ in range(2)] == ["42 0", "42 1"]
    assert list(temporary.glob(f"gliolake-{os.geteuid()}/numba/*/loop.twice*.nbc"))
    assert not list(cache.folder.glob("__pycache__/*.nb?"))
    assert not Path("/nonexistent").exists()
