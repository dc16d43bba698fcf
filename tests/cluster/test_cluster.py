"""Dask workers: real processes, real deaths."""

from __future__ import annotations

import fcntl
import json
import multiprocessing.spawn
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import dask
import psutil
import pytest
from distributed.config import defaults

from gliolake.cluster import client as cluster
from gliolake.cluster import local as processes
from gliolake.cluster.certificates import certificates_in
from gliolake.cluster.client import dashboard_of, open_cluster
from gliolake.cluster.local import DEATHS, fitting_workers
from gliolake.cluster.tasks import TASKS_PER_THREAD, commit_in_batches, map_tasks
from gliolake.cluster.timeouts import PATIENCE
from gliolake.config import FILE, VARIABLE
from gliolake.errors import ClusterError, InputError, StorageFull
from tests.support.standing import standing_cluster

if TYPE_CHECKING:
    from distributed import Client


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with open_cluster(workers=2) as opened:
        yield opened


def halve(number: int) -> int:
    if number % 2:
        raise InputError(f"{number} is odd.", hint="Give an even number.")
    return number // 2


def die_the_first_time(marker: str) -> str:
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def test_every_item_has_one_outcome_and_a_failure_stays_its_own(client: Client) -> None:
    outcomes = dict(map_tasks(client, halve, range(40), description="halving"))
    assert {n: outcome for n, outcome in outcomes.items() if n % 2 == 0} == {n: n // 2 for n in range(0, 40, 2)}
    odd = outcomes[7]
    assert isinstance(odd, InputError)
    assert (str(odd), odd.hint) == ("7 is odd.", "Give an even number.")


def test_what_dask_sets_for_its_workers_does_not_stay_in_the_environment_of_who_started_them() -> None:
    program = (
        "if __name__ == '__main__':\n"
        "    import os\n"
        "    from gliolake.cluster.client import open_cluster\n"
        "    before = dict(os.environ, NEW='mine')\n"
        "    for _ in range(2):\n"
        "        with open_cluster(workers=1) as client:\n"
        "            os.environ['NEW'] = 'mine'\n"
        "            assert client.submit(os.environ.get, 'PYTHONSAFEPATH').result() == '1'\n"
        "        os.environ.pop('__DASK_PARENT_PID', None)  # Dask's mark of its process\n"
        "        assert dict(os.environ) == before, set(os.environ.items()) ^ set(before.items())\n"
    )
    mine = {name: value for name, value in os.environ.items() if name not in {"PYTHONSAFEPATH", "__DASK_PARENT_PID"}}
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2], env=mine, check=True, timeout=120)


def fail(number: int) -> int:
    raise ValueError(f"{number} is a bug")


def test_neither_a_persons_mistake_nor_a_bug_shows_a_traceback_of_dasks(capfd: pytest.CaptureFixture[str]) -> None:
    with open_cluster(workers=1) as client:
        list(map_tasks(client, halve, [3], description="halving"))
        ((_, outcome),) = map_tasks(client, fail, [3], description="failing")
    assert str(outcome) == "3 is a bug"
    said = capfd.readouterr().err
    assert "Traceback" not in said
    assert "Compute Failed" not in said


def test_a_killed_worker_costs_only_a_second_try(client: Client, tmp_path: Path) -> None:
    markers = [str(tmp_path / name) for name in "abc"]
    assert dict(map_tasks(client, die_the_first_time, markers, description="dying")) == dict.fromkeys(
        markers, "survived"
    )


def test_nothing_is_kept_on_the_cluster_after_its_result_was_taken(client: Client) -> None:
    for _ in map_tasks(client, halve, [2, 4, 6], description="halving"):
        pass
    client.sync(client.scheduler.identity)  # lets the releases reach the scheduler
    assert client.futures == {}


def test_at_no_point_are_more_than_a_few_tasks_handed_out(client: Client) -> None:
    most = 0
    for _ in map_tasks(client, halve, range(0, 200, 2), description="halving"):
        client.sync(client.scheduler.identity)  # lets the releases reach the scheduler
        most = max(most, len(client.futures))
    assert 0 < most <= 2 * TASKS_PER_THREAD
    for _ in range(100):
        if not client.cluster.scheduler.tasks:
            break
        time.sleep(0.05)
    assert client.cluster.scheduler.tasks == {}, "the scheduler has forgotten all of them"


def note_and_die_if_bad(item: tuple[str, int]) -> int:
    folder, number = item
    name = f"{number}-{time.monotonic_ns()}"
    (Path(folder) / name).touch()
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return number


def test_only_the_item_that_kills_workers_is_given_up_and_not_those_that_were_with_it(
    client: Client, tmp_path: Path
) -> None:
    from distributed import KilledWorker

    items = [(str(tmp_path), number) for number in range(8)]
    outcomes = {
        item[1]: outcome for item, outcome in map_tasks(client, note_and_die_if_bad, items, description="dying")
    }
    assert isinstance(outcomes.pop(3), KilledWorker)
    assert outcomes == {number: number for number in range(8) if number != 3}
    assert len(list(tmp_path.glob("3-*"))) == 2 * DEATHS, "as often in company as alone"


def test_abstract_resources_decide_where_a_task_runs() -> None:
    with dask.config.set({"distributed.worker.resources.licence": 1}), open_cluster(workers=1) as client:
        found = dict(map_tasks(client, halve, [8], description="halving", resources={"licence": 1}))
        assert found == {8: 4}
        info = client.scheduler_info(n_workers=-1)["workers"]
        assert [worker["resources"] for worker in info.values()] == [{"licence": 1.0}]


def test_a_dashboard_is_served_where_the_settings_ask_for_it_and_no_page_where_they_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = listening()
    with open_cluster(workers=1) as unwatched:
        assert dashboard_of(unwatched) is None
        pages = ("", "status", "health", "metrics", "info/main/workers.html", "json/index.html")
        answers = {answer_of(port, page) for port in listening() - others for page in pages}
    assert answers <= {404, None}, "nobody is answered anything"
    assert 404 in answers

    settings = tmp_path / FILE
    settings.write_text("[cluster]\ndashboard = true\nworkers = 1\n")
    settings.chmod(0o600)
    monkeypatch.setenv(VARIABLE, str(settings))
    usual = {f"distributed.{role}.http.routes": defaults["distributed"][role]["http"]["routes"] for role in ROLES}
    with dask.config.set(usual), open_cluster() as watched:  # another test's cluster has set this process's
        address = dashboard_of(watched)
        assert address is not None
        with urllib.request.urlopen(address) as page:
            assert "Dask" in page.read().decode()
        monkeypatch.setattr(type(watched), "dashboard_link", "http://127.0.0.1:9/status")
        assert dashboard_of(watched) is None


ROLES = ("scheduler", "worker")


def listening() -> set[int]:
    """The ports on which this process and its children wait for connections."""
    ours = psutil.Process()
    found = (one for each in (ours, *ours.children(recursive=True)) for one in each.net_connections("inet"))
    return {one.laddr.port for one in found if one.status == psutil.CONN_LISTEN}


def answer_of(port: int, page: str) -> int | None:
    """The status with which a web server of this machine answers; None where none does."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", f"/{page}")
        return connection.getresponse().status
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def test_nobody_without_the_certificates_of_the_run_speaks_to_any_port() -> None:
    others = listening()
    with open_cluster(workers=2):
        ports = listening() - others
        assert len(ports) >= 5, "scheduler, two nannies, two workers"
        assert heard(*ports) == ["refused refused"] * len(ports)
    with standing_cluster() as plain:
        assert heard(urlsplit(plain.scheduler.address).port) == ["answered refused"], "as it would be without"


def heard(*ports: object) -> list[str]:
    """What somebody else hears at these ports without certificates, and with such of their own."""
    done = subprocess.run(
        [sys.executable, "-c", STRANGER, *map(str, ports)], capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


STRANGER = """
import asyncio, os, sys
from distributed import Security
from distributed.core import rpc
if os.geteuid() == 0:
    os.setuid(65534)

async def ask(address, security):
    try:
        peer = rpc(address, timeout=3, connection_args=security.get_connection_args("client"))
        await asyncio.wait_for(peer.identity(), 5)
        return "answered"
    except (OSError, ValueError):  # a ValueError: it spoke first, and not TLS
        return "refused"

async def main():
    kinds = {"tcp": Security(), "tls": Security.temporary()}
    asked = [ask(f"{kind}://127.0.0.1:{port}", own) for port in sys.argv[1:] for kind, own in kinds.items()]
    answers = await asyncio.gather(*asked)
    for plain, forged in zip(answers[::2], answers[1::2]):
        print(plain, forged)

asyncio.run(main())
"""


def test_workers_that_do_not_start_are_an_error_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing.spawn, "_python_exe", b"/bin/false")
    with pytest.raises(ClusterError, match="2 worker processes did not start") as caught, open_cluster(workers=2):
        pass
    assert "--workers" in caught.value.hint


def test_a_lock_that_somebody_else_holds_in_the_folder_of_temporary_files_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "dask-scratch-space"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with (scratch / "global.lock").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)  # a worker would wait for ever
        with dask.config.set({"temporary-directory": None}), open_cluster(workers=1) as opened:
            (folder,) = opened.run(lambda dask_worker: dask_worker.local_directory).values()
    assert Path(folder).is_relative_to(tmp_path / f"gliolake-{os.geteuid()}" / "dask")
    assert (tmp_path / f"gliolake-{os.geteuid()}").stat().st_mode & 0o777 == 0o700


def test_fewer_workers_start_where_memory_is_short() -> None:
    cores = len(os.sched_getaffinity(0))
    assert fitting_workers(0) == fitting_workers(1) == cores
    assert fitting_workers(1 << 60) == 1


def doze(number: int) -> int:
    time.sleep(0.3)
    return number


class Elsewhere:
    """A scheduler of processes, and the workers that were started for it."""

    def __init__(self, folder: Path, running: ExitStack) -> None:
        self.folder, self.running = folder, running
        file = folder / "scheduler.json"
        self.scheduler = self._start("scheduler", "--port", "0", "--scheduler-file", str(file))
        self.address = ""
        while not self.address:
            time.sleep(0.1)
            with suppress(OSError, ValueError):  # not there yet, or half written
                self.address = json.loads(file.read_text())["address"]

    def add_worker(self, *options: str) -> subprocess.Popen[bytes]:
        return self._start("worker", self.address, "--no-nanny", "--nthreads", "1", *options)

    def await_workers(self, number: int) -> None:
        from distributed import Client

        with Client(self.address) as client:
            client.wait_for_workers(number, timeout=60)

    def _start(self, kind: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--no-dashboard", *options]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=self.folder)
        self.running.callback(process.wait)
        self.running.callback(process.kill)
        return process


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Elsewhere]:
    with ExitStack() as running:
        yield Elsewhere(tmp_path, running)


# Functions that workers of another folder can import are those of libraries.


def test_a_scheduler_that_goes_away_is_no_items_fault(elsewhere: Elsewhere) -> None:
    elsewhere.add_worker()
    elsewhere.await_workers(1)
    with open_cluster(elsewhere.address) as client:
        outcomes = map_tasks(client, time.sleep, [0.3] * 50, description="dozing")
        assert next(outcomes) == (0.3, None)
        elsewhere.scheduler.kill()
        with pytest.raises(ClusterError, match="scheduler went away"):
            assert all(outcome is None for _, outcome in outcomes)


def test_a_cluster_without_workers_is_waited_for_and_once_patience_ends_given_up_by_name(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, special = elsewhere.add_worker(), elsewhere.add_worker("--resources", "LICENCE=1")
    elsewhere.await_workers(2)
    (elsewhere.folder / FILE).write_text("[cluster]\npatience = 3\n")
    monkeypatch.setenv(VARIABLE, str(elsewhere.folder / FILE))
    with open_cluster(elsewhere.address) as client:
        licensed = map_tasks(client, time.sleep, [0.3] * 50, description="dozing", resources={"LICENCE": 1})
        assert next(licensed) == (0.3, None)
        special.kill()
        with pytest.raises(ClusterError, match="has had no workers with LICENCE for 3 s"):
            assert all(outcome is None for _, outcome in licensed)

        with dask.config.set({PATIENCE: 60}):
            outcomes = map_tasks(client, time.sleep, [0.1] * 20, description="dozing")
            assert next(outcomes) == (0.1, None)
            worker.kill()
            worker.wait()
            another = elsewhere.add_worker()
            assert list(outcomes) == [(0.1, None)] * 19

        outcomes = map_tasks(client, time.sleep, [0.3] * 50, description="dozing")
        assert next(outcomes) == (0.3, None)
        another.kill()
        with pytest.raises(ClusterError, match=f"{elsewhere.address} has had no workers for 3 s") as caught:
            assert all(outcome is None for _, outcome in outcomes)
        assert "Run the same command again" in caught.value.hint


def test_a_scheduler_that_hangs_is_waited_for_and_once_patience_ends_given_up_by_name(elsewhere: Elsewhere) -> None:
    elsewhere.add_worker()
    elsewhere.await_workers(1)
    with open_cluster(elsewhere.address) as client, dask.config.set({PATIENCE: 3}):
        outcomes = map_tasks(client, time.sleep, [0.3] * 50, description="dozing")
        assert next(outcomes) == (0.3, None)
        elsewhere.scheduler.send_signal(signal.SIGSTOP)
        with pytest.raises(ClusterError, match=f"{elsewhere.address} has not answered for 3 s"):
            assert all(outcome is None for _, outcome in outcomes)


def test_workers_that_are_gone_for_good_are_no_items_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "NO_WORKERS_SECONDS", 1)
    with open_cluster(workers=1) as client:
        outcomes = map_tasks(client, doze, range(50), description="dozing")
        assert next(outcomes) == (0, 0)
        client.cluster.scale(0)
        with pytest.raises(ClusterError, match="has had no workers for 1 s"):
            assert all(number == outcome for number, outcome in outcomes)


def test_outcomes_before_an_error_are_still_a_batch() -> None:
    def outcomes() -> Iterator[int]:
        yield from (1, 2, 3)
        raise ClusterError("It broke.")

    gathered: list[list[int]] = []
    with pytest.raises(ClusterError, match="It broke"):
        commit_in_batches(outcomes(), gathered.append, 2, 60)
    assert gathered == [[1, 2], [3]]


def test_a_result_is_committed_in_time_however_long_the_next_one_takes(client: Client) -> None:
    gathered: list[list[float]] = []
    before_the_last: list[list[float]] = []

    def outcomes() -> Iterator[float]:
        for seconds, _ in map_tasks(client, time.sleep, [0.01, 6.0], description="dozing"):
            if seconds > 1:
                before_the_last.extend(gathered)
            yield seconds

    commit_in_batches(outcomes(), gathered.append, 100, 1.5)
    assert before_the_last == [[0.01]]
    assert gathered == [[0.01], [6.0]]


def test_a_commit_that_fails_while_the_next_result_is_waited_for_ends_the_work(client: Client) -> None:
    def refuse(_: list[float]) -> None:
        raise StorageFull("No space is left.")

    outcomes = (item for item, _ in map_tasks(client, time.sleep, [0.01, 4.0], description="dozing"))
    with pytest.raises(StorageFull):
        commit_in_batches(outcomes, refuse, 100, 0.5)


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    with pytest.raises(ClusterError, match=r"tcp://127\.0\.0\.1:9"), open_cluster("tcp://127.0.0.1:9"):
        pass
    with pytest.raises(InputError, match="--workers is 0"), open_cluster(workers=0):
        pass
    with pytest.raises(InputError, match="--threads is 0"), open_cluster(threads=0):
        pass


def test_a_cluster_that_is_up_is_used_as_it_is_and_said_to_be_open_without_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with standing_cluster() as standing, open_cluster(standing.scheduler.address) as other:
        assert dict(map_tasks(other, halve, [8], description="halving")) == {8: 4}
    assert "without certificates" in caplog.text
    caplog.clear()
    with certificates_in(tmp_path) as security, standing_cluster(security=security) as standing:
        files = security.get_tls_config_for_role("client")
        monkeypatch.setenv(VARIABLE, str(tmp_path / FILE))
        (tmp_path / FILE).write_text(
            "[cluster.tls]\n" + "".join(f"{key} = '{files[name]}'\n" for key, name in TLS_KEYS.items())
        )
        (tmp_path / FILE).chmod(0o600)
        with open_cluster(standing.scheduler.address) as other:
            assert dict(map_tasks(other, halve, [8], description="halving")) == {8: 4}
    assert "without certificates" not in caplog.text


TLS_KEYS = {"ca_file": "ca_file", "certificate": "cert", "key": "key"}


def test_workers_of_a_script_that_runs_in_a_strangers_folder_import_nothing_from_there(tmp_path: Path) -> None:
    script, archive = tmp_path / "mine" / "script.py", tmp_path / "archive"
    for folder in (script.parent, archive):
        folder.mkdir()
    script.write_text(
        "if __name__ == '__main__':\n"
        "    from gliolake.cluster.client import open_cluster\n"
        "    with open_cluster(None, 1) as client:\n"
        "        print(client.submit(abs, -7).result())\n"
    )
    for name in ("multiprocessing", "tempfile", "dask", "lake"):
        (archive / f"{name}.py").write_text(f"open({str(tmp_path / 'planted')!r}, 'a').write({name!r})\n")
    unsafe = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    unsafe["PYTHONPATH"] = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, script], cwd=archive, env=unsafe, capture_output=True, text=True, timeout=120, check=False
    )
    assert not (tmp_path / "planted").exists()
    assert done.stdout == "7\n", done.stderr
