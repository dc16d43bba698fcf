"""A Dask cluster that is up before a command comes to it, as people have who name it with --scheduler."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from distributed import Client, LocalCluster

from gliolake.cluster.local import same_environment

if TYPE_CHECKING:
    from distributed import Security


@contextmanager
def standing_cluster(workers: int = 1, security: Security | None = None) -> Iterator[Client]:
    """A client of it; ``client.scheduler.address`` is where. Without certificates unless some are given."""
    with (
        same_environment(),
        LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=40, security=security
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client
