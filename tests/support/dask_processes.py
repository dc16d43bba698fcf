"""A Dask cluster of processes on this machine, as `dask scheduler` and `dask worker` start one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from gliolake.errors import ClusterError


@contextmanager
def process(command: list[str], folder: Path, log: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / log).open("wb") as file:
        started = subprocess.Popen(
            [sys.executable, *command], cwd=folder, stderr=file, stdout=file, env={**os.environ, **variables}
        )
    try:
        yield started
    finally:
        started.kill()
        started.wait()


@contextmanager
def cluster(folder: Path, role: Mapping[str, list[str]], workers: int = 1) -> Iterator[str]:
    """Address of a scheduler of processes on this machine, with workers. ``role`` has further options of each."""
    file = folder / "scheduler.json"
    with ExitStack() as running:
        dask = ["-m", "dask"]
        quiet = ["--port", "0", "--scheduler-file", str(file)]
        running.enter_context(process([*dask, "scheduler", *quiet, *role["scheduler"]], folder, "scheduler.log"))
        address = json.loads(until(file.read_bytes))["address"]
        for number in range(workers):
            command = [*dask, "worker", address, "--no-nanny", *role["worker"]]
            running.enter_context(process(command, folder, f"worker{number}.log"))
        yield address


def until(look: Any, seconds: float = 60) -> Any:
    """What ``look`` returns once it finds something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(OSError, ValueError, ClusterError):
            if found := look():
                return found
        time.sleep(0.1)
    raise AssertionError("it took too long")
