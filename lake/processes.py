"""Worker processes on this machine, for as long as a command runs."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lake.journal import settings_of_workers
from lake.patience import PATIENCE
from lake.settings import ClusterSettings

if TYPE_CHECKING:
    from distributed import LocalCluster

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
    from distributed import LocalCluster
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
        **settings_of_workers(),
    }
    # Worker processes leave the numerical libraries one thread each: Dask decides how many tasks run at once.
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=chosen.least if chosen.most else number,
            threads_per_worker=chosen.threads or 1,
            processes=True,
            memory_limit=MEMORY_LIMIT // number,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.ERROR,
        ) as cluster,
    ):
        yield cluster


def fitting_workers(memory: int) -> int:
    """Worker processes for this machine: one per core, fewer where each would not find ``memory`` bytes, never none."""
    import psutil
    from distributed.system import MEMORY_LIMIT

    cores = len(os.sched_getaffinity(0))
    free = min(psutil.virtual_memory().available, MEMORY_LIMIT)
    return max(1, min(cores, free // memory)) if memory else cores
