"""The Dask workers a command runs on: processes on this machine, or a cluster that is already up.

The lake is the checkpoint, not the scheduler: tasks are small, at most a few per worker are under way at once,
and each future is released as soon as its result is here. (Kept futures make the finished
tasks of a killed worker run again.)
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from lake.errors import ClusterError, InputError
from lake.progress import track

if TYPE_CHECKING:
    from distributed import Client

Item = TypeVar("Item")
Result = TypeVar("Result")

TASKS_PER_THREAD = 2
"""Tasks handed out for each thread: one at work and one waiting, so that no worker idles and none hoards."""


@contextmanager
def open_cluster(scheduler: str | None = None, workers: int | None = None, threads: int = 1) -> Iterator[Client]:
    """A client of a Dask cluster.

    Args:
        scheduler: address of a running scheduler (``tcp://host:8786``); None starts processes on this machine.
        workers: processes to start; one per core where None. A running cluster has the workers it has.
        threads: threads of each process.

    Raises:
        InputError: an option is not usable.
        ClusterError: no scheduler answers at the address, or it has no workers.
    """
    import dask
    from distributed import Client, LocalCluster

    if workers is not None and workers < 1:
        raise InputError(f"--workers is {workers}; it has to be at least 1.")
    if scheduler is not None:
        with _connected(scheduler) as client:
            yield client
        return
    # Worker processes leave the numerical libraries one thread each: Dask decides how many tasks run at once.
    with (
        dask.config.set({"distributed.worker.daemon": True, "distributed.comm.timeouts.connect": "30s"}),
        LocalCluster(
            n_workers=workers or len(os.sched_getaffinity(0)),
            threads_per_worker=threads,
            processes=True,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.ERROR,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextmanager
def _connected(scheduler: str) -> Iterator[Client]:
    from distributed import Client

    try:
        client = Client(scheduler, timeout="15s")
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"No Dask scheduler answers at {scheduler} ({type(error).__name__}).",
            hint="Start one with `dask scheduler`, or leave --scheduler out to use this machine.",
        ) from error
    with client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            raise ClusterError(f"The Dask scheduler at {scheduler} has no workers.", hint="Start `dask worker` first.")
        yield client


def map_tasks(
    client: Client,
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    description: str,
    retries: int = 2,
) -> Iterator[tuple[Item, Result | Exception]]:
    """Run ``function`` on every item and yield (item, outcome) as they finish; an outcome may be an exception.

    A failed item does not stop the others. An item whose worker dies is run again, at most ``retries`` times
    (Dask's ``allowed-failures`` bounds it as well). A progress bar shows on standard error.
    """
    from distributed import as_completed

    room = max(1, sum(client.nthreads().values())) * TASKS_PER_THREAD
    waiting = iter(items)
    at_work = as_completed(with_results=False)
    item_of = {}

    def hand_out() -> None:
        for item in waiting:
            future = client.submit(function, item, pure=False, retries=retries)
            item_of[future.key] = item
            at_work.add(future)
            return

    for _ in range(room):
        hand_out()
    with track(description, len(items)) as advance:
        for future in at_work:
            item = item_of.pop(future.key)
            try:
                outcome = future.result()
            except Exception as error:  # the task's own error, or KilledWorker: either belongs to this item alone
                outcome = error
            future.release()
            hand_out()
            advance()
            yield item, outcome


def batches(
    outcomes: Iterable[Result], most: int, seconds: float, clock: Callable[[], float] = time.monotonic
) -> Iterator[list[Result]]:
    """Gather outcomes as they come, until there are ``most`` or ``seconds`` have passed: what a crash can cost."""
    batch: list[Result] = []
    since = clock()
    for outcome in outcomes:
        batch.append(outcome)
        if len(batch) >= most or clock() - since >= seconds:
            yield batch
            batch, since = [], clock()
    if batch:
        yield batch
