"""A real SLURM, where there is one: tests/deploy/single_node_slurm.sh starts one on a machine of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gliolake.config import VARIABLE
from gliolake.ingest.synthetic.cohort import SyntheticCohorts
from gliolake.storage.lake import Lake

PROJECT = Path(__file__).parents[2]

SETTINGS = """
[cluster]
scheduler = "slurm"
least = 1
most = 2
[cluster.slurm]
memory = "2GB"
walltime = "00:10:00"
log_directory = "logs"
"""


@pytest.fixture(autouse=True)
def _slurm() -> None:
    if not shutil.which("sinfo"):
        pytest.skip("SLURM is not installed")
    try:
        up = subprocess.run(
            ["sinfo", "--noheader", "--states", "idle,mixed"], capture_output=True, timeout=30, check=True
        )
    except subprocess.SubprocessError:
        pytest.skip("SLURM does not answer")
    if not up.stdout.strip():
        pytest.skip("SLURM has no node that is up")


def test_an_ingest_reads_its_scans_in_jobs_of_slurm_that_end_with_it(
    tmp_path: Path, synthetic: SyntheticCohorts
) -> None:
    settings = tmp_path / "gliolake.toml"
    settings.write_text(SETTINGS)
    settings.chmod(0o600)
    images = str(synthetic.brats21_images)
    command = ["ingest", "--lake", str(tmp_path / "lake"), "--cohort", "brats21", "--images", images]
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    done = subprocess.run(
        [sys.executable, str(PROJECT / "gliolake/cli/app.py"), "--config", str(settings), *command],
        cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "The cluster is slurm" in done.stderr
    assert len(Lake(tmp_path / "lake").read("scans")) > 0
    logs = "".join(log.read_text("utf-8") for log in (tmp_path / "logs").glob("*.err"))
    assert "Start worker at:      tls://" in logs
    queue = subprocess.run(["squeue", "--noheader", "--states", "running"], capture_output=True, check=True)
    assert b"dask-worker" not in queue.stdout
