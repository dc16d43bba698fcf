"""The Dask workers a command runs on: processes on this machine, a cluster that is up, or one that is started for it.

The lake is the checkpoint, not the scheduler: tasks are small, at most a few per worker are under way at once,
and each future is released as soon as its result is here. (Kept futures make the finished
tasks of a killed worker run again.)
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection, HTTPException
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from gliolake.cluster.environment_check import check_surroundings, on_like_worker, surroundings
from gliolake.cluster.failures import fault_of_all
from gliolake.cluster.local import start_processes
from gliolake.cluster.timeouts import (
    GOES_ON,
    PATIENCE,
    ThreadCount,
    able_workers,
    next_outcome,
    went_away,
    while_waiting,
)
from gliolake.config import EMBEDDED, KINDS, ClusterSettings, Tls, choose_cluster, settings_file, unread
from gliolake.errors import ClusterError, GliolakeError
from gliolake.log.journal import logger
from gliolake.log.progress import track

if TYPE_CHECKING:
    from distributed import Client, Future, Security

Item = TypeVar("Item")
Result = TypeVar("Result")

TASKS_PER_THREAD = 2
"""Tasks handed out for each thread: one at work and one waiting, so that no worker idles and none hoards."""

CONNECT_SECONDS = 15
"""Seconds in which a scheduler has to answer."""

MOST_THREADS = "gliolake.most-threads"
"""Key of Dask's configuration: threads that a cluster may come to have, where their number follows the work."""


@contextmanager
def open_cluster(
    scheduler: str | None = None,
    workers: int | None = None,
    threads: int | None = None,
    memory: int = 0,
    *,
    pool: str = "",
) -> Iterator[Client]:
    """A client of a Dask cluster whose workers compute what this process would. gliolake.toml fills in for options.

    Args:
        scheduler: address of a running scheduler (``tls://host:8786``), ``embedded`` for processes on this machine, or
            ``slurm`` or ``kubernetes``, as ``gliolake.config`` has it.
        workers: processes to start; where nothing says, one per core, or as many as there is memory for.
        threads: tasks that each process has under way at once; one where nothing says.
        memory: bytes that a process is expected to need, 0 where it does not matter.
            A running cluster has the workers it has: the last three are for this machine.
        pool: the Dask resource of workers of another environment (``gliolake.cluster.pool``), where only they are to
            work.

    Raises:
        InputError: an option is not usable, or the settings file is faulty.
        ClusterError: no scheduler answers at the address, it has no workers, or one of them is unlike this process.
    """
    import dask

    chosen = choose_cluster(scheduler, workers, threads)
    file = settings_file()
    if not file and scheduler is None and unread():
        logger.info(f"The work is done on this machine.{unread()}")
    if file and chosen.scheduler != EMBEDDED:
        logger.info(f"The cluster is {chosen.scheduler}, with {file}.")
    opened = _started(chosen, memory) if chosen.scheduler in KINDS else _connected(chosen.scheduler, chosen.tls)
    with dask.config.set({PATIENCE: chosen.patience}), opened as client:
        if chosen.scheduler != EMBEDDED:
            check_surroundings(client, pool_workers(client, pool) if pool else None)
        yield client


@contextmanager
def _started(chosen: ClusterSettings, memory: int) -> Iterator[Client]:
    """A cluster for this command alone; from when its first worker is there, if it is of SLURM or Kubernetes."""
    from distributed import Client

    from gliolake.cluster.jobs import start_cluster

    own = start_processes(chosen, memory) if chosen.scheduler == EMBEDDED else start_cluster(chosen)
    with own as cluster, Client(cluster) as client, _staffed(cluster, chosen):
        if chosen.scheduler != EMBEDDED:
            _await_worker(client, chosen)
        yield client


def _await_worker(client: Client, chosen: ClusterSettings) -> None:
    try:
        client.wait_for_workers(1, timeout=chosen.patience)
    except TimeoutError:
        raise ClusterError(
            f"No worker came from {chosen.scheduler} within {chosen.patience} s.",
            hint="Look at its queue and the workers' logs; 'patience' in [cluster] waits longer.",
        ) from None


@contextmanager
def _staffed(cluster: Any, chosen: ClusterSettings) -> Iterator[None]:
    """Inside, the cluster has the workers that were asked for, or a number of them that follows the work."""
    import dask

    if chosen.most:
        cluster.adapt(minimum=chosen.least or 1, maximum=chosen.most)
    elif chosen.scheduler != EMBEDDED:
        cluster.scale(chosen.workers or 1)
    with dask.config.set({MOST_THREADS: chosen.most * (chosen.threads or 1)}):
        yield


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
def _connected(scheduler: str, tls: Tls | None) -> Iterator[Client]:
    from distributed import Client

    if not scheduler.startswith(("tls://", "inproc://")):
        open_to_all = "speaks without certificates: whoever reaches it can run code here and on its workers."
        logger.warning(f"{scheduler} {open_to_all}")
    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS, security=_security(scheduler, tls))
    except (OSError, ValueError, TypeError) as error:  # a TypeError: tls:// without certificates
        hint = "Start one with `dask scheduler`, or leave --scheduler out to use this machine."
        if scheduler.startswith("tls://"):
            hint = "Do it and you have certificates of one authority? See [cluster.tls] in deploy/gliolake.toml."
        raise ClusterError(f"No Dask scheduler answers at {scheduler} ({type(error).__name__}).", hint=hint) from error
    with client:
        if not able_workers(client):
            raise ClusterError(f"The Dask scheduler at {scheduler} has no workers.", hint="Start `dask worker` first.")
        yield client


def _security(scheduler: str, tls: Tls | None) -> Security | None:
    """Certificates for a tls:// address; None leaves them to Dask's own configuration."""
    from distributed import Security

    if tls is None or not scheduler.startswith("tls://"):
        return None
    files = {"tls_ca_file": tls.ca_file, "tls_client_cert": tls.certificate, "tls_client_key": tls.key}
    return Security(**{name: str(file) for name, file in files.items()}, require_encryption=True)


def pool_workers(client: Client, resource: str) -> list[str]:
    """Addresses of the cluster's workers that announce this resource."""
    return able_workers(client, {resource: 1})


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
        task = partial(on_like_worker, tuple(surroundings(apart=apart).items()), apart, function)

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
