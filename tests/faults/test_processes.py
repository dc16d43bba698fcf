"""An extraction whose worker, scheduler or client is killed, stopped or cut off: it ends, and the lake is as ever."""

from __future__ import annotations

import os
import random
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from gliolake.config import VARIABLE
from gliolake.features.clips import ClipSettings
from gliolake.features.extraction.command import extract
from gliolake.maintenance.verify import verify
from gliolake.storage.lake import Lake
from tests.support.full import FULL

pytestmark = pytest.mark.long

SMALL = ClipSettings(box=48, slices=40)
ENDS_WITHIN = 120
PATIENCE = 30
"""Seconds, which a worker that is started anew may need on a busy machine."""

COMMAND = """
import sys
from gliolake.features.extraction import command as extraction
from gliolake.features.clips import ClipSettings
from gliolake.errors import GliolakeError
from gliolake.storage.lake import Lake
extraction.BATCH_SCANS = 1
print("ready", flush=True)
try:
    extraction.extract(Lake(sys.argv[1]), settings=ClipSettings(box=48, slices=40), scheduler=sys.argv[2])
except GliolakeError as error:
    sys.exit(f"{error} {error.hint}")
"""

Vectors = list[tuple[str, str, str, tuple[float, ...]]]


def vectors(lake: Lake) -> Vectors:
    """Every row of table features; one that is there twice is twice in the list."""
    rows = lake.read("features").to_pylist()
    return sorted((row["feature_set"], row["scan_id"], row["modality"], tuple(row["values"])) for row in rows)


@pytest.fixture(scope="module")
def undisturbed(ingested: Path, tmp_path_factory: pytest.TempPathFactory) -> Vectors:
    """What an extraction leaves that nothing happens to."""
    root = tmp_path_factory.mktemp("undisturbed") / "lake"
    shutil.copytree(ingested, root)
    extract(Lake(root), settings=SMALL, workers=1)
    return vectors(Lake(root))


class Wire:
    """Passes bytes between whoever connects and ``target``, until it is cut: then nothing comes and nobody is told."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.target = target
        self.cut = self.closed = False
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        other: dict[socket.socket, socket.socket] = {}
        with selectors.DefaultSelector() as selector:
            selector.register(self.listener, selectors.EVENT_READ)
            while not self.closed:
                for key, _ in selector.select(0.05):
                    end = key.fileobj
                    assert isinstance(end, socket.socket)
                    if end is self.listener:
                        near, _ = end.accept()
                        try:
                            far = socket.create_connection(self.target)
                        except ConnectionError:
                            near.close()
                            continue
                        other |= {near: far, far: near}
                        selector.register(near, selectors.EVENT_READ)
                        selector.register(far, selectors.EVENT_READ)
                    elif data := _received(end):
                        if not self.cut:
                            with suppress(OSError):
                                other[end].sendall(data)
                    else:
                        selector.unregister(end)
                        if not self.cut:
                            with suppress(OSError):
                                other[end].shutdown(socket.SHUT_WR)
        for end in (*other, self.listener):
            end.close()


def _received(end: socket.socket) -> bytes:
    try:
        return end.recv(1 << 16)
    except ConnectionError:
        return b""


class Cluster:
    """A scheduler and two workers, each in processes of its own; the second worker is reached over a wire."""

    def __init__(self, stack: ExitStack) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        self.scheduler = self._start(stack, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
        until(lambda: self.scheduler.poll() is not None or _answers(port))
        self.wire = Wire(("127.0.0.1", port))
        self.wire.thread.start()
        stack.callback(self._close_wire)
        over_wire = f"tcp://127.0.0.1:{self.wire.listener.getsockname()[1]}"
        self.stack = stack
        self.nannies = [self.add_worker(address) for address in (self.address, over_wire)]

    def add_worker(self, address: str) -> subprocess.Popen[bytes]:
        """A worker and its nanny."""
        return self._start(self.stack, "worker", address, "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1")

    def _start(self, stack: ExitStack, kind: str, *arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments],
            # Dask takes a worker for lost after five minutes of silence; a test has seconds.
            env={**os.environ, "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "6s"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        stack.callback(_end, process)
        return process

    def _close_wire(self) -> None:
        self.wire.closed = True
        self.wire.thread.join()

    def workers(self) -> list[psutil.Process]:
        """The processes that compute, without the nannies that watch over them."""
        children = [child for nanny in self.nannies for child in psutil.Process(nanny.pid).children()]
        return [child for child in children if any("spawn_main" in part for part in child.cmdline())]


def until(reached: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def _answers(port: int) -> bool:
    with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    family = [*psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []
    process.kill()
    process.wait()
    for member in family:
        if member.is_running():
            member.kill()


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A cluster with its two workers there."""
    from distributed import Client

    with ExitStack() as stack:
        made = Cluster(stack)
        with Client(made.address, timeout=30) as client:
            client.wait_for_workers(2, timeout=60)
        yield made


def kill_worker(cluster: Cluster, client: subprocess.Popen[str], choice: random.Random) -> None:
    choice.choice(cluster.workers()).kill()


def stop_worker(cluster: Cluster, client: subprocess.Popen[str], choice: random.Random) -> None:
    choice.choice(cluster.workers()).send_signal(signal.SIGSTOP)


def kill_scheduler(cluster: Cluster, client: subprocess.Popen[str], choice: random.Random) -> None:
    cluster.scheduler.kill()


def kill_client(cluster: Cluster, client: subprocess.Popen[str], choice: random.Random) -> None:
    client.kill()


def cut_wire(cluster: Cluster, client: subprocess.Popen[str], choice: random.Random) -> None:
    cluster.wire.cut = True


def stop_scheduler(cluster: Cluster, client: subprocess.Popen[str], choice: random.Random) -> None:
    cluster.scheduler.send_signal(signal.SIGSTOP)


def kill_all_workers(cluster: Cluster, client: subprocess.Popen[str], choice: random.Random) -> None:
    for nanny in cluster.nannies:
        _end(nanny)


def replace_workers(cluster: Cluster, client: subprocess.Popen[str], choice: random.Random) -> None:
    kill_all_workers(cluster, client, choice)
    cluster.add_worker(cluster.address)


Harm = Callable[[Cluster, subprocess.Popen[str], random.Random], None]
TIMES = {
    kill_worker: 17, kill_scheduler: 17, kill_client: 17, stop_worker: 3, cut_wire: 3, stop_scheduler: 3,
    kill_all_workers: 3, replace_workers: 3,
}  # fmt: skip
HARMS = TIMES if FULL else (kill_scheduler, stop_worker, cut_wire)
"""tests/features kills workers and commands each time, and tests/lake has schedulers and workers that stay away."""


@pytest.mark.faults
@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_an_extraction_disturbed_at_any_moment_ends_and_run_again_leaves_what_an_undisturbed_one_leaves(
    ingested: Path, undisturbed: Vectors, tmp_path: Path, record_property: Any, harm: Harm
) -> None:
    choice, times = random.Random(0), TIMES[harm] if FULL else 1
    for number in range(times):
        root = tmp_path / str(number)
        shutil.copytree(ingested, root)
        with cluster() as made:
            ended, told = disturbed(root, made, harm, choice)
        assert ended in (0, 1, -signal.SIGKILL), told
        if ended == 1:
            assert "Run the same command again" in told.splitlines()[-1]
        if ended:
            extract(Lake(root), settings=SMALL, workers=1)
        lake = Lake(root)
        assert vectors(lake) == undisturbed
        assert not any(finding.is_damage for finding in verify(lake, grace=0).findings)
    record_property(f"faults: {harm.__name__.replace('_', ' ')}", times)


def disturbed(root: Path, cluster: Cluster, harm: Harm, choice: random.Random) -> tuple[int, str]:
    """How the command ended, and what it said, when it was harmed at some moment of its work."""
    settings = root.with_suffix(".toml")
    settings.write_text(f"[cluster]\npatience = {PATIENCE}\n")
    client = subprocess.Popen(
        [sys.executable, "-c", COMMAND, root, cluster.address],
        env={**os.environ, VARIABLE: str(settings)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        assert client.stdout is not None
        assert client.stdout.readline() == "ready\n"
        lake, reached = Lake(root), Lake(root).version + choice.randint(0, 8)
        until(lambda: client.poll() is not None or lake.version >= reached)  # a commit for each of 11 scans
        time.sleep(choice.uniform(0, 0.1))
        harm(cluster, client, choice)
        _, told = client.communicate(timeout=ENDS_WITHIN)
        return client.returncode, told
    finally:
        client.kill()
        client.wait()
