"""Workers in another Python environment: for libraries that cannot be imported beside gliolake's.

Such workers announce a Dask resource, and a task that requires it runs only there. Both sides need the same Dask and
this project; numpy and other packages may differ, so a task carries no arrays.
"""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gliolake.cluster.certificates import certificates_in
from gliolake.cluster.client import open_cluster, pool_workers
from gliolake.cluster.local import DEATHS, NO_WORKERS_SECONDS, unwatched
from gliolake.cluster.timeouts import PATIENCE
from gliolake.config import EMBEDDED, choose_cluster
from gliolake.errors import ClusterError, InputError
from gliolake.process import private_folders as private
from gliolake.process.signals import temporary_folder

if TYPE_CHECKING:
    from distributed import Client

SECONDS_TO_START = 120.0
SECONDS_TO_STOP = 10.0


@dataclass(frozen=True)
class Environment:
    """Another environment.

    Attributes:
        python: Its interpreter.
        resource: The Dask resource that its workers announce, one of it each.
        remedy: What to do where it is missing.
    """

    python: Path
    resource: str
    remedy: str

    def command(self, scheduler: str, folder: str | None = None) -> list[str]:
        """The command that starts one worker; also what a person runs to add one to a cluster of theirs."""
        options = ["--nworkers", "1", "--nthreads", "1", "--resources", f"{self.resource}=1", "--no-dashboard"]
        # -P: the folder in which the command happens to run is no place to import from.
        start = [str(self.python), "-P", "-m", "dask", "worker", scheduler, *options]
        return start if folder is None else [*start, "--local-directory", folder, "--death-timeout", "60"]


@contextmanager
def open_pool(environment: Environment, scheduler: str | None = None, workers: int | None = None) -> Iterator[Client]:
    """A client of a Dask cluster that has workers of this environment.

    Args:
        environment: Where they come from.
        scheduler, workers: See ``gliolake.cluster.client.open_cluster``. A cluster that is not of this machine has to
            have such workers already, or to start with them ([cluster.slurm], python and worker_arguments).

    Raises:
        InputError: ``workers`` is not positive.
        ClusterError: the environment is missing, its workers do not start, or the running cluster has none of them.
    """
    import dask
    from distributed import Client, LocalCluster

    chosen = choose_cluster(scheduler, workers)
    if chosen.scheduler != EMBEDDED:
        with ExitStack() as stack:
            with warnings.catch_warnings():
                # Dask remarks that numpy differs; here that is the point, and the recipes' versions are compared.
                warnings.filterwarnings("ignore", message="Mismatched versions found")
                client = stack.enter_context(open_cluster(scheduler, workers, pool=environment.resource))
            if not pool_workers(client, environment.resource):
                raise ClusterError(
                    f"The Dask cluster at {chosen.scheduler} has no worker with the resource {environment.resource}.",
                    hint=f"Start one: {shlex.join(environment.command(chosen.scheduler))}",
                )
            yield client
        return
    count = chosen.workers or len(os.sched_getaffinity(0))
    settings = {"distributed.scheduler.allowed-failures": DEATHS - 1, PATIENCE: NO_WORKERS_SECONDS, **unwatched()}
    with (
        dask.config.set(settings),
        certificates_in(private.temporary_folder("pool")) as security,
        LocalCluster(
            n_workers=0,
            security=security,
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
            silence_logs=logging.ERROR,
        ) as cluster,
        Client(cluster) as client,
        start_workers(client, environment, count),
    ):
        yield client


@contextmanager
def start_workers(client: Client, environment: Environment, count: int) -> Iterator[None]:
    """Inside, ``count`` worker processes of the environment serve this client's scheduler.

    Raises:
        InputError: ``count`` is not positive.
        ClusterError: the environment is missing, or a worker ended or stayed silent; its last words are shown.
    """
    if count < 1:
        raise InputError(f"--workers is {count}; it has to be at least 1.")
    if not environment.python.is_file():
        raise ClusterError(f"There is no {environment.python} to start workers with.", hint=environment.remedy)
    with temporary_folder("pool") as folder, ExitStack() as running:
        command = environment.command(str(client.scheduler_info(n_workers=-1)["address"]), str(folder))
        command += _certificates(client)
        logs = [folder / f"worker-{number}.log" for number in range(count)]
        processes = [running.enter_context(_process(command, log)) for log in logs]
        wanted = len(pool_workers(client, environment.resource)) + count
        deadline = time.monotonic() + SECONDS_TO_START
        while len(pool_workers(client, environment.resource)) < wanted:
            for process, log in zip(processes, logs, strict=True):
                if process.poll() is not None or time.monotonic() > deadline:
                    said = log.read_text("utf-8", "replace").strip().splitlines() or ["nothing"]
                    raise ClusterError(
                        f"A worker of {environment.python} did not start. It said: {said[-1]}", hint=environment.remedy
                    )
            time.sleep(0.1)
        yield


def _certificates(client: Client) -> list[str]:
    """Options by which a worker joins the cluster of this client; none where it speaks without certificates."""
    files = client.security.get_tls_config_for_role("worker")
    pairs = (("--tls-ca-file", "ca_file"), ("--tls-cert", "cert"), ("--tls-key", "key"))
    return [word for option, name in pairs if files.get(name) for word in (option, files[name])]


@contextmanager
def _process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as file:
        safe = {**os.environ, "PYTHONSAFEPATH": "1"}
        process = subprocess.Popen(command, env=safe, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(SECONDS_TO_STOP)
        process.kill()
        process.wait()
