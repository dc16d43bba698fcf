"""What is installed is what the lock files say, by version and digest, from one index a package."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import threading
import tomllib
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
LOCKS = (
    "requirements.lock", "requirements-dev.lock", "deploy/torch-cpu.lock", "deploy/cuda.lock",
    "deploy/mxnet/requirements.txt",
)  # fmt: skip
INSTALLERS = ("Makefile", "deploy/Dockerfile")


def locked(name: str) -> Mapping[str, list[str]]:
    """By package as name==version, the digests that its files may have."""
    blocks = re.findall(
        r"^([a-z\d][\w.-]*==\S+)((?: \\\n {4}--hash=sha256:[0-9a-f]{64})*)$",
        (PROJECT / name).read_text("utf-8"), re.MULTILINE,
    )  # fmt: skip
    return {package: re.findall(r"[0-9a-f]{64}", hashes) for package, hashes in blocks}


@pytest.mark.parametrize("name", LOCKS)
def test_each_package_of_a_lock_has_a_version_and_digests_and_nothing_else_stands_there(name: str) -> None:
    packages = locked(name)
    assert packages
    assert all(packages.values()), [package for package, hashes in packages.items() if not hashes]
    lines = (PROJECT / name).read_text("utf-8").splitlines()
    rest = [line for line in lines if not re.match(r"#|[a-z\d][\w.-]*==\S+ \\$| {4}--hash=sha256:", line)]
    assert rest == []


def test_all_that_the_project_asks_for_is_locked_and_torch_at_its_pin() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *(one for extra, listed in extras.items() if extra != "dev" for one in listed)]
    names = {re.match(r"[\w-]+", one)[0].lower() for one in asked} | {"setuptools"}  # type: ignore[index]
    run = {package.split("==")[0].replace("_", "-") for package in locked("requirements.lock")}
    assert names <= run
    assert f"gliolake[{','.join(extra for extra in extras if extra != 'dev')}]" in extras["dev"]
    assert "torch==2.13.0" in locked("requirements.lock")
    assert not run & {package.split("==")[0] for package in locked("requirements-dev.lock")}


@pytest.mark.parametrize("name", INSTALLERS)
def test_every_installation_wants_digests_and_one_index(name: str) -> None:
    text = (PROJECT / name).read_text("utf-8").replace("\\\n", " ")
    text = text.replace("$pip $locked", "pip install --no-deps --require-hashes")
    text = text.replace("$(INSTALL) ", "pip install --no-deps --require-hashes ")
    installs = [line for command in re.findall(r"pip install .*", text) for line in command.split(" && ")]
    from_files = [line for line in installs if "--requirement" in line]
    assert len(from_files) >= 2
    assert all("--require-hashes" in line and "--no-deps" in line for line in from_files)
    assert "--extra-index-url" not in text
    others = [line for line in installs if "pip install" in line and "--requirement" not in line]
    assert all(re.search(r"--editable \.|/wheels|atheris==|:all:$", line) for line in others), others


def test_the_images_base_is_a_digest_and_containers_are_asked_for_their_health() -> None:
    text = (PROJECT / "deploy/Dockerfile").read_text("utf-8")
    assert re.search(r"^ARG PYTHON=python:[\w.-]+@sha256:[0-9a-f]{64}$", text, re.MULTILINE)
    assert text.count("HEALTHCHECK") == 1
    assert text.index("AS base") < text.index("HEALTHCHECK") < text.index("FROM base AS mxnet")


def test_a_file_whose_digest_is_not_the_locks_is_not_installed(tmp_path: Path) -> None:
    wheel = tmp_path / "small-1.0-py3-none-any.whl"
    build = f"""
import zipfile
with zipfile.ZipFile({str(wheel)!r}, "w") as file:
    file.writestr("small.py", "")
    file.writestr("small-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: small\\nVersion: 1.0\\n")
    file.writestr("small-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    file.writestr("small-1.0.dist-info/RECORD", "")
"""
    subprocess.run([sys.executable, "-c", build], check=True)
    lock = tmp_path / "lock.txt"
    lock.write_text(f"small==1.0 --hash=sha256:{'0' * 64}\n", "utf-8")
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--require-hashes", "--no-index", "--isolated"]
    command += ["--find-links", str(tmp_path), "--target", str(tmp_path / "target"), "--requirement", str(lock)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode != 0
    assert "HASH" in done.stderr.upper()
    assert not (tmp_path / "target" / "small.py").exists()


@pytest.mark.parametrize(("status", "well"), [(200, True), (500, False)])
def test_a_container_is_healthy_if_its_dask_process_says_so(status: int, well: bool) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    health = runpy.run_path(str(PROJECT / "deploy/health.py"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        assert health["answers"](port) is well
        server.shutdown()
    assert health["answers"](port) is False
    assert health["port_of"](f"dask worker tls://s:8786 --dashboard-address=:{port}") == port
    assert health["port_of"]("gliolake ingest --config cohorts.toml") is None
