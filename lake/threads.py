"""How many threads: one for torch, where the same bits have to come out on every machine; else a fair share."""

from __future__ import annotations

import os
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


def calls_at_once() -> int:
    """How many computations of one thread each this process may have at work: a Dask worker as many as it has threads,
    any other process one per core that it may run on."""
    from distributed import get_worker

    try:
        return int(get_worker().state.nthreads)
    except ValueError:  # not on a worker
        return len(os.sched_getaffinity(0))
