"""Runs tasks on the workers of a Dask cluster, and commits their results as they arrive.

The lake is the checkpoint, not the scheduler: tasks are small, at most a few per worker run at once, and each future is
released as soon as its result arrives. (Dask would run the finished tasks of a killed worker again if their futures
were kept.)
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from gliolake.cluster.environment_check import environment_fingerprint, on_like_worker
from gliolake.cluster.failures import fault_of_all
from gliolake.cluster.timeouts import GOES_ON, MOST_THREADS, ThreadCount, next_outcome, went_away, while_waiting
from gliolake.errors import ClusterError, GliolakeError
from gliolake.log.journal import logger
from gliolake.log.progress import track

if TYPE_CHECKING:
    from distributed import Client, Future

Item = TypeVar("Item")
Result = TypeVar("Result")

TASKS_PER_THREAD = 2
"""Tasks handed out for each thread: one at work and one waiting, so that no worker idles and none hoards."""


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

    A failed item does not stop the others. One that raises is run again, at most ``retries`` times, unless it raises
    what a person has to put right; one whose worker dies is run again by Dask, up to its ``allowed-failures``. Since
    Dask lays a death at the door of every task that was with the worker, an item that it gave up is run again in the
    end, with no other item under way: a worker that dies then died of it. A progress bar shows on standard error.

    Args:
        resources: What a worker must have to run an item (Dask's abstract resources), and how much of it: then it is of
            a pool (``gliolake.cluster.pool``), whose environment is another.

    Raises:
        ClusterError: the scheduler went away, or all workers that could do it, for longer than
            ``gliolake.cluster.timeouts``; a worker that joined is unlike this process; or a task raised it.
    """
    from dask.utils import funcname
    from distributed import KilledWorker, LocalCluster

    task = function
    if not isinstance(client.cluster, LocalCluster):
        apart = resources is not None
        task = partial(on_like_worker, tuple(environment_fingerprint(apart=apart).items()), apart, function)

    def submit(item: Item) -> Future[Result | GliolakeError]:
        key = f"{funcname(function)}-{uuid.uuid4().hex}"
        return client.submit(_answer, task, item, key=key, pure=False, retries=retries, resources=resources)

    given_up: list[Item] = []
    with track(description, len(items)) as advance:
        for item, outcome in _together(client, submit, items, resources):
            if isinstance(outcome, KilledWorker):
                given_up.append(item)
                continue
            advance()
            yield item, outcome
        if given_up:
            fields = {"doing": description, "items": len(given_up), "because": "workers died"}
            logger.warning("trying again", extra={"fields": fields})
        for lonely in given_up:
            for item, outcome in _together(client, submit, [lonely], resources):
                advance()
                yield item, outcome


def _answer(function: Callable[[Item], Result], item: Item) -> Result | GliolakeError:
    """On a worker: what a person has to put right is an outcome. Of what is raised Dask shows a traceback there."""
    try:
        return function(item)
    except GliolakeError as error:
        return error


def _together(
    client: Client,
    submit: Callable[[Item], Future[Result]],
    items: Iterable[Item],
    resources: Mapping[str, float] | None,
) -> Iterator[tuple[Item, Result | Exception]]:
    """Outcomes as they come, with a few items per thread under way; workers that join meanwhile get their share."""
    from concurrent.futures import CancelledError

    import dask
    from distributed.scheduler import NoValidWorkerError, NoWorkerError

    waiting = iter(items)
    outcomes: SimpleQueue[tuple[Future[Result], Result | Exception]] = SimpleQueue()
    item_of: dict[Future[Result], Item] = {}
    most_threads, threads = dask.config.get(MOST_THREADS, 0), ThreadCount(client)
    loop: Any = client.loop  # a client that is open has one

    async def fetch(future: Future[Result]) -> None:
        """In the client's event loop: a result is lost with its worker, and may be long in coming a second time."""
        try:
            outcomes.put((future, await future))
        except Exception as error:  # whatever a task raises is its outcome, and judged where outcomes are taken
            outcomes.put((future, error))

    def hand_out() -> None:
        room = max(1, most_threads, threads()) * TASKS_PER_THREAD
        while len(item_of) < room:
            try:
                item = next(waiting)
            except StopIteration:
                return
            future = submit(item)
            item_of[future] = item
            loop.add_callback(fetch, future)

    hand_out()
    while item_of:
        future, outcome = next_outcome(client, outcomes, resources, meanwhile=hand_out)
        if isinstance(outcome, CancelledError):  # nobody here cancels: the scheduler that knew the task is gone
            raise went_away() from outcome
        if isinstance(outcome, (NoWorkerError, NoValidWorkerError)):  # a cluster of others may be less patient
            raise ClusterError(f"No worker could be found for the work: {outcome}", hint=GOES_ON) from outcome
        if fault := fault_of_all(outcome):  # the worker, or the whole cluster
            raise fault
        # Else a result, the task's own error, or KilledWorker, which belong to this item alone.
        item = item_of.pop(future)
        future.release()
        hand_out()
        yield item, outcome


def commit_in_batches(
    outcomes: Iterable[Result],
    commit: Callable[[list[Result]], None],
    most: int,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Gather outcomes as they come, and commit them when there are ``most`` or ``seconds`` have passed.

    The second is so while the next outcome is waited for too, however long that takes: a crash costs no more. Where the
    outcomes end in an error, those before it are committed first.
    """
    batch: list[Result] = []
    since = clock()

    def flush() -> None:
        nonlocal batch
        done, batch = batch, []
        if done:
            commit(done)

    def look() -> None:
        nonlocal since
        if len(batch) >= most or clock() - since >= seconds:
            flush()
            since = clock()

    try:
        with while_waiting(look):
            for outcome in outcomes:
                batch.append(outcome)
                look()
    except Exception:
        flush()
        raise
    flush()
