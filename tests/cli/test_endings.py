"""How commands end: signals, streams that are closed or full, temporary files that find no room. Real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ENDLESS = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t"
HEAVY = "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b"

LABELS = "BraTS21ID,MGMT_value\n1,1\n2,0\n"


class Commands:
    """Commands on a lake of labels, with temporary files in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.tmp = folder, folder / "tmp"
        self.begun: list[subprocess.Popen[str]] = []
        self.tmp.mkdir()
        self.environment = os.environ | {"TMPDIR": str(self.tmp), "GLIOLAKE_LAKE": str(folder / "lake")}
        (folder / "labels.csv").write_text(LABELS)
        self.images = folder / "images"
        for scan in (f"BraTS2021_{number:05d}" for number in range(30)):
            (self.images / scan).mkdir(parents=True)
            for role in ("flair", "t1", "t1ce", "t2", "seg"):
                (self.images / scan / f"{scan}_{role}.nii.gz").write_bytes(b"no image")

    def begin(self, *arguments: object, **more: object) -> subprocess.Popen[str]:
        """Start one; standard output and error are pipes unless said otherwise."""
        command = [sys.executable, "-m", "gliolake", *map(str, arguments)]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": self.environment, **more}
        process: subprocess.Popen[str] = subprocess.Popen(  # type: ignore[call-overload]
            command, text=True, cwd=Path(__file__).parents[2], start_new_session=True, **options
        )
        self.begun.append(process)
        return process

    def kill(self) -> None:
        """End what a failed test has left at work."""
        for process in self.begun:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def run(self, *arguments: object, **more: object) -> tuple[int, str]:
        """Run one to its end: exit code, and what it said on standard error."""
        process = self.begin(*arguments, **more)
        _, said = process.communicate(timeout=120)
        return process.returncode, said or ""

    def left(self) -> list[str]:
        """What lies where temporary files are, but for caches, which stay and hold no rows."""
        rows = [path for path in self.tmp.rglob("*") if path.is_file() and path.suffix != ".lock"]
        return [str(path) for path in rows if not path.is_relative_to(self.tmp / f"gliolake-{os.geteuid()}")]


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    made = Commands(tmp_path_factory.mktemp("endings"))
    assert made.run("ingest", "--cohort", "brats21", "--labels", made.folder / "labels.csv")[0] == 0
    yield made
    made.kill()
    assert not made.left()


def computes(process: subprocess.Popen[str]) -> bool:
    """DuckDB's threads are at work."""
    return threads(process) > 2


def has_workers(process: subprocess.Popen[str]) -> bool:
    """Processes were started for the work."""
    children = Path(f"/proc/{process.pid}/task").glob("*/children")
    return any(path.read_text() for path in children)


def imports(process: subprocess.Popen[str]) -> bool:
    """Python has come to our code, and no further than its first imports: the thread that looks after signals runs."""
    return threads(process) > 1


def threads(process: subprocess.Popen[str]) -> int:
    return len(list(Path(f"/proc/{process.pid}/task").iterdir()))


INGEST = ("ingest", "--cohort", "brats21", "--images", "IMAGES", "--workers", "1")


@pytest.mark.parametrize(
    ("number", "arguments", "when", "group"),
    [
        (signal.SIGINT, ("status",), imports, False),
        (signal.SIGTERM, ("status",), imports, False),
        (signal.SIGHUP, ("status",), imports, False),
        (signal.SIGINT, ("sql", ENDLESS), computes, True),
        (signal.SIGTERM, ("sql", HEAVY), computes, False),
        (signal.SIGINT, INGEST, has_workers, True),
        (signal.SIGHUP, INGEST, has_workers, True),
    ],
)
def test_a_signal_ends_a_command_with_a_sentence_its_code_and_nothing_left(
    commands: Commands,
    number: signal.Signals,
    arguments: tuple[str, ...],
    when: Callable[[subprocess.Popen[str]], bool],
    group: bool,
) -> None:
    process = commands.begin(*(str(commands.images) if each == "IMAGES" else each for each in arguments))
    deadline = time.monotonic() + 60
    while process.poll() is None and not when(process) and time.monotonic() < deadline:
        time.sleep(0.01)
    if process.poll() is None:
        (os.killpg if group else os.kill)(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in said) == (128 + number, False), said
    assert said.count("gliolake: Stopped by") == 1
    assert number.name in said
    assert not commands.left()


def test_a_signal_that_comes_twice_does_not_break_off_the_cleaning_up(commands: Commands) -> None:
    output = commands.folder / "answer.csv"
    process = commands.begin("sql", HEAVY, "--output", output)
    while not computes(process):
        time.sleep(0.01)
    for _ in range(5):
        process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said.count("Stopped by")) == (130, 1)
    assert not [path for path in commands.folder.iterdir() if path.name.startswith((".", "answer"))]


def test_what_whoever_started_it_had_it_ignore_stays_ignored(commands: Commands) -> None:
    ignored = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731 - as nohup does
    process = commands.begin("tables", preexec_fn=ignored)
    while process.poll() is None:
        process.send_signal(signal.SIGHUP)
        time.sleep(0.02)
    assert process.communicate()[1] == ""
    assert process.returncode == 0


@pytest.mark.parametrize("arguments", [("tables",), ("sql", "FROM labels")])
def test_a_reader_that_goes_away_and_streams_that_are_closed_are_no_error(
    commands: Commands, arguments: tuple[str, ...]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert commands.run(*arguments, stdout=writing) == (141, "")
        assert commands.run(*arguments, stderr=writing)[0] == 0
    finally:
        os.close(writing)
    for closed in ((1,), (2,), (0, 1, 2)):
        code, said = commands.run(*arguments, preexec_fn=lambda closed=closed: [os.close(each) for each in closed])
        assert (code, "Traceback" in said) == (0, False), said


@pytest.mark.parametrize("arguments", [("tables",), ("sql", "FROM labels", "--format", "csv"), ("status", "--json")])
def test_an_output_that_takes_no_more_is_said(commands: Commands, arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        code, said = commands.run(*arguments, stdout=full)
        assert (code, "No space left on device" in said, "Traceback" in said) == (2, True, False)
        assert commands.run("sql", "FROM nothing", stderr=full)[0] == 2


@pytest.mark.parametrize("name", ["absent", "labels.csv"])
def test_temporary_files_that_cannot_be_made_where_tmpdir_says_are_made_nowhere_else(
    commands: Commands, name: str
) -> None:
    environment = commands.environment | {"TMPDIR": str(commands.folder / name)}
    code, said = commands.run("status", env=environment)
    assert (code, "TMPDIR" in said, "Traceback" in said) == (2, True, False)


def test_a_full_folder_for_temporary_files_ends_no_command_in_a_traceback(commands: Commands, small_disk: Path) -> None:
    with contextlib.suppress(OSError):
        (small_disk / "ballast").write_bytes(bytes(1 << 20))
    environment = commands.environment | {"TMPDIR": str(small_disk)}
    for arguments in (
        ("status",),
        ("sql", "FROM labels"),
        ("ingest", "--cohort", "brats21", "--labels", commands.folder / "labels.csv"),
        ("export", "labels", "--output", commands.folder / "l.xlsx"),
    ):
        code, said = commands.run(*arguments, env=environment)
        assert "Traceback" not in said, said
        assert code == 0 or (code == 2 and "TMPDIR" in said), said
    assert [path.name for path in small_disk.iterdir() if path.is_file()] == ["ballast"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("sql", "FROM labels", "--output", "n" * 300), "File name too long"),
        (("sql", "FROM labels", "--output", "/proc/version/x.csv"), "does not exist"),
        (("sql", "FROM labels", "--output", "/sys/x.csv"), "/sys"),
        (("catalog", "/dev/null/c.duckdb"), "/dev/null"),
        (("report", "--output", "/proc/self/fd"), "fd"),
    ],
)
def test_what_the_system_refuses_is_said_with_the_name(
    commands: Commands, arguments: tuple[str, ...], said: str
) -> None:
    code, err = commands.run(*arguments)
    assert (code, said in err, "Traceback" in err) == (2, True, False), err


CLEARED_AWAY = """
import os, signal, sys, time, weakref
from gliolake.process import signals as stopping
stopping.listen()

def stop(*_):
    os.kill(os.getpid(), signal.SIGTERM)

class Thing:
    if sys.argv[1] == "method":
        __del__ = stop

thing = Thing()
watched = weakref.ref(thing, stop) if sys.argv[1] == "callback" else None
del thing
try:
    time.sleep(60)
except stopping.Stopped:
    print("in order")
    raise
"""


@pytest.mark.parametrize("way", ["method", "callback"])
def test_a_signal_that_comes_while_python_clears_an_object_away_ends_a_command_in_order_all_the_same(way: str) -> None:
    command = [sys.executable, "-c", CLEARED_AWAY, way]
    began = time.monotonic()
    ended = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert (ended.returncode, ended.stdout) == (143, "in order\n"), ended.stderr
    assert "Traceback" not in ended.stderr
    assert time.monotonic() - began < 30
