"""What tests of all rooms share: the reference data, lakes on a disk and in an S3 server, rows to put into them."""

from __future__ import annotations

import locale
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from gliolake.ingest.synthetic.cohort import SyntheticCohorts, write_cohorts
from gliolake.log.journal import JsonLines, logger
from gliolake.log.progress import install, logged
from gliolake.storage.lake import Lake
from tests.support.answer import Answer
from tests.support.full import examples
from tests.support.rows import label
from tests.support.s3_server import s3_server

settings.register_profile("gliolake", max_examples=examples(100))
settings.load_profile("gliolake")

# Whoever starts the tests in the background may have signals ignored, and commands keep that up: they would not end.
for _number, _handler in {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}.items():
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)


def pytest_configure(config: pytest.Config) -> None:
    """Converted networks are kept for the run, for all its processes, and not in the user's own folder."""
    if "GLIOLAKE_NETWORKS" not in os.environ:
        folder = os.environ["GLIOLAKE_NETWORKS"] = tempfile.mkdtemp(prefix="gliolake-networks-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of the real data that tests read where it lies."""
    folder = Path(os.environ.get("GLIOLAKE_REFERENCE", Path(__file__).parents[2] / "shared" / "reference"))
    if not folder.is_dir():
        pytest.skip(f"the reference data is not at {folder}; set GLIOLAKE_REFERENCE to where it is")
    return folder


@pytest.fixture(autouse=True)
def same_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command that is run in the tests' own process logs for all of it, and makes it and its children
    import nothing from the current folder; SimpleITK changes the locale as it writes DICOM."""
    hook, path, language = sys.excepthook, sys.path[:], locale.setlocale(locale.LC_ALL)
    monkeypatch.setenv("PYTHONSAFEPATH", "")  # for it to be put back
    monkeypatch.delenv("PYTHONSAFEPATH")
    yield
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)
    install(logged)
    logging.root.handlers[:] = [each for each in logging.root.handlers if not isinstance(each.formatter, JsonLines)]
    sys.excepthook, sys.path[:] = hook, path
    locale.setlocale(locale.LC_ALL, language)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A new lake in a folder."""
    return Lake(tmp_path / "lake", create=True)


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> SyntheticCohorts:
    """Synthetic cohorts of 8 patients in training and 4 external ones; to be read or copied, not changed."""
    return write_cohorts(tmp_path_factory.mktemp("synthetic") / "cohorts", patients=8, external=4, seed=1)


@pytest.fixture(scope="session")
def ingested(synthetic: SyntheticCohorts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of the 11 sound scans of their BraTS21; to be copied, not changed."""
    from gliolake.ingest.pipeline import ingest

    folder = tmp_path_factory.mktemp("ingested") / "lake"
    ingest(Lake(folder, create=True), "brats21", images=synthetic.brats21_images, labels=None, workers=2)
    return folder


@pytest.fixture(scope="session")
def s3_bucket() -> Iterator[str]:
    """URL of a bucket on an S3 server that runs for the session, with the variables set that lead clients to it."""
    with s3_server() as bucket:
        yield bucket


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs rights that this user lacks")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture(params=["folder", "S3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a new lake may begin: a folder, then an S3 prefix."""
    if request.param == "folder":
        return str(tmp_path / "lake")
    return f"{request.getfixturevalue('s3_bucket')}/{uuid.uuid4().hex}"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Callable[..., Answer]:
    """Runs a command line in this process; its lake is the one that the arguments or GLIOLAKE_LAKE name."""
    from gliolake.cli.app import main

    def run(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["gliolake", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capfdbinary.readouterr()
        return Answer(code, out.decode(), err.decode())

    return run


@pytest.fixture(name="label")
def label_maker() -> Any:
    """The function that makes a row of table labels."""
    return label


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many faults of each kind the tests injected that then looked whether a row was lost or doubled, and the like.

    A test tells its own in the end: one that fails tells none, and is a failure of the run.
    """
    told = [
        property_of_test
        for report in terminalreporter.stats.get("passed", ())
        if report.when == "call"
        for property_of_test in report.user_properties
    ]
    survived, storms, generated = (_sums(told, kind) for kind in ("faults: ", "storms: ", "generated cohorts: "))
    if generated:
        terminalreporter.section("generated cohorts; each scan and label is the right row, or a named exclusion")
        for what, number in sorted(generated.items()):
            terminalreporter.write_line(f"{number:7,}  {what}")
    if survived:
        terminalreporter.section("faults injected; after each of them rows lost 0, rows doubled 0")
        for kind, number in sorted(survived.items()):
            terminalreporter.write_line(f"{number:7,}  {kind}")
        terminalreporter.write_line(f"{survived.total():7,}  in all")
    if storms:
        terminalreporter.section(
            "storms of commands in three loops at once, on a lake in a folder and on another in S3"
        )
        for name, number in storms.items():
            terminalreporter.write_line(f"{number:7,}  {name}")


def _sums(told: Iterable[tuple[str, object]], beginning: str) -> Counter[str]:
    sums: Counter[str] = Counter()
    for name, number in told:
        if name.startswith(beginning) and isinstance(number, int):
            sums[name.removeprefix(beginning)] += number
    return sums
