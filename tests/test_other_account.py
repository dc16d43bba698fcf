"""What another account of the machine can see of a command at work: nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gliolake.ingest.synthetic.cohort import SyntheticCohorts

STRANGER = """
import os, sys
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
for line in sys.stdin:
    seen = []
    for top in line.split():
        for folder, _, files in os.walk(top):
            for name in files:
                try:
                    os.close(os.open(os.path.join(folder, name), os.O_RDONLY | os.O_NONBLOCK))
                except OSError:
                    continue
                seen.append(os.path.join(folder, name))
            if folder != top and os.access(folder, os.R_OK):
                seen.append(folder)
    print(*seen, flush=True)
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every account can look into, as pytest's are not."""
    if os.geteuid():
        pytest.skip("being somebody else needs root")
    folder = Path(tempfile.mkdtemp(prefix="gliolake-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.long
def test_nothing_that_a_command_writes_can_be_read_by_another_account(place: Path, synthetic: SyntheticCohorts) -> None:
    images = shutil.copytree(synthetic.brats21_images, place / "images")
    for name, mode in (("tmp", 0o1777), ("cache", 0o755), ("lakes", 0o755)):
        (place / name).mkdir()
        (place / name).chmod(mode)
    environment = {**os.environ, "TMPDIR": str(place / "tmp"), "XDG_CACHE_HOME": str(place / "cache")}
    at = ["--lake", place / "lakes" / "lake", "--workers", "1"]
    steps = (
        ["ingest", *at, "--cohort", "brats21", "--images", images],
        ["extract", *at, "--crop-size", "48", "--slices", "40"],
    )
    tops = " ".join(str(place / name) for name in ("tmp", "cache", "lakes"))
    looks, scratch = 0, False
    with subprocess.Popen(
        [sys.executable, "-c", STRANGER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    ) as stranger:
        assert stranger.stdin
        assert stranger.stdout
        for step in steps:
            command = [sys.executable, "-P", "-m", "gliolake", *map(str, step)]
            with subprocess.Popen(
                command, env=environment, umask=0o022, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            ) as running:
                while running.poll() is None:
                    stranger.stdin.write(f"{tops}\n")
                    stranger.stdin.flush()
                    seen = stranger.stdout.readline().split()
                    assert not seen
                    looks += 1
                    scratch = scratch or any((place / "tmp").glob("gliolake-*/dask/dask-scratch-space/worker-*"))
                assert running.stderr
                assert running.returncode == 0, running.stderr.read().decode()
        assert looks > 3
        assert scratch, "workers had a place to spill to"
        assert list((place / "cache").rglob("*.nbc")), "what was compiled is kept"
        (place / "tmp" / "open").write_text("for all to read")
        stranger.stdin.write(f"{tops}\n")
        stranger.stdin.flush()
        assert stranger.stdout.readline().split() == [str(place / "tmp" / "open")], "the stranger can see"
