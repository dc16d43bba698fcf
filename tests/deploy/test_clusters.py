"""Commands on other clusters: encrypted, queued, growing, and with workers that are unlike."""

from __future__ import annotations

import json
import os
import runpy
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import nibabel as nib
import numpy as np
import pytest
import yaml
from dask_kubernetes import operator

from gliolake.cluster.client import open_cluster
from gliolake.cluster.jobs import kubernetes_spec, slurm_cluster
from gliolake.cluster.tasks import map_tasks
from gliolake.config import FILE, VARIABLE, KubernetesPods, SlurmJob
from gliolake.errors import ClusterError
from gliolake.storage.lake import Lake
from tests.support.dask_processes import cluster, process, until

PROJECT = Path(__file__).parents[2]
VERSION = "1.32"
"""Of Kubernetes, whose schemas manifests are held against."""


def write_certificates(folder: Path) -> None:
    runpy.run_path(str(PROJECT / "deploy" / "certificates.py"))["write_certificates"](folder)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority and the pairs of its members."""
    folder = tmp_path_factory.mktemp("tls") / "set"
    write_certificates(folder)
    return folder


def options_of(compose: Mapping[str, Any], role: str, certificates: Path) -> list[str]:
    """The options that the compose file starts a service with, for this machine."""
    options = [option for option in compose["services"][role]["command"] if option.startswith("--")]
    assert options
    places = {"=/certificates": f"={certificates / role}", "=:8787": "=127.0.0.1:0", "--nworkers=1": "--nthreads=1"}
    return [reduce(lambda text, place: text.replace(*place), places.items(), option) for option in options]


def tls_settings(folder: Path) -> str:
    files = {"ca_file": "client/ca.pem", "certificate": "client/client.pem", "key": "client/client.key"}
    return "[cluster.tls]\n" + "".join(f"{name} = '{folder / file}'\n" for name, file in files.items())


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two small scans."""
    for number in (1, 2):
        for suffix in ("flair", "t1", "t1ce", "t2", "seg"):
            path = tmp_path / "images" / f"BraTS2021_0000{number}" / f"BraTS2021_0000{number}_{suffix}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            voxels = np.random.default_rng(number).integers(1, 900, (12, 10, 8), dtype=np.int16)
            if suffix == "seg":
                voxels = (voxels > 450).astype(np.uint8)
            nib.Nifti1Image(voxels, np.diag([-1.0, -1.0, 1.0, 1.0])).to_filename(path)
    return tmp_path / "images"


def gliolake(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The command line, in a folder."""
    command = [sys.executable, "-m", "gliolake", *options, "--lake", str(folder / "lake")]
    return subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", check=False)


def test_a_command_runs_on_an_encrypted_cluster_and_who_has_no_certificate_of_it_does_not(
    tmp_path: Path, certificates: Path, compose: Any, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = certificates / "worker" / "worker.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    roles = {role: options_of(compose, role, certificates) for role in ("scheduler", "worker")}
    command = ["ingest", "--cohort", "brats21", "--images", str(images), "--json"]
    with cluster(tmp_path, roles, workers=2) as address:
        assert address.startswith("tls://")
        (tmp_path / FILE).write_text(tls_settings(certificates))
        monkeypatch.setenv(VARIABLE, str(tmp_path / FILE))
        until(
            lambda: (
                "Registered"
                in (tmp_path / "worker1.log").read_text("utf-8") + (tmp_path / "worker0.log").read_text("utf-8")
            )
        )
        done = gliolake(tmp_path, *command, "--scheduler", address)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["read"] == 2
        assert len(Lake(tmp_path / "lake").read("scans")) == 2

        with open_cluster(address) as client:
            info = client.scheduler_info(n_workers=-1)
        for one in (info, *info["workers"].values()):  # as the health checks ask
            with urllib.request.urlopen(f"http://127.0.0.1:{one['services']['dashboard']}/health") as answer:
                assert answer.status == 200

        write_certificates(tmp_path / "others")
        (images / "BraTS2021_00002" / "BraTS2021_00002_t2.nii.gz").touch()
        for settings in (tls_settings(tmp_path / "others"), ""):
            (tmp_path / FILE).write_text(settings)
            refused = gliolake(tmp_path, *command, "--scheduler", address)
            assert refused.returncode == 2
            assert f"No Dask scheduler answers at {address}" in refused.stderr
            assert "certificates of one authority" in refused.stderr
            assert "Traceback" not in refused.stderr


PLAIN = {"scheduler": ["--no-dashboard"], "worker": ["--no-dashboard", "--nthreads", "1"]}

UNLIKE = """
import importlib.metadata as metadata
usual = metadata.version
metadata.version = lambda name: "1.0.0" if name == "scipy" else usual(name)
"""


def test_workers_with_other_versions_are_refused_by_every_command_also_if_they_join_later(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(UNLIKE)
    differs = r"scipy: \S+ here, 1\.0\.0 on tcp://"
    with cluster(tmp_path, PLAIN) as address:
        until(lambda: "Registered" in (tmp_path / "worker0.log").read_text("utf-8"))
        stranger = ["-m", "dask", "worker", address, "--no-nanny", "--no-dashboard", "--nthreads", "1"]
        with open_cluster(address) as client:
            outcomes = map_tasks(client, time.sleep, [0.1] * 400, description="dozing")
            assert next(outcomes) == (0.1, None)
            with process(stranger, tmp_path, "stranger.log", PYTHONPATH=str(tmp_path / "site")):
                with pytest.raises(ClusterError, match=differs):
                    assert all(outcome is None for _, outcome in outcomes)
                with pytest.raises(ClusterError, match=differs), open_cluster(address):
                    pass
                refused = gliolake(
                    tmp_path, "ingest", "--cohort", "brats21", "--images", str(images), "--scheduler", address
                )
    assert refused.returncode == 2
    assert "scipy" in refused.stderr
    assert "Install the same gliolake" in refused.stderr


SBATCH = """#!/bin/sh
# Takes a job as SLURM does, and runs it here.
for job; do :; done
if [ "$1" = "--test-only" ]; then
    if grep -q "#SBATCH -p absent" "$job"; then echo "sbatch: error: invalid partition specified" >&2; exit 1; fi
    exit 0
fi
cp "$job" "$JOBS/job.sh"
setsid sh "$JOBS/job.sh" > "$JOBS/job.log" 2>&1 &
echo "Submitted batch job $!"
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path in which sbatch and scancel stand for SLURM's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, script in {"sbatch": SBATCH, "scancel": '#!/bin/sh\nkill -9 -- -"$1"\n'}.items():
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("JOBS", str(tmp_path))
    monkeypatch.setenv(VARIABLE, str(tmp_path / FILE))
    return tmp_path


def test_jobs_of_slurm_start_encrypted_workers_and_end_with_the_command(slurm: Path) -> None:
    settings = "[cluster]\nscheduler = 'slurm'\n[cluster.slurm]\nmemory = '2GB'\nprocesses = 2\n"
    settings += f"shared_directory = '{slurm}'\n"
    (slurm / FILE).write_text(settings)
    with open_cluster() as client:
        assert client.scheduler.address.startswith("tls://")
        assert dict(map_tasks(client, abs, [-1, -2, -3], description="counting")) == {-1: 1, -2: 2, -3: 3}
        assert [*slurm.glob("gliolake-tls-*/key.pem")]
    assert "dask_worker" in (slurm / "job.sh").read_text("utf-8")
    assert not list(slurm.glob("gliolake-tls-*")), "no key is left"
    (slurm / FILE).write_text(settings + "queue = 'absent'\n")
    with pytest.raises(ClusterError, match=r"SLURM would not take.*invalid partition"), open_cluster():
        pass


def test_a_job_script_asks_slurm_for_what_the_settings_say() -> None:
    job = SlurmJob(
        memory="8GB", processes=4, queue="cpu", account="glioma", walltime="02:00:00", prologue=("module load python",),
        directives=("--exclusive",), python="/shared/python", worker_arguments=("--resources", "MXNET=1"),
    )  # fmt: skip
    with slurm_cluster(job, threads=2) as made:
        script = made.job_script()
    for line in ("-p cpu", "-A glioma", "--cpus-per-task=8", "--mem=8G", "-t 02:00:00", "--exclusive"):
        assert f"#SBATCH {line}\n" in script
    assert "\nmodule load python\n/shared/python -m distributed.cli.dask_worker tls://" in script
    for option in ("--nthreads 2", "--nworkers 4", "--tls-key ", "--resources MXNET=1", "--death-timeout 120"):
        assert option in script


def test_a_cluster_grows_with_its_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("[cluster]\nleast = 1\nmost = 2\n")
    monkeypatch.setenv(VARIABLE, str(tmp_path / FILE))
    with open_cluster() as client:
        assert len(client.scheduler_info(n_workers=-1)["workers"]) <= 1
        most = 0
        for _ in map_tasks(client, time.sleep, [1.0] * 16, description="dozing"):
            most = max(most, len(client.scheduler_info(n_workers=-1)["workers"]))
            if most == 2:
                break
    assert most == 2


def test_what_the_operator_of_kubernetes_is_asked_for_fits_its_schema_and_is_limited() -> None:
    pods = KubernetesPods(image="gliolake:0.1.0", claim="lake", secret="bucket", environment={"A": "b"})  # noqa: S106 - a name
    asked = kubernetes_spec(pods, 1, "gliolake-1")
    shipped = Path(operator.__file__).parent / "deployment/helm/dask-kubernetes-operator/crds/daskcluster.yaml"
    definition = yaml.safe_load(shipped.read_text("utf-8"))
    jsonschema.validate(asked, definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    for role in ("scheduler", "worker"):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": role}, "spec": asked["spec"][role]["spec"]}
        kubernetes_validate.validate(pod, VERSION, strict=True)
        (container,) = pod["spec"]["containers"]
        assert container["resources"]["limits"] == {"cpu": "1", "memory": "4Gi"}
        assert pod["spec"]["securityContext"]["runAsNonRoot"]
    assert asked["spec"]["worker"]["replicas"] == 0
    assert pod["spec"]["volumes"][0]["persistentVolumeClaim"] == {"claimName": "lake"}
    assert container["envFrom"] == [{"secretRef": {"name": "bucket"}}]
