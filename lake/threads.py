"""One thread for torch, where the same bits have to come out on every machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Inside, torch computes on one thread: its sums come out otherwise on another number of them.

    More cores are used by more worker processes, and by loops that give each core whole fits.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
