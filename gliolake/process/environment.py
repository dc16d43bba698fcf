"""Environment variables of this process and of its child processes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


@contextmanager
def variables_put_back(names: Iterable[str]) -> Iterator[None]:
    """Afterwards these variables are what they were before, or absent if they were."""
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
