"""Time-outs of cluster operations.

Dask waits for ever, both for lost workers and for a scheduler that hangs. A queue of SLURM or Kubernetes may be long,
and a machine may restart, so gliolake waits too, but for a limited time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from gliolake.errors import ClusterError

if TYPE_CHECKING:
    from distributed import Client

Outcome = TypeVar("Outcome")

PATIENCE = "gliolake.patience"
"""Key of Dask's configuration: seconds without a worker, or a word of the scheduler, after which a command ends."""

MOST_THREADS = "gliolake.most-threads"
"""Key of Dask's configuration: threads that a cluster may come to have, where their number follows the work."""

LOOK = 1.0
"""Seconds after which workers are counted again."""

GOES_ON = "What was committed stays. Run the same command again: it goes on from there."


_MEANWHILE: ContextVar[tuple[Callable[[], None], ...]] = ContextVar("meanwhile", default=())


@contextmanager
def while_waiting(look: Callable[[], None]) -> Iterator[None]:
    """Inside, this is called every second in which an outcome is waited for, and none comes."""
    token = _MEANWHILE.set((*_MEANWHILE.get(), look))
    try:
        yield
    finally:
        _MEANWHILE.reset(token)


def next_outcome(
    client: Client,
    outcomes: SimpleQueue[Outcome],
    resources: Mapping[str, float] | None,
    *,
    meanwhile: Callable[[], None],
) -> Outcome:
    """The next of the queue; waits for it while there are workers with these resources, or may be again.

    ``meanwhile`` is called every second of waiting, since workers may have joined.

    Raises:
        ClusterError: there were none for too long, or the scheduler is gone or hangs.
    """
    staffed = time.monotonic()
    while True:
        try:
            return outcomes.get(timeout=LOOK)
        except Empty:
            for look in _MEANWHILE.get():
                look()
        now = time.monotonic()
        if able_workers(client, resources):
            staffed = now
        elif now - staffed >= _patience():
            which = f" with {', '.join(resources)}" if resources else ""
            raise ClusterError(
                f"The cluster at {_address(client)} has had no workers{which} for {_patience():g} s.", hint=GOES_ON
            )
        meanwhile()


class ThreadCount:
    """How many tasks a cluster can have at work. Workers come and go, so they are counted anew: once a second, since
    to ask for each task would cost the scheduler about what the task does."""

    def __init__(self, client: Client) -> None:
        self.client, self.threads, self.counted = client, 0, -math.inf

    def __call__(self) -> int:
        """The number of threads of all workers.

        Raises:
            ClusterError: the scheduler is gone or hangs.
        """
        if time.monotonic() - self.counted >= LOOK:
            self.threads = ask(self.client, "identity", n_workers=0)["total_threads"]
            self.counted = time.monotonic()
        return self.threads


def able_workers(client: Client, resources: Mapping[str, float] | None = None) -> list[str]:
    """Addresses of the cluster's workers that announce all of these resources, and as much of them.

    Raises:
        ClusterError: the scheduler is gone or hangs.
    """
    workers = ask(client, "identity", n_workers=-1)["workers"]
    return [
        address
        for address, worker in workers.items()
        if all(worker["resources"].get(name, 0) >= amount for name, amount in (resources or {}).items())
    ]


def ask(client: Client, question: str, **about: Any) -> Any:
    """What the scheduler answers; the question is the name of one of its methods.

    Raises:
        ClusterError: it is gone, or says nothing for too long.
    """
    with answered(client) as seconds:
        return client.sync(getattr(client.scheduler, question), callback_timeout=seconds, **about)


@contextmanager
def answered(client: Client) -> Iterator[float]:
    """Inside, the scheduler is asked something, and has to answer within the seconds that this yields.

    Raises:
        ClusterError: it is gone, or says nothing for too long.
    """
    try:
        yield _patience()
    except TimeoutError as error:
        raise ClusterError(
            f"The Dask scheduler at {_address(client)} has not answered for {_patience():g} s.", hint=GOES_ON
        ) from error
    except OSError as error:  # Dask's own closed connections are among them
        raise went_away() from error


def went_away() -> ClusterError:
    """The error for a scheduler that is gone."""
    return ClusterError("The Dask scheduler went away.", hint=GOES_ON)


def _patience() -> float:
    import dask

    return float(dask.config.get(PATIENCE, 600))


def _address(client: Client) -> str:
    return str(getattr(client.scheduler, "addr", ""))
