"""Builds the environment of GluonCV's time that the parity test runs in: about 3 GB, from PyPI.

    python tests/parity/build_environment.py FOLDER

Python 3.8 with torch 1.8.1 where there is a python3.8 (PARITY_PYTHON names another), else Python 3.11 with torch
1.13.1, the newest that GluonCV accepts. Where it cannot be built, the reason is kept in FOLDER/reason.txt, and the test
skips with it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def find_python() -> tuple[str, str] | None:
    """A Python that answers, and its version, of those that there are requirements for; 3.8 before 3.11."""
    for python in filter(None, (os.environ.get("PARITY_PYTHON"), "python3.8", "python3.11", sys.executable)):
        asked = "import sys; print('%d.%d' % sys.version_info[:2])"
        try:
            answer = subprocess.run([python, "-c", asked], capture_output=True, encoding="utf-8", check=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        if (HERE / f"requirements-{answer.stdout.strip()}.txt").exists():
            return python, answer.stdout.strip()
    return None


def build(folder: Path) -> None:
    """Build it, unless it is there and made of the same requirements."""
    found = find_python()
    if found is None:
        fail(folder, "neither python3.8 nor python3.11 is there; PARITY_PYTHON can name one")
        return
    python, release = found
    requirements = HERE / f"requirements-{release}.txt"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    done = folder / "built.txt"
    if done.exists() and done.read_text() == digest:
        print(f"{folder} is there already.")
        return
    shutil.rmtree(folder, ignore_errors=True)
    print(f"Building {folder} with Python {release}: about 3 GB of packages of 2021 to 2022 …", flush=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in (
        [python, "-m", "venv", str(folder)],
        [*pip, "setuptools<70"],  # GluonCV asks distutils for versions
        [*pip, "--no-deps", "--requirement", str(requirements)],
    ):
        done_well = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
        if done_well.returncode:
            lines = [line for line in done_well.stderr.splitlines() if line.startswith("ERROR")]
            fail(folder, (lines or done_well.stderr.splitlines() or ["no message"])[-1])
            return
    done.write_text(digest)


def fail(folder: Path, reason: str) -> None:
    """Keep the reason for the test to show."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "reason.txt").write_text(reason)
    print(f"The environment cannot be built: {reason}")


if __name__ == "__main__":
    build(Path(sys.argv[1]).resolve())
