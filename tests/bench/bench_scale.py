"""A lake of 100,000 scans × 5 branches × 2 feature sets: what everything costs on it, and how that grew.

    python tests/bench/bench_scale.py [--json] [--scans N] [--folder DIR] [--rounds N] [--only PART …]

The lake is made through the lake's own commits (tests/bench/large_lake.py), as are two of a tenth and a hundredth of
its scans; they stay in the folder if one is given, with folders of images that an ingest finds nothing new in. What is
timed has a process of its own each time, so that its peak of memory is its own. Of several rounds the median counts.
Parts: lakes, log, compaction, scheduler, requests, and, only if it is asked for, tenfold: questions to a lake of ten
times the scans, without vectors. Exit code 1 if an ingest with nothing new reads or commits anything.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from large_lake import IMAGES, described, large_lake, lay_out, numbers_of
from telling import tell

sys.path.append(str(Path(__file__).parents[2]))
from tests.support.s3_server import requests_so_far, s3_server

Figures = dict[str, float]
QUESTIONS = {
    **{f"view {view}": f"FROM {view}" for view in ("training_scans", "training", "external", "split_audit")},
    "training with a branch's vectors": "SELECT training.*, features.values "
    "FROM training JOIN features USING (cohort, scan_id) "
    "WHERE feature_set = 'vivit_b_16x2-made' AND modality = 'T1'",
}
WORKERS = (1, 2, 4, 8, 16)
TASKS = 1000
COMMITS = 60
UNSAID = ("opened", "rows", "files", "left")
"""Figures that the table leaves to --json."""


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


# What is done in a process of its own, by name; each prints one JSON object of its own figures.


def opening(root: str) -> Figures:
    from gliolake.storage.lake import Lake

    lake, seconds = timed(lambda: Lake(root))
    return {"seconds": seconds, "files": len(lake.state().files)}


def asking(root: str, statement: str) -> Figures:
    from gliolake.sql.catalog import connect
    from gliolake.storage.lake import Lake

    connection, opened = timed(lambda: connect(Lake(root)))
    answer, seconds = timed(lambda: connection.sql(statement).to_arrow_table())
    return {"seconds": seconds, "opened": opened, "rows": answer.num_rows}


def committing(root: str, payload: str) -> Figures:
    """Commits by one process, one after the other."""
    import bench_commits

    from gliolake.storage.lake import Lake

    lake = Lake(root)
    commit, _, _ = bench_commits.PAYLOADS[payload]
    took = [timed(partial(commit, lake, 99, number))[1] for number in range(COMMITS)]
    return {"seconds": statistics.median(took), "mean": statistics.fmean(took), "slowest": max(took)}


def planning(root: str) -> Figures:
    """What extraction does before it starts a cluster, on a lake that lacks nothing of a feature set."""
    from gliolake.features.backbones.registry import BackboneOptions
    from gliolake.features.extraction.plan import make_plan
    from gliolake.features.extraction.recipe import Recipe, choose
    from gliolake.features.scans import scans_of
    from gliolake.storage.lake import Lake

    class Made(Recipe):
        """The recipe of a feature set of the large lake."""

        @property
        def feature_set(self) -> str:
            return f"{self.backbone}-made"

    lake, (choice,) = Lake(root), choose(["random_conv"], BackboneOptions())
    recipe = Made("vivit_b_16x2", "untrained", "{}")
    plan, seconds = timed(lambda: make_plan(lake, [(choice, recipe)], scans_of(lake)))
    if plan.tasks:
        sys.exit(f"{len(plan.tasks)} scans lack vectors")
    return {"seconds": seconds}


def ingesting(root: str, images: str, scans: str) -> Figures:
    """Two commits of 64 new scans, as ingest makes them; of the second, which has all names in mind."""
    from large_lake import _rows

    from gliolake.ingest.pipeline import BATCH, commit_scans
    from gliolake.ingest.scans.images import ReadScan
    from gliolake.ingest.scans.model import FoundScan
    from gliolake.storage.lake import Lake

    lake, cohorts = Lake(root), described(int(scans), 0, Path(images))
    took = []
    for number in range(2):
        first = int(scans) + number * BATCH
        rows = _rows(cohorts, "brats21", [*range(first, first + BATCH)], Path(images))["scans"]
        batch = [
            (FoundScan(r["cohort"], r["scan_id"], r["scan_id"], r["subject_id"], 0, "", (), ""), ReadScan(r))
            for r in rows
        ]
        build = partial(commit_scans, cohort=cohorts["brats21"], batch=batch)
        took.append(timed(lambda build=build: lake.transact(build, run_id="bench"))[1])
    return {"seconds": took[1], "first": took[0]}


def compacting(root: str) -> Figures:
    from gliolake.maintenance.compaction import compact
    from gliolake.storage.lake import Lake

    lake = Lake(root)
    before = [file for file in lake.state().files.values() if file.table == "features"]
    _, seconds = timed(lambda: compact(lake))
    after = [file for file in lake.state().files.values() if file.table == "features"]
    megabytes = sum(file.bytes for file in before) / 1e6
    return {"seconds": seconds, "files": len(before), "left": len(after), "megabytes": megabytes}


def scheduling(workers: str) -> Figures:
    from gliolake.cluster.client import open_cluster
    from gliolake.cluster.tasks import map_tasks

    def run(tasks: int) -> None:
        for _ in map_tasks(client, nothing, range(tasks), description="nothing"):
            pass

    start = time.perf_counter()
    with open_cluster("embedded", int(workers)) as client:
        client.wait_for_workers(int(workers))
        started = time.perf_counter() - start
        run(10 * int(workers))  # workers import what they need
        own = time.process_time()
        seconds = statistics.median(timed(partial(run, TASKS))[1] for _ in range(3))
        own = (time.process_time() - own) / 3  # of scheduler and client, which are this process
    return {
        "seconds": seconds,
        "started": started,
        "ms a task": seconds * 1000 / TASKS,
        "of processor": own * 1000 / TASKS,
    }


def nothing(number: int) -> int:
    """A task without work."""
    return number


MEASURES = {work.__name__: work for work in (opening, asking, planning, committing, ingesting, compacting, scheduling)}


def alone(name: str, *arguments: object) -> Figures:
    """The figures of a measure that has a process of its own, with its peak of memory in MiB."""
    told: Figures = json.loads(run([sys.executable, __file__, "--measure", name, *map(str, arguments)])[0])
    return told


def peak(status: str) -> float:
    """Most memory that a process had, MiB, from its /proc/…/status. (What wait tells counts the parent's, too.)"""
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[-1]) / 1024


def run(command: list[str]) -> tuple[str, str]:
    """What a command prints, and what it says beside."""
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout, done.stderr


def middle(rounds: int, measure: Callable[[], Figures]) -> Figures:
    """Each figure's median over the rounds."""
    found = [measure() for _ in range(rounds)]
    return {name: statistics.median(one[name] for one in found) for name in found[0]}


COMMAND = """
import atexit, pathlib, sys
from gliolake.cli.app import main
atexit.register(lambda: print(pathlib.Path("/proc/self/status").read_text(), file=sys.stderr))
main()
"""


def gliolake(*arguments: object) -> tuple[str, Figures]:
    """What the command prints, its seconds as a whole process, and its peak of memory."""
    (out, beside), seconds = timed(lambda: run([sys.executable, "-c", COMMAND, *map(str, arguments)]))
    return out, {"seconds": seconds, "mib": peak(beside)}


# The parts.


def lakes(base: Path, scans: int, rounds: int) -> dict[str, Any]:
    """Lakes of three sizes: opening, questions, an ingest of nothing new, and commits."""
    from gliolake.storage.lake import Lake

    found: dict[str, Any] = {}
    for size in (scans // 100, scans // 10, scans):
        tell(f"making and measuring a lake of {size:,} scans")
        root, images = base / str(size) / "lake", base / str(size) / "images"
        _, laid_out = timed(partial(lay_out, images, size))
        lake, made = timed(partial(large_lake, root, size, 0, images))
        figures: dict[str, Figures] = {"making": {"seconds": made, "images, seconds": laid_out}}
        figures |= questions(root, rounds)
        figures["size"] = sizes(lake)
        figures["ingest, nothing new"] = middle(rounds, partial(nothing_new, lake, images, size))
        figures["scheduled ingest, nothing new"] = middle(rounds, partial(nothing_new_scheduled, lake, images, size))
        figures["extraction's plan, nothing missing"] = middle(rounds, partial(alone, "planning", root))
        with copy_of(root) as copy:
            figures["ingest's commit"] = alone("ingesting", copy, images, size)
            for payload in ("one row", "extraction's batch"):
                figures[f"commit of {payload}"] = alone("committing", copy, payload)
        found[f"{size} scans"] = figures
        assert Lake(root).version == lake.version
    return found


@contextmanager
def copy_of(root: Path) -> Iterator[Path]:
    """A copy of a lake to commit to, for a while."""
    copy = root.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(root, copy, copy_function=os.link)  # files of a lake never change: they are not copied
    yield copy
    shutil.rmtree(copy)


def questions(root: Path, rounds: int) -> dict[str, Figures]:
    """Opening the lake, its status, and what analysts ask."""
    status, connection = partial(gliolake, "status", "--lake", root), partial(alone, "asking", root, "SELECT 1")
    figures = {
        "opening": middle(rounds, partial(alone, "opening", root)),
        "status": middle(rounds, lambda: status()[1]),
        "connection": middle(rounds, connection),
    }
    figures["connection"]["seconds"] = figures["connection"].pop("opened")
    for question, statement in QUESTIONS.items():
        figures[question] = middle(rounds, partial(alone, "asking", root, statement))
    return figures


def sizes(lake: Any) -> Figures:
    files = lake.state().files.values()
    vectors = [file for file in files if file.table == "features"]
    number = sum(file.rows for file in vectors)
    scans = sum(file.rows for file in files if file.table == "scans")
    return {
        "vectors": number,
        "bytes_per_vector": sum(file.bytes for file in vectors) / number,
        "manifest_bytes_per_scan": sum(file.bytes for file in files if file.table != "features") / scans,
        "files": len(files),
        "bytes_in_log_per_file": sum(e.size for e in lake.files.list("_log") if "state" not in e.path) / len(files),
    }


def nothing_new_scheduled(lake: Any, images: Path, scans: int) -> Figures:
    """Both cohorts' ingests, by one command."""
    version, file = lake.version, images.parent / "cohorts.toml"
    descriptions = written_descriptions(images, scans)
    file.write_text(
        "".join(f'[[cohort]]\ncohort = "{path}"\nimages = "{images / name}"\n' for name, path in descriptions.items())
    )
    told, figures = gliolake("ingest", "--lake", lake.root, "--config", file, "--json")
    found = {name: report["found"] for name, report in json.loads(told)["cohorts"].items()}
    if lake.version != version or found != numbers_of(scans):
        sys.exit(f"the scheduled ingest was to find nothing new: {told}")
    return figures


def written_descriptions(images: Path, scans: int) -> dict[str, Path]:
    """Where the cohorts' descriptions were written to, beside the images."""
    described_in = {name: images.parent / f"{name}.toml" for name in numbers_of(scans)}
    for name, cohort in described(scans, 0, images).items():
        described_in[name].write_text(cohort.text)
    return described_in


def nothing_new(lake: Any, images: Path, scans: int) -> Figures:
    """Both cohorts' ingests, one command after the other."""
    version, total, peak = lake.version, 0.0, 0.0
    for name, description in written_descriptions(images, scans).items():
        told, figures = gliolake(
            "ingest", "--lake", lake.root, "--cohort", description, "--images", images / name, "--json"
        )
        report = json.loads(told)
        if report["read"] or report["found"] != numbers_of(scans)[name] or lake.version != version:
            sys.exit(f"the ingest of {name} was to find nothing new: {told}")
        total, peak = total + figures["seconds"], max(peak, figures["mib"])
    return {"seconds": total, "mib": peak}


def growing_log(base: Path, scans: int, rounds: int) -> dict[str, Any]:
    """A log of so many files, which themselves are not there: what a commit and opening cost when nobody compacts."""
    import bench_commits

    from gliolake.storage import commit_log as log
    from gliolake.storage.lake import Lake

    found: dict[str, Any] = {}
    for count in (scans // 100, scans // 10, scans):
        root = base / f"log-{count}"
        shutil.rmtree(root, ignore_errors=True)
        lake = Lake(root, create=True)
        bench_commits.commit_one(lake, 0, 0)
        (real,) = lake.state().files.values()
        version = 1
        for first in range(0, count, 500):
            added = tuple(made_up(real, number) for number in range(first, min(first + 500, count)))
            version += 1
            log.write_commit(lake.files, log.Commit(version, "made", "2026-01-01T00:00:00", added, ()))
        _, checkpoint = timed(lambda lake=lake: log.write_checkpoint(lake.files, lake.state()))
        figures = {
            "opening": middle(rounds, partial(alone, "opening", root)),
            "commit of one row": alone("committing", root, "one row"),
            "checkpoint": {
                "seconds": checkpoint,
                "bytes": max(e.size for e in lake.files.list("_log") if "state" in e.path),
            },
        }
        found[f"{count} files"] = figures
        shutil.rmtree(root)
    return found


def made_up(real: Any, number: int) -> Any:
    """A file like the real one, of another scan and one of five branches."""
    from gliolake.schema.vocabulary import BRANCHES

    branch = BRANCHES[number % 5]
    key = (real.first[0], real.first[1], f"A{number:08d}", branch)
    path = real.path.replace("modality=T1", f"modality={branch}").rpartition("/")[0]
    return replace(
        real,
        path=f"{path}/{number:032x}.parquet",
        partition={**real.partition, "modality": branch},
        first=key,
        last=key,
    )


def compaction(base: Path, scans: int, rounds: int) -> dict[str, Any]:
    """Files of 32 scans, as extraction leaves them, merged."""
    import bench_commits

    from gliolake.features.extraction.command import BATCH_SCANS
    from gliolake.storage.lake import Lake

    found = {}
    for batches in (scans // 4000 or 1, scans // 400, scans // 100):
        root = base / f"compaction-{batches}"
        shutil.rmtree(root, ignore_errors=True)
        lake = Lake(root, create=True)
        for number in range(batches):
            bench_commits.commit_batch(lake, 0, number)
        found[f"{batches * BATCH_SCANS} scans"] = {"compaction": alone("compacting", root)}
        shutil.rmtree(root)
    return found


def scheduler(base: Path, scans: int, rounds: int) -> dict[str, Any]:
    """Tasks without work, on one to sixteen worker processes."""
    return {f"{n} workers": {"tasks without work": alone("scheduling", n)} for n in WORKERS}


def requests(base: Path, scans: int, rounds: int) -> dict[str, Any]:
    """What an object store is asked for, by one writer whom nobody disturbs."""
    import bench_commits

    from gliolake.sql.status import status
    from gliolake.storage.lake import Lake

    found: dict[str, Figures] = {}

    def count(what: str, work: Callable[[], Any], times: int = 1) -> None:
        before = requests_so_far()
        for _ in range(times):
            work()
        asked = requests_so_far() - before
        found[what] = {method: asked[method] / times for method in ("PUT", "LIST", "GET")}

    with s3_server() as bucket:
        lake = Lake(f"{bucket}/lake", create=True)
        numbers = iter(range(10**6))
        bench_commits.commit_one(lake, 0, next(numbers))
        bench_commits.commit_batch(lake, 1, next(numbers))
        count("a row's commit", lambda: bench_commits.commit_one(lake, 0, next(numbers)), 100)
        count("extraction's commit of 32 scans", lambda: bench_commits.commit_batch(lake, 1, next(numbers)), 100)
        count("opening", lambda: Lake(lake.root))
        count("status", lambda: status(Lake(lake.root)))
        return {f"{len(lake.state().files)} files": found}


def tenfold(base: Path, scans: int, rounds: int) -> dict[str, Any]:
    """Questions to a lake of ten times the scans; it has no vectors."""
    root = base / "tenfold"
    _, made = timed(lambda: large_lake(root, 10 * scans, vectors=False))
    figures = {"making": {"seconds": made}} | questions(root, rounds)
    with copy_of(root) as copy:
        figures["ingest's commit"] = alone("ingesting", copy, IMAGES, 10 * scans)
    return {f"{10 * scans} scans": figures}


PARTS: dict[str, Callable[[Path, int, int], dict[str, Any]]] = {
    "lakes": lakes, "log": growing_log, "compaction": compaction, "scheduler": scheduler, "requests": requests,
    "tenfold": tenfold,
}  # fmt: skip


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--scans", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where the lakes are kept; made anew and deleted if not given")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=[*PARTS][:-1])
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        name, *arguments = options.measure
        figures = MEASURES[name](*arguments)
        print(json.dumps(figures | {"mib": peak(Path("/proc/self/status").read_text())}))
        return
    with tempfile.TemporaryDirectory(prefix="gliolake-bench-") as folder:
        base = (options.folder or Path(folder)).absolute()
        start = time.perf_counter()
        found: dict[str, Any] = {}
        for name in options.only:
            tell(f"measuring: {name}")
            found[name] = PARTS[name](base, options.scans, options.rounds)
        found["minutes"] = round((time.perf_counter() - start) / 60, 1)
    print(json.dumps(found) if options.json else shown(found))


def shown(found: dict[str, Any]) -> str:
    """The figures in plain tables: a line a measure, a column a size."""
    lines = [f"{len(os.sched_getaffinity(0))} cores; seconds unless said otherwise"]
    for part, of_part in found.items():
        if part == "minutes":
            lines.append(f"\nAll of it took {of_part} minutes.")
            continue
        lines.append(f"\n{part}")
        lines.append(f"{'':45}" + "".join(f"{size:>14}" for size in of_part))
        for name, figures in next(iter(of_part.values())).items():
            for figure in (one for one in figures if one not in UNSAID):
                cells = "".join(f"{of_part[size][name][figure]:14,.4g}" for size in of_part)
                lines.append(f"{name + (', ' + figure if figure != 'seconds' else ''):45}{cells}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
