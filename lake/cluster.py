"""The Dask workers a command runs on: processes on this machine, or a cluster that is already up.

The lake is the checkpoint, not the scheduler: tasks are small, at most a few per worker are under way at once,
and each future is released as soon as its result is here. (Kept futures make the finished
tasks of a killed worker run again.)
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from lake.errors import ClusterError, InputError
from lake.progress import track

if TYPE_CHECKING:
    from distributed import Client, Future

Item = TypeVar("Item")
Result = TypeVar("Result")

TASKS_PER_THREAD = 2
"""Tasks handed out for each thread: one at work and one waiting, so that no worker idles and none hoards."""

DEATHS = 3
"""Workers that may die at an item before it is given up, in company and again alone."""

NO_WORKERS_SECONDS = 60
"""Without any worker for so long, a cluster of our own has lost them: one that dies while it starts is not replaced."""

KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": 1 << 32, "MALLOC_MMAP_THRESHOLD_": 1 << 30}
"""Bytes. Dask has its workers hand every freed 64 kB back to the system, and a network that asks for the same hundred
megabytes at every layer then spends as much time on page faults as on arithmetic. So they keep what they had."""


@contextmanager
def open_cluster(
    scheduler: str | None = None, workers: int | None = None, threads: int | None = None, memory: int = 0
) -> Iterator[Client]:
    """A client of a Dask cluster.

    Args:
        scheduler: address of a running scheduler (``tcp://host:8786``); None starts processes on this machine.
        workers: processes to start; where None, one per core, or as many as there is memory for.
        threads: tasks that each process has under way at once; one where None.
        memory: bytes that a process is expected to need, 0 where it does not matter.
            A running cluster has the workers it has: the last three are for this machine.

    Raises:
        InputError: an option is not usable.
        ClusterError: no scheduler answers at the address, or it has no workers.
    """
    import dask
    from distributed import Client, LocalCluster
    from distributed.system import MEMORY_LIMIT

    for option, value in (("--workers", workers), ("--threads", threads)):
        if value is not None and value < 1:
            raise InputError(f"{option} is {value}; it has to be at least 1.")
    if scheduler is not None:
        with _connected(scheduler) as client:
            yield client
        return
    number = workers or fitting_workers(memory)
    settings = {
        "distributed.worker.daemon": True,
        "distributed.comm.timeouts.connect": "30s",
        "distributed.scheduler.allowed-failures": DEATHS - 1,
        "distributed.scheduler.no-workers-timeout": f"{NO_WORKERS_SECONDS}s",
        # Dask looks 15 s later whether a worker that died is back, and gives it up if it has just died once more.
        "distributed.deploy.lost-worker-timeout": "1000 days",
        **{f"distributed.nanny.pre-spawn-environ.{name}": size for name, size in KEEP_MEMORY.items()},
    }
    # Worker processes leave the numerical libraries one thread each: Dask decides how many tasks run at once.
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=number,
            threads_per_worker=threads or 1,
            processes=True,
            memory_limit=MEMORY_LIMIT // number,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.ERROR,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def fitting_workers(memory: int) -> int:
    """Worker processes for this machine: one per core, fewer where each would not find ``memory`` bytes, never none."""
    import psutil
    from distributed.system import MEMORY_LIMIT

    cores = len(os.sched_getaffinity(0))
    free = min(psutil.virtual_memory().available, MEMORY_LIMIT)
    return max(1, min(cores, free // memory)) if memory else cores


def dashboard_of(client: Client) -> str | None:
    """Address of the page that shows the cluster at work; None where nobody serves it, e.g. for want of bokeh."""
    link = client.dashboard_link
    if not link:
        return None
    address = urlsplit(link)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=5)
    try:
        # Without bokeh the page itself answers, and says that there is none; this list of its plots does not.
        connection.request("GET", address.path.removesuffix("status") + "individual-plots.json")
        return link if connection.getresponse().status == 200 else None
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


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
    resources: Mapping[str, float] | None = None,
) -> Iterator[tuple[Item, Result | Exception]]:
    """Run ``function`` on every item and yield (item, outcome) as they finish; an outcome may be an exception.

    A failed item does not stop the others. One that raises is run again, at most ``retries`` times; one whose worker
    dies is run again by Dask, up to its ``allowed-failures``. Since Dask lays a death at the door of every task that
    was with the worker, an item that it gave up is run again in the end, with no other item under way: a worker that
    dies then died of it. A progress bar shows on standard error.

    Args:
        resources: What a worker must have to run an item (Dask's abstract resources), and how much of it.

    Raises:
        ClusterError: the scheduler went away, or all workers did; or a task raised it.
    """
    from distributed import KilledWorker

    def submit(item: Item) -> Future[Result]:
        return client.submit(function, item, pure=False, retries=retries, resources=resources)

    given_up: list[Item] = []
    with track(description, len(items)) as advance:
        for item, outcome in _together(client, submit, items):
            if isinstance(outcome, KilledWorker):
                given_up.append(item)
                continue
            advance()
            yield item, outcome
        for lonely in given_up:
            for item, outcome in _together(client, submit, [lonely]):
                advance()
                yield item, outcome


def _together(
    client: Client, submit: Callable[[Item], Future[Result]], items: Iterable[Item]
) -> Iterator[tuple[Item, Result | Exception]]:
    """Outcomes as they come, with a few items per thread under way; workers that join meanwhile get their share."""
    from concurrent.futures import CancelledError

    from distributed import as_completed
    from distributed.scheduler import NoValidWorkerError, NoWorkerError

    waiting = iter(items)
    at_work = as_completed(with_results=False)
    item_of: dict[object, Item] = {}

    def hand_out() -> None:
        try:
            room = max(1, sum(client.nthreads().values())) * TASKS_PER_THREAD
        except OSError as error:  # Dask's own closed connections are among them
            raise _went_away() from error
        while len(item_of) < room:
            try:
                item = next(waiting)
            except StopIteration:
                return
            future = submit(item)
            item_of[future.key] = item
            at_work.add(future)

    hand_out()
    for future in at_work:
        item = item_of.pop(future.key)
        outcome: Result | Exception
        try:
            outcome = future.result()
        except CancelledError as error:  # nobody here cancels: the scheduler that knew the task is gone
            raise _went_away() from error
        except (NoWorkerError, NoValidWorkerError) as error:
            raise ClusterError(
                f"No worker could be found for the work: {error}",
                hint="What was committed stays. Run the same command again: it goes on from there.",
            ) from error
        except ClusterError:  # a task's word that its worker, or the whole cluster, is at fault, and no item
            raise
        except Exception as error:  # the task's own error, or KilledWorker: either belongs to this item alone
            outcome = error
        future.release()
        hand_out()
        yield item, outcome


def _went_away() -> ClusterError:
    return ClusterError(
        "The Dask scheduler went away.",
        hint="What was committed stays. Run the same command again: it goes on from there.",
    )


def batches(
    outcomes: Iterable[Result], most: int, seconds: float, clock: Callable[[], float] = time.monotonic
) -> Iterator[list[Result]]:
    """Gather outcomes as they come, until there are ``most`` or ``seconds`` have passed: what a crash can cost.

    Where the outcomes end in an error, those before it are still a batch.
    """
    batch: list[Result] = []
    since = clock()
    ended: Exception | None = None
    try:
        for outcome in outcomes:
            batch.append(outcome)
            if len(batch) >= most or clock() - since >= seconds:
                yield batch
                batch, since = [], clock()
    except Exception as error:
        ended = error
    if batch:
        yield batch
    if ended is not None:
        raise ended
