"""Every command, run in a stranger's folder: nothing that lies there is run, imported, or read for settings.

The folder has a module for every name of the standard library, of our dependencies and of ours, and a file for each
library that looks for settings in the current folder. The kernel tells which of them are opened.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import typer

from gliolake.cli.app import app
from gliolake.ingest.synthetic.cohort import write_cohorts

COMMAND = shutil.which("gliolake", path=Path(sys.executable).parent) or shutil.which("gliolake")
OURS = ("gliolake", "ingest", "features", "sql", "modeling", "analysis", "tests")
HOOKS = ("sitecustomize", "usercustomize", "tripwire_entry", "tripwire_backend", "conftest", "setup")
ENTRY_POINTS = (
    "numba_extensions",
    "dask.sizeof",
    "dask.backends",
    "distributed.plugins",
    "fsspec.specs",
    "console_scripts",
)
SETTINGS = {
    ".numba_config.yaml": "cache_dir: planted\ndisable_jit: 1\n",
    "matplotlibrc": "backend: module://tripwire_backend\nfigure.facecolor: pink\n",
    "gliolake.toml": "[cluster]\nscheduler = 'tcp://127.0.0.1:9'\n",
    "dask.yaml": "distributed: {worker: {preload: [tripwire_entry]}}\n",
    "distributed.yaml": "worker: {preload: [tripwire_entry]}\n",
    "jobqueue.yaml": "slurm: {python: ./tripwire}\n",
    "pyproject.toml": "[tool.gliolake]\n",
    "setup.cfg": "[options]\n",
    "pyvenv.cfg": "home = .\n",
    "python311._pth": ".\n",
    "tripwire.pth": "import tripwire_entry\n",
    ".env": "PYTHONPATH=.\n",
    ".netrc": "default login a password b\n",
    ".duckdbrc": ".shell touch planted\n",
    ".pdbrc": "import tripwire_entry\n",
    ".gitconfig": "[core]\nfsmonitor = ./tripwire\n",
    "plugins.xml": "<ie/>",
    "libgomp.so.1": "not a library",
    "libc.so.6": "not a library",
    "git": "#!/bin/sh\ntouch planted\n",
    "python": "#!/bin/sh\ntouch planted\n",
    "tripwire": "#!/bin/sh\ntouch planted\n",
}
IN_OPEN, IN_ISDIR = 0x20, 0x40000000


def plant(folder: Path) -> None:
    """Fill the folder with tripwires; whatever Python runs of them leaves a file ``planted``."""
    code = f"import os\nos.close(os.open({str(folder / 'planted')!r}, os.O_CREAT))\n"
    names = {*sys.stdlib_module_names, *packages_distributions(), *OURS, *HOOKS, "yaml", "mxnet", "_distutils_hack"}
    for name in names:
        if name.isidentifier() and not (folder / name).exists():
            (folder / f"{name}.py").write_text(code)
    for name, text in SETTINGS.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    described = folder / "tripwire-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: tripwire\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text(
        "".join(f"[{group}]\ninit = tripwire_entry:init\n" for group in ENTRY_POINTS)
    )
    for home in ("~/.config/gliolake", "~/.config/dask", ".config/gliolake", ".config/dask", ".cache/gliolake/numba"):
        (folder / home).mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "gliolake.toml", folder / home / "gliolake.toml")
        shutil.copy(folder / "dask.yaml", folder / home / "dask.yaml")


class Watched:
    """What is opened in a folder, by anybody, as the kernel tells it (inotify)."""

    def __init__(self, folders: list[Path]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.file = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.file < 0:
            pytest.skip("inotify is not to be had")
        for folder in folders:
            assert libc.inotify_add_watch(self.file, os.fsencode(folder), IN_OPEN) >= 0

    def opened(self) -> set[str]:
        """Names of files that were opened since this was last asked, folders aside."""
        names = set()
        while True:
            try:
                data = os.read(self.file, 1 << 16)
            except BlockingIOError:
                return names
            while data:
                _, mask, _, length = struct.unpack_from("iIII", data)
                name, data = data[16 : 16 + length].rstrip(b"\0"), data[16 + length :]
                if name and not mask & IN_ISDIR:
                    names.add(os.fsdecode(name))


class World:
    """The stranger's folder, which holds scans as well; a lake elsewhere; and commands that run in the folder."""

    def __init__(self, root: Path) -> None:
        cohorts = write_cohorts(root / "cohorts", patients=24, external=4, seed=1)
        self.root, self.lake, self.archive = root, root / "lake", cohorts.brats21_images
        self.labels = cohorts.brats21_labels
        self.scan = sorted(path.name for path in self.archive.iterdir() if path.is_dir())[0]
        case = self.archive / self.scan  # where one patient's images lie there are tripwires as well
        plant(self.archive)
        (case / ".numba_config.yaml").write_text(SETTINGS[".numba_config.yaml"])
        self.watched = Watched([self.archive, self.archive / "~/.config/gliolake", self.archive / ".config/gliolake"])

    def run(self, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        """A command in the stranger's folder; fails the test if anything that lies there was touched."""
        environment = {**os.environ, **variables}
        environment.pop("GLIOLAKE_CONFIG", None)
        self.watched.opened()
        done = subprocess.run(
            [str(COMMAND), *map(str, arguments)],
            cwd=self.archive, env=environment, capture_output=True, encoding="utf-8", check=False, timeout=300,
        )  # fmt: skip
        touched = self.watched.opened()
        assert not touched, f"gliolake {arguments[0]} opened {sorted(touched)}"
        assert not (self.archive / "planted").exists(), f"gliolake {arguments[0]} ran code of the folder"
        return done

    def ask(self, query: str) -> str:
        """The one value that the lake answers."""
        answer = self.run("sql", "--lake", self.lake, query, "--format", "json")
        ((value,),) = (row.values() for row in json.loads(answer.stdout))
        return str(value)


STUDY = """
study = "small"
[defaults]
features = "ours"
model = "logistic"
repeats = 1
folds = 2
[features]
ours = "random_conv"
[[experiment]]
name = "one"
table = "table_1"
"""


def commands(world: World) -> Iterator[tuple[tuple[str, ...], list[Any]]]:
    """Each command and what it is given, in an order in which each finds what it needs."""
    at = ["--lake", world.lake]
    quick = ["--repeats", 1, "--folds", 2]
    yield ("ingest",), [*at, "--cohort", "brats21", "--images", ".", "--labels", world.labels, "--workers", 1]
    (world.root / "list.csv").write_text(f"scan_id\n{world.scan}\n")
    yield ("ingest-list",), [*at, world.root / "list.csv", "--cohort", "brats21"]
    yield ("ingest-features",), [*at, world.root / "absent.tfrecords"]
    yield ("preprocess",), [*at, "--workers", 1]
    yield ("extract",), [*at, "--crop-size", 48, "--slices", 40, "--workers", 1]
    world.run("extract", *at, "--crop-size", 48, "--slices", 40, "--seed", 1, "--workers", 1)
    vectors = world.ask("SELECT min(feature_set) AS first FROM feature_sets")
    yield ("train",), [*at, "--feature-set", vectors, *quick, "--model", "logistic"]
    experiment = world.ask("SELECT min(experiment) AS first FROM experiments")
    yield ("search",), [*at, "--feature-set", vectors, *quick, "--inner-folds", 2, "--candidate", "logistic"]
    yield ("ccc",), at
    yield ("suspects",), at
    yield ("map",), at
    (world.root / "small.toml").write_text(STUDY)
    yield ("study", "run"), [*at, world.root / "small.toml", "--workers", 1]
    yield ("study", "show"), at
    yield ("model", "export"), [experiment, *at, "--output", world.root / "model"]
    yield ("model", "show"), [world.root / "model"]
    yield ("predict",), [world.scan, "--model", world.root / "model", "--output", world.root / "case"]
    yield ("sql",), [*at, "FROM training"]
    yield ("preview",), [world.scan, *at, "--output", world.root / "preview.png"]
    yield ("figure",), [*at, "flowchart", "--output", world.root / "figures"]
    yield ("report",), [*at, "--output", world.root / "report.html"]
    yield ("status",), at
    yield ("tables",), []
    yield ("dictionary",), []
    yield ("export",), ["training", *at, "--output", world.root / "training.xlsx"]
    yield ("catalog",), [world.root / "catalog.duckdb", *at]
    yield ("verify",), at
    yield ("purge",), at
    yield ("audit",), [*at, "--phi"]
    yield ("compact",), at
    yield ("demo",), [world.root]  # its steps are commands as above; the folder is refused, as it is not empty
    yield ("weights", "list"), []
    yield ("weights", "verify"), []
    yield ("weights", "add"), ["slowfast_4x16_resnet50_kinetics400", world.root / "list.csv"]
    yield ("weights", "fetch"), ["absent"]


MAY_FAIL = {("ingest-features",), ("demo",), ("weights", "add"), ("weights", "fetch")}


def names(group: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command that there is."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from names(command, (*before, name))
        else:
            yield (*before, name)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A stranger's folder full of tripwires."""
    return World(tmp_path_factory.mktemp("tripwires"))


@pytest.mark.long
def test_no_command_runs_or_reads_what_lies_in_the_current_folder_or_among_the_images(world: World) -> None:
    tried = set()
    for name, arguments in commands(world):
        done = world.run(*name, *arguments)
        assert done.returncode in ({2} if name in MAY_FAIL else {0, 1}), f"{name}: {done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        tried.add(name)
    assert tried == set(names(typer.main.get_command(app))), "each command there is"


@pytest.mark.parametrize(
    "variables",
    [
        {
            "PYTHONPATH": ":",
            "PATH": f":.:{os.environ['PATH']}",
            "XDG_CONFIG_HOME": ".config",
            "XDG_CACHE_HOME": ".cache",
        },
        {"HOME": ""},
        {"HOME": "~"},
        {"HOME": ".", "PYTHONPATH": "."},
    ],
    ids=" ".join,
)
def test_variables_that_name_the_current_folder_without_saying_so_are_passed_over(
    world: World, variables: dict[str, str]
) -> None:
    script = world.root / "start.py"
    script.write_text(STARTED)
    world.watched.opened()
    done = subprocess.run(
        [sys.executable, "-E", script],
        cwd=world.archive, env={**os.environ, **variables}, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told.pop("imported") is True
    assert {name: value for name, value in told.items() if any(not Path(one).is_absolute() for one in value)} == {}
    assert not world.watched.opened()


STARTED = """
import json, os, sys
from gliolake.process.isolation import LISTS, leave_current_folder
sys.path.insert(0, "")
leave_current_folder()
names = (*LISTS, "HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")
told = {name: os.environ[name].split(":") for name in names if name in os.environ}
import wave  # of the standard library, and not yet imported
told["imported"] = wave.__file__.endswith("/wave.py") and os.getcwd() not in wave.__file__
print(json.dumps(told))
"""

CHILDREN = """
import sys
from pathlib import Path
sys.argv[0] = "/bin/gliolake"
import gliolake.cli
from gliolake.process.isolation import leave_current_folder
leave_current_folder()
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from gliolake.features.backbones.openvino_cache import run_conversion
from gliolake.features.backbones.openvino_model import Order
from gliolake.errors import InputError
if __name__ == "__main__":
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        assert pool.submit(abs, -1).result() == 1
    try:
        run_conversion(Order("absent", None), Path(sys.argv[1]))
    except InputError as error:
        print(error)
"""


def test_interpreters_that_are_started_import_nothing_from_the_current_folder(world: World) -> None:
    script = world.root / "children.py"
    script.write_text(CHILDREN)
    world.watched.opened()
    done = subprocess.run(
        [sys.executable, script, world.root], cwd=world.archive, capture_output=True, encoding="utf-8", check=False
    )
    assert "absent" in done.stdout, done.stderr
    assert not world.watched.opened()


def test_the_watch_sees_what_is_opened(world: World) -> None:
    subprocess.run([sys.executable, "-c", "import json"], cwd=world.archive, check=True)
    assert "json.py" in world.watched.opened()
    assert (world.archive / "planted").exists()
    (world.archive / "planted").unlink()
