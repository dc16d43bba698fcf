"""Worker processes on this machine, for as long as a command runs."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from gliolake.cluster.timeouts import PATIENCE
from gliolake.config import ClusterSettings
from gliolake.errors import ClusterError
from gliolake.log.journal import is_kept, settings_of_workers
from gliolake.process.environment import variables_put_back
from gliolake.process.private_folders import temporary_folder
from gliolake.process.signals import out_of_reach
from gliolake.process.threads import while_any_is_inside

if TYPE_CHECKING:
    from distributed import LocalCluster
    from tornado.ioloop import IOLoop

DEATHS = 3
"""Workers that may die at an item before it is given up, in company and again alone."""

NO_WORKERS_SECONDS = 60
"""Without any worker for so long, a cluster of our own has lost them: one that dies while it starts is not replaced."""

KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": 1 << 32, "MALLOC_MMAP_THRESHOLD_": 1 << 30}
"""Bytes. Dask has its workers hand every freed 64 kB back to the system, and a network that asks for the same hundred
megabytes at every layer then spends as much time on page faults as on arithmetic. So they keep what they had."""


@contextmanager
def start_processes(chosen: ClusterSettings, memory: int) -> Iterator[LocalCluster]:
    """A cluster of processes, one per core where nothing says, fewer where each would not find ``memory`` bytes."""
    import dask
    from distributed import LocalCluster, Security
    from distributed.system import MEMORY_LIMIT

    number = chosen.most or chosen.workers or fitting_workers(memory)
    settings = {
        "distributed.worker.daemon": True,
        "distributed.comm.timeouts.connect": "30s",
        "distributed.scheduler.allowed-failures": DEATHS - 1,
        PATIENCE: NO_WORKERS_SECONDS,
        # Dask looks 15 s later whether a worker that died is back, and gives it up if it has just died once more.
        "distributed.deploy.lost-worker-timeout": "1000 days",
        **{f"distributed.nanny.pre-spawn-environ.{name}": size for name, size in KEEP_MEMORY.items()},
        "distributed.nanny.pre-spawn-environ.PYTHONSAFEPATH": 1,
        **private_scratch(),
        **unwatched(chosen.dashboard),
        **settings_of_workers(),
    }
    # Their errors are outcomes, or told in the journal; as they end, they complain of each other.
    quiet = logging.ERROR if is_kept() else logging.CRITICAL
    # Worker processes leave the numerical libraries one thread each: Dask decides how many tasks run at once.
    with dask.config.set(settings), same_environment(), loop_out_of_reach() as loop, ExitStack() as running:
        try:
            cluster = LocalCluster(
                n_workers=chosen.least or 1 if chosen.most else number,
                threads_per_worker=chosen.threads or 1,
                processes=True,
                memory_limit=MEMORY_LIMIT // number,
                security=Security.temporary(),
                scheduler_kwargs={"dashboard": chosen.dashboard, "dashboard_address": "127.0.0.1:0"},
                silence_logs=quiet,
                loop=loop,
            )
        except (RuntimeError, OSError) as error:
            raise ClusterError(
                f"{number} worker processes did not start ({type(error).__name__}: {error}).",
                hint="Is there memory for them, and may this account start processes? --workers starts fewer.",
            ) from error
        yield running.enter_context(cluster)


def private_scratch() -> dict[str, str]:
    """Dask's configuration for workers to spill where nobody else can read, or hold a lock that they would wait for."""
    import dask

    return {"temporary-directory": str(temporary_folder("dask", dask.config.get("temporary-directory", None)))}


def unwatched(watched: bool = False) -> dict[str, list[str]]:
    """Dask's configuration for schedulers and workers that serve no pages: whoever has an account here could read them,
    and paths of files and names of scans may stand there."""
    return {} if watched else {"distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []}


@while_any_is_inside
@contextmanager
def same_environment() -> Iterator[None]:
    """Afterwards variables that Dask sets for its workers are as before: it sets them in this process and leaves them.

    What a notebook starts next would else not import from its own folder, and compute on one thread.
    """
    import dask

    with variables_put_back({"PYTHONHASHSEED", *dask.config.get("distributed.nanny.pre-spawn-environ")}):
        yield


@contextmanager
def loop_out_of_reach() -> Iterator[IOLoop]:
    """An event loop whose thread, and all processes that it starts, are ``out_of_reach``."""
    from distributed.utils import LoopRunner

    runner = LoopRunner()
    with out_of_reach():
        runner.start()
    try:
        yield runner.loop
    finally:
        runner.stop()


def fitting_workers(memory: int) -> int:
    """Worker processes for this machine: one per core, fewer where each would not find ``memory`` bytes, never none."""
    import psutil
    from distributed.system import MEMORY_LIMIT

    cores = len(os.sched_getaffinity(0))
    free = min(psutil.virtual_memory().available, MEMORY_LIMIT)
    return max(1, min(cores, free // memory)) if memory else cores
