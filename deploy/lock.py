"""Write the lock files anew: each package of each environment of gliolake, with its version and its files' digests.

    python -m pip install uv && python deploy/lock.py [--upgrade]

Versions stay as they are, and what is new gets the newest, unless --upgrade is given. Each environment is installed
with ``pip install --no-deps --require-hashes``, so that nothing comes in that is not listed here.

requirements.lock        what gliolake needs to run, with all its extras
requirements-dev.lock    what its tests and checks need besides
deploy/torch-cpu.lock    torch for CPUs, which is on PyTorch's own index
deploy/cuda.lock         PyPI's torch for Linux, a CUDA build, with the companions that it cannot be imported without
deploy/mxnet/requirements.txt    MXNet's workers, from requirements.in beside it
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
RUN, DEV = ROOT / "requirements.lock", ROOT / "requirements-dev.lock"
CPU, CUDA, MXNET = ROOT / "deploy/torch-cpu.lock", ROOT / "deploy/cuda.lock", ROOT / "deploy/mxnet"
HEAD = "# Made by deploy/lock.py from pyproject.toml. Install with: pip install --no-deps --require-hashes -r FILE\n"
TORCH_FOR_CPUS = "torch==2.13.0+cpu"
ITS_DIGEST = " \\\n    --hash=sha256:6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b"
"""Of the file for Python 3.11 on Linux, x86_64."""

EXTRAS = ("extract", "train", "report", "slurm", "kubernetes")

UNUSED = ("autocfg", "opencv-python", "portalocker", "yacs")
"""What GluonCV asks for, and its four model files do not use."""

OF_CUDA = re.compile(r"(?:nvidia|cuda|triton)\b")

Blocks = dict[str, str]
"""By the name of a package, its lines in a lock file."""


def main() -> None:
    """Write all lock files."""
    pins = {} if "--upgrade" in sys.argv else {**_blocks(_text(RUN)), **_blocks(_text(DEV)), **_blocks(_text(CUDA))}
    project = str(ROOT / "pyproject.toml")
    run = _compiled(["setuptools"], project, *(f"--extra={extra}" for extra in EXTRAS), pins=pins)
    everything = _compiled([], project, "--all-extras", pins={**pins, **run})
    cuda = {name: block for name, block in run.items() if OF_CUDA.match(name)}
    run = {name: block for name, block in run.items() if name not in cuda}
    _write(CUDA, {**cuda, "torch": run["torch"]})
    _write(CPU, {"torch": TORCH_FOR_CPUS + ITS_DIGEST})
    _write(RUN, {**run, "torch": run["torch"] + ITS_DIGEST})
    _write(DEV, {name: block for name, block in everything.items() if name not in run and name not in cuda})
    listed = (MXNET / "requirements.in").read_text("utf-8").splitlines()
    _write(MXNET / "requirements.txt", _compiled([line for line in listed if "==" in line], "--no-deps"))


def _compiled(requirements: list[str], *options: str, pins: Blocks | None = None) -> Blocks:
    """What uv finds for these requirements and options, for Python 3.11 on Linux, with the digests of all files."""
    with TemporaryDirectory() as folder:
        listed, known, unused = (Path(folder, name) for name in ("listed.in", "known.txt", "unused.txt"))
        listed.write_text("\n".join(requirements), "utf-8")
        known.write_text("\n".join(block.split(" ", 1)[0] for block in (pins or {}).values()), "utf-8")
        unused.write_text("\n".join(UNUSED), "utf-8")
        command = ["uv", "pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate"]
        command += ["--python-version", "3.11", "--constraint", str(known), *options, str(listed)]
        command += [] if "--no-deps" in options else ["--excludes", str(unused)]
        return _blocks(subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout)


def _blocks(text: str) -> Blocks:
    found = re.findall(r"^([A-Za-z\d][^=\s]*)(==\S+(?: \\\n    --hash=\S+)*)", text, re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): name + rest for name, rest in found}


def _text(path: Path) -> str:
    return path.read_text("utf-8") if path.is_file() else ""


def _write(path: Path, blocks: Blocks) -> None:
    path.write_text(HEAD + "".join(f"{block}\n" for _, block in sorted(blocks.items())), "utf-8")
    print(f"{path.relative_to(ROOT)}: {len(blocks)} packages")


if __name__ == "__main__":
    main()
