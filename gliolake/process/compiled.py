"""Compiled loops of numba, cached in a folder that no other account can write to, because numba runs cached code.

A cached loop that cannot be read, or whose bytes have changed, is compiled again; without a writable cache loops are
compiled in every process. So a cache that is deleted, truncated by a crash, or damaged costs only time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar, cast

from gliolake.process.isolation import away_from_current_folder
from gliolake.process.private_folders import cache_folder

with away_from_current_folder():  # numba takes settings from a file in the current folder, when it is imported …
    import numba
    from numba.core import caching, config

config._config_fname = os.devnull  # … and whenever it compiles

Loop = TypeVar("Loop", bound=Callable[..., Any])

DIGEST = hashlib.sha256().digest_size


def njit(**options: Any) -> Callable[[Loop], Loop]:
    """``numba.njit`` with these options: a function is compiled for each signature that it is called with, and kept."""

    def decorate(loop: Loop) -> Loop:
        made = numba.njit(**options)(loop)
        made._cache = _KeptFunctions(loop)
        return cast(Loop, made)

    return decorate


class _OwnFolder(caching.UserProvidedCacheLocator):
    def __init__(self, function: Callable[..., Any], source: str) -> None:
        super().__init__(function, source)
        self._cache_path = str(cache_folder("numba") / self.get_suitable_cache_subpath(source))

    @classmethod
    def from_function(cls, function: Callable[..., Any], source: str) -> _OwnFolder:
        return cls(function, source)  # also where nothing can be kept


class _OwnFiles(caching.IndexDataCacheFile):
    """numba's files with a sha256 at the end of each, which unpickling passes over."""

    def _load_index(self) -> Any:
        _check(self._index_path)
        return super()._load_index()

    def _load_data(self, name: str) -> Any:
        _check(self._data_path(name))
        return super()._load_data(name)

    @contextmanager
    def _open_for_write(self, path: str) -> Iterator[BytesIO]:
        content = BytesIO()
        yield content
        with super()._open_for_write(path) as file:
            file.write(content.getvalue() + hashlib.sha256(content.getvalue()).digest())


def _check(path: str) -> None:
    with suppress(FileNotFoundError):
        data = Path(path).read_bytes()
        if hashlib.sha256(data[:-DIGEST]).digest() != data[-DIGEST:]:
            raise ValueError(f"{path} holds other bytes than were written.")


class _OwnPlaces(caching.CompileResultCacheImpl):
    def __init__(self, function: Callable[..., Any]) -> None:
        self._locator_classes = [_OwnFolder]
        super().__init__(function)


class _KeptFunctions(caching.FunctionCache):
    _impl_class = _OwnPlaces

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        files = self._cache_file
        self._cache_file = _OwnFiles(files._cache_path, self._impl.filename_base, files._source_stamp)

    def load_overload(self, signature: Any, context: Any) -> Any:
        """What was kept for this signature; None, as if there were nothing, if it cannot be read."""
        try:
            return super().load_overload(signature, context)
        except Exception:  # whatever a spoilt pickle, or machine code of another library, may raise
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, signature: Any, made: Any) -> None:
        """Keep it, unless the disk is full or cannot be written to."""
        with suppress(OSError):
            super().save_overload(signature, made)
