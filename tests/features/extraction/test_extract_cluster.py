"""Extraction on real Dask workers: any layout, deaths at any moment, workers that are unlike, disks that are full."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client

from gliolake.errors import ClusterError
from gliolake.features.backbones.registry import BackboneOptions
from gliolake.features.clips import ClipSettings
from gliolake.features.extraction import command as extraction
from gliolake.features.extraction.command import extract
from gliolake.maintenance.verify import verify
from gliolake.storage.lake import Lake
from tests.support.full import FULL
from tests.support.standing import standing_cluster

pytestmark = pytest.mark.long

SLOWFAST = "slowfast_4x16_resnet50_kinetics400"
SMALL = ClipSettings(box=48, slices=40)
WHOLE = ClipSettings()


@pytest.fixture(scope="module")
def undisturbed(
    ingested: Path, tmp_path_factory: pytest.TempPathFactory, look: Any
) -> dict[tuple[str, str, str], bytes]:
    """Every vector of full-size clips, made by one worker that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    shutil.copytree(ingested, folder / "lake")
    extract(Lake(folder / "lake"), settings=WHOLE, workers=1)
    return look.vectors(Lake(folder / "lake"))


@pytest.mark.parametrize(("workers", "threads"), [(2, 1), (1, 2)])
def test_any_layout_of_workers_gives_the_same_bits(
    world: tuple[Lake, Path], look: Any, undisturbed: dict[tuple[str, str, str], bytes], workers: int, threads: int
) -> None:
    lake, _ = world
    (report,) = extract(lake, settings=WHOLE, workers=workers, threads=threads).feature_sets
    assert (report.computed, report.failed) == (11, ())
    assert look.vectors(lake) == undisturbed


def test_a_network_on_two_threads_of_one_worker_and_on_two_workers_gives_the_same_bits(
    world: tuple[Lake, Path], look: Any, tmp_path: Path
) -> None:
    lake, _ = world
    look.keep_scans(lake, "BraTS2021_00000", "BraTS2021_00001")
    one_image = [
        row | {"files": [file for file in row["files"] if file["role"] in ("T1", "mask")]}
        for row in look.rows(lake, "scans")
    ]
    look.put_scans(lake, *one_image)
    shutil.copytree(tmp_path / "lake", tmp_path / "other")
    other = Lake(tmp_path / "other")
    backbones, options = ["random_conv", SLOWFAST], BackboneOptions(weights="untrained:0")
    report = extract(lake, backbones, settings=SMALL, options=options, workers=1, threads=2)
    assert [(one.computed, one.failed) for one in report.feature_sets] == [(2, ()), (2, ())]
    extract(other, backbones, settings=SMALL, options=options, workers=2, threads=1)
    assert len(look.vectors(lake)) == 2 * 2
    assert look.vectors(lake) == look.vectors(other)


@contextmanager
def murderer(lake: Lake, seed: int) -> Iterator[list[int]]:
    """Kills a worker at work soon after every commit; yields the list of those it killed.

    On a busy machine a worker takes several seconds to start: killed at a fixed pace, none would ever finish a scan.
    """
    over, killed, choice = threading.Event(), list[int](), random.Random(seed)

    def run() -> None:
        seen = lake.version
        while not over.wait(0.02):
            if (version := Lake(lake.root).version) > seen and (busy := workers_at_work()):
                seen = version
                over.wait(choice.uniform(0.0, 0.3))
                killed.append(choice.choice(busy))
                with suppress(ProcessLookupError):
                    os.kill(killed[-1], signal.SIGKILL)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def workers_at_work() -> list[int]:
    """Worker processes that have loaded the kernels' compiler, which they do for their first scan."""
    return sorted(child.pid for child in psutil.Process().children() if loaded(child))


def loaded(process: psutil.Process) -> bool:
    try:
        return any("libllvmlite" in Path(file.path).name for file in process.memory_maps())
    except psutil.Error:
        return False


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(6 if FULL else 1))
def test_workers_killed_throughout_a_run_cost_no_vector_and_make_none_twice(
    world: tuple[Lake, Path],
    look: Any,
    undisturbed: dict[tuple[str, str, str], bytes],
    *,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Any,
    seed: int,
) -> None:
    lake, _ = world
    monkeypatch.setattr(extraction, "BATCH_SCANS", 1)
    monkeypatch.setattr(extraction, "BATCH_SECONDS", 1000.0)
    with murderer(lake, seed) as killed:
        (report,) = extract(lake, settings=WHOLE, workers=2).feature_sets
    assert len(killed) >= 3
    assert (report.computed, report.failed) == (11, ())
    lake = Lake(lake.root)
    assert look.vectors(lake) == undisturbed
    assert not look.rows(lake, "exclusions", step="features")
    assert not any(finding.is_damage for finding in verify(lake, grace=0).findings)
    record_property("faults: kill worker", len(killed))


COMMAND = """
import sys
from gliolake.features.extraction import command as extraction
from gliolake.storage.lake import Lake
extraction.BATCH_SCANS = 1
extraction.extract(Lake(sys.argv[1]), workers=2)
"""


@pytest.mark.faults
def test_a_command_killed_in_mid_run_goes_on_from_what_it_had_committed(
    world: tuple[Lake, Path],
    look: Any,
    undisturbed: dict[tuple[str, str, str], bytes],
    tmp_path: Path,
    record_property: Any,
) -> None:
    lake, _ = world
    told = tmp_path / "told.txt"
    with told.open("wb") as stderr:
        command = subprocess.Popen([sys.executable, "-c", COMMAND, str(lake.root)], stderr=stderr)
    try:
        until(lambda: len(Lake(lake.root).read("features")) >= 3 * 5 or command.poll() is not None)
        assert command.poll() is None, told.read_text()
        workers = psutil.Process(command.pid).children(recursive=True)
    finally:
        command.send_signal(signal.SIGKILL)
        command.wait()
    _, left = psutil.wait_procs(workers, timeout=30)
    assert not left, "workers do not outlive their command"
    lake = Lake(lake.root)
    before = {(row["scan_id"], row["modality"]): row["run_id"] for row in look.rows(lake, "features")}
    scans = len({scan_id for scan_id, _ in before})
    assert 3 <= scans < 11
    (report,) = extract(lake, settings=WHOLE, workers=2).feature_sets
    assert (report.present, report.computed) == (scans, 11 - scans)
    assert look.vectors(lake) == undisturbed
    after = {(row["scan_id"], row["modality"]): row["run_id"] for row in look.rows(lake, "features")}
    assert before.items() <= after.items()
    record_property("faults: kill client", 1)


def until(reached: Callable[[], bool], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


FOREIGN = """
import importlib.metadata as metadata
usual = metadata.version
metadata.version = lambda name: "1.0.0" if name == "nibabel" else usual(name)
"""


@contextmanager
def joined(client: Client, folder: Path, code: str = "", **variables: str) -> Iterator[str]:
    """One more worker, of a process in which ``code`` was run first; yields its address."""
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(code)
    here = set(client.scheduler_info(n_workers=-1)["workers"])
    path = os.pathsep.join(filter(None, (str(folder / "site"), os.environ.get("PYTHONPATH"))))
    worker = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "distributed.cli.dask_worker",
            client.scheduler.address,
            "--no-nanny",
            "--nthreads",
            "2",
        ],
        env={**os.environ, "PYTHONPATH": path, **variables},
        cwd=folder / "site",
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: len(client.scheduler_info(n_workers=-1)["workers"]) > len(here))
        yield next(iter(set(client.scheduler_info(n_workers=-1)["workers"]) - here))
    finally:
        worker.kill()
        worker.wait()


def test_a_worker_with_another_version_is_refused_with_the_difference_before_any_work(
    world: tuple[Lake, Path], tmp_path: Path
) -> None:
    lake, _ = world
    version = lake.version
    with standing_cluster() as client, joined(client, tmp_path, FOREIGN) as place:
        with pytest.raises(ClusterError, match="would compute other results") as caught:
            extract(lake, settings=SMALL, scheduler=client.scheduler.address)
        lines = str(caught.value).splitlines()
        assert [line for line in lines[1:] if place not in line] == []
        assert lines[1].startswith("  nibabel: 5.")
        assert lines[1].endswith(f" here, 1.0.0 on {place}")
        assert len(lines) == 2
        assert "same gliolake" in caught.value.hint
    assert lake.version == version


def test_a_worker_without_gliolake_is_refused_by_name(world: tuple[Lake, Path], tmp_path: Path) -> None:
    lake, _ = world
    version = lake.version
    without = "import sys; sys.modules['gliolake.features'] = None"
    with standing_cluster() as client, joined(client, tmp_path, without) as place:
        address = client.scheduler.address
        with pytest.raises(ClusterError, match=f"{place}: .*features"):
            extract(lake, settings=SMALL, scheduler=address)
    assert lake.version == version


def test_a_worker_that_joins_later_and_is_unlike_ends_the_run_and_what_was_committed_stays(
    world: tuple[Lake, Path], look: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, _ = world
    monkeypatch.setattr(extraction, "BATCH_SCANS", 1)
    usual = extraction.map_tasks

    with standing_cluster() as client:

        def with_a_stranger(*arguments: Any, **options: Any) -> Iterator[tuple[Any, Any]]:
            outcomes = usual(*arguments, **options)
            yield next(outcomes)
            with joined(client, tmp_path, FOREIGN):
                yield from outcomes

        monkeypatch.setattr(extraction, "map_tasks", with_a_stranger)
        with pytest.raises(ClusterError, match=r"nibabel: .* 1\.0\.0 on tcp"):
            extract(lake, settings=WHOLE, scheduler=client.scheduler.address)
    lake = Lake(lake.root)
    assert 1 <= len(look.vectors(lake)) / 5 < 11
    assert not look.rows(lake, "exclusions", step="features")
    (run,) = look.rows(lake, "runs", command="extract")
    assert run["outcome"].startswith("ClusterError")


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights folder in which a file stands for SlowFast's that holds something else."""
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "file.pth").write_bytes(b"weights of another network")
    described = {"name": SLOWFAST, "file": "file.pth", "sha256": "0" * 64, "bytes": 26}
    (folder / f"{SLOWFAST}.json").write_text(json.dumps(described | {"origin": "test", "added_sha256": "0" * 64}))
    monkeypatch.setenv("GLIOLAKE_WEIGHTS", str(folder))
    return folder


def test_a_worker_without_the_weights_is_named_and_weights_that_are_no_weights_are_no_scans_fault(
    world: tuple[Lake, Path], weights: Path, tmp_path: Path
) -> None:
    lake, _ = world
    version = lake.version
    backbones = ["random_conv", SLOWFAST]
    with standing_cluster() as client:
        with (
            joined(client, tmp_path, GLIOLAKE_WEIGHTS=str(tmp_path / "none")) as place,
            pytest.raises(ClusterError, match=f"{place}: The weights of {SLOWFAST} are not in .*none"),
        ):
            extract(lake, backbones, settings=SMALL, scheduler=client.scheduler.address)
        until(lambda: len(client.scheduler_info(n_workers=-1)["workers"]) == 1)
        with pytest.raises(ClusterError, match=rf"{SLOWFAST} cannot be loaded on tcp://.*: .*file\.pth was changed"):
            extract(lake, backbones, settings=SMALL, scheduler=client.scheduler.address)
    assert lake.version == version


def test_a_full_disk_of_compiled_code_costs_time_and_no_scan(
    world: tuple[Lake, Path], small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, _ = world
    filling = small_disk / "filling"
    with suppress(OSError):
        filling.write_bytes(bytes(2 << 20))
    assert shutil.disk_usage(small_disk).free == 0
    monkeypatch.setenv("XDG_CACHE_HOME", str(small_disk))
    assert extract(lake, settings=SMALL, workers=1).feature_sets[0].computed == 11
