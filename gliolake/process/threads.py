"""Thread counts: one for libraries whose results must be bit-identical everywhere, else a fair share of the cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from threading import Lock


def while_any_is_inside(
    setting: Callable[[], AbstractContextManager[object]],
) -> Callable[[], AbstractContextManager[None]]:
    """A setting of the whole process that the first to enter makes and the last to leave undoes.

    Several tasks of a Dask worker that has several threads would else undo it for each other in mid-work.
    """
    lock, made, inside = Lock(), ExitStack(), 0

    @contextmanager
    def shared() -> Iterator[None]:
        nonlocal inside
        with lock:
            if inside == 0:
                made.enter_context(setting())
            inside += 1
        try:
            yield
        finally:
            with lock:
                inside -= 1
                if inside == 0:
                    made.close()

    return shared


@while_any_is_inside
def one_blas_thread() -> AbstractContextManager[object]:
    """Inside, matrix products and the like of numpy and scipy are computed on one thread."""
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(1, user_api="blas")
    return limits


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Inside, torch computes on one thread: its sums come out otherwise on another number of them. It keeps that number
    for each thread of a process apart.

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
