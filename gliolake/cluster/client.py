"""The Dask client of a command: local processes, a running cluster, or a cluster started for the command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gliolake.cluster.environment_check import check_environment
from gliolake.cluster.local import start_processes
from gliolake.cluster.timeouts import MOST_THREADS, PATIENCE, able_workers
from gliolake.config import EMBEDDED, KINDS, ClusterSettings, Tls, choose_cluster, settings_file, unread
from gliolake.errors import ClusterError
from gliolake.log.journal import logger

if TYPE_CHECKING:
    from distributed import Client, Security

CONNECT_SECONDS = 15
"""Seconds in which a scheduler has to answer."""


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
            check_environment(client, pool_workers(client, pool) if pool else None)
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
