"""Clusters that a command starts for itself: SLURM jobs, or pods of the Dask operator of Kubernetes.

Both end with the command. If it is killed, SLURM ends its jobs at their walltime or when they miss the scheduler, and
the operator removes pods that are idle.
"""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from gliolake.cluster.certificates import certificates_in
from gliolake.cluster.local import unwatched
from gliolake.config import KUBERNETES, SLURM, ClusterSettings, KubernetesPods, SlurmJob
from gliolake.errors import ClusterError, InputError
from gliolake.process.private_folders import cache_folder
from gliolake.process.signals import temporary_folder

if TYPE_CHECKING:
    from dask_jobqueue.slurm import SLURMCluster

USER = 10001
"""Of the image (deploy/Dockerfile)."""

SILENT_SECONDS = "120"
"""After so long without its scheduler, a worker ends itself."""


@contextmanager
def start_cluster(chosen: ClusterSettings) -> Iterator[Any]:
    """The Dask cluster of SLURM or Kubernetes that the settings describe, as yet without workers.

    Raises:
        InputError: the package that speaks with it is not installed.
        ClusterError: SLURM or Kubernetes is not there, or refuses.
    """
    threads = chosen.threads or 1
    if chosen.scheduler == SLURM and chosen.slurm:
        with slurm_cluster(chosen.slurm, threads, chosen.dashboard) as cluster:
            _try_job(cluster.job_script())
            yield cluster
    elif chosen.scheduler == KUBERNETES and chosen.kubernetes:
        with _kubernetes_cluster(chosen.kubernetes, threads) as cluster:
            yield cluster


@contextmanager
def slurm_cluster(job: SlurmJob, threads: int, watched: bool = False) -> Iterator[SLURMCluster]:
    """A scheduler in this process, whose workers will be SLURM jobs. Options left empty come from Dask's own files.

    watched: whether the scheduler serves its page.

    Raises:
        InputError: dask-jobqueue is not installed.
    """
    import dask

    try:
        from dask_jobqueue.slurm import SLURMCluster
    except ImportError:
        raise _not_installed(SLURM) from None
    shared = job.shared_directory or cache_folder("certificates")
    with (
        certificates_in(shared) if job.tls else nullcontext() as security,
        dask.config.set(unwatched(watched)),
        SLURMCluster(
            cores=job.processes * threads,
            processes=job.processes,
            memory=job.memory,
            queue=job.queue or None,
            account=job.account or None,
            walltime=job.walltime,
            interface=job.interface or None,
            python=job.python or None,
            local_directory=job.local_directory or None,
            log_directory=job.log_directory or None,
            job_script_prologue=["export PYTHONSAFEPATH=1", *job.prologue],
            job_extra_directives=list(job.directives),
            worker_extra_args=["--no-dashboard", *job.worker_arguments],
            death_timeout=SILENT_SECONDS,
            security=security,
            protocol="tls://" if security else None,
            scheduler_options={"dashboard": watched, "dashboard_address": "127.0.0.1:0"},
        ) as cluster,
    ):
        yield cluster


def _try_job(script: str) -> None:
    """Ask SLURM whether it would take the job: what it refuses later, nobody sees."""
    if shutil.which("sbatch") is None:
        raise ClusterError("There is no sbatch here.", hint="Run the command where SLURM jobs are submitted.")
    with temporary_folder("slurm") as folder:
        file = folder / "worker.sh"
        file.write_text(script, encoding="utf-8")
        asked = subprocess.run(["sbatch", "--test-only", file], capture_output=True, encoding="utf-8", check=False)
    if asked.returncode:
        raise ClusterError(
            f"SLURM would not take the workers' job: {asked.stderr.strip()}", hint="Correct [cluster.slurm]."
        )


@contextmanager
def _kubernetes_cluster(pods: KubernetesPods, threads: int) -> Iterator[Any]:
    try:
        from dask_kubernetes.operator import KubeCluster
    except ImportError:
        raise _not_installed(KUBERNETES) from None
    import httpx
    import kr8s

    spec = kubernetes_spec(pods, threads, f"gliolake-{uuid.uuid4().hex[:8]}")
    try:
        # Does Kubernetes answer, know DaskClusters and let us see them? KubeCluster is slow and loud to find out.
        list(kr8s.get("daskclusters.kubernetes.dask.org", namespace=pods.namespace or None))
        cluster = KubeCluster(custom_cluster_spec=spec, namespace=pods.namespace or None, quiet=True)
    except (kr8s.APITimeoutError, kr8s.ConnectionClosedError, kr8s.NotFoundError, kr8s.ServerError, httpx.HTTPError,
            TimeoutError, OSError, ValueError) as error:  # fmt: skip
        raise ClusterError(
            f"Kubernetes starts no Dask cluster ({type(error).__name__}: {error}).",
            hint="Is the Dask operator there, and may you make DaskClusters? See deploy/README.md.",
        ) from error
    with cluster:
        yield cluster


def kubernetes_spec(pods: KubernetesPods, threads: int, name: str) -> dict[str, Any]:
    """A DaskCluster (kubernetes.dask.org/v1) without workers: the operator's own template, made safe and limited."""
    from dask_kubernetes.operator import make_cluster_spec

    amount = {"cpu": pods.cpu, "memory": pods.memory}
    command = ["dask", "worker", "--nthreads", str(threads), "--death-timeout", SILENT_SECONDS, *pods.worker_arguments]
    spec: dict[str, Any] = make_cluster_spec(
        name,
        image=pods.image,
        n_workers=0,
        resources={"requests": amount, "limits": amount},
        env={"PYTHONSAFEPATH": "1", **pods.environment},
        worker_command=command,
        idle_timeout=pods.idle_seconds,
    )
    for role in ("scheduler", "worker"):
        pod = spec["spec"][role]["spec"]
        pod["securityContext"] = {
            "runAsNonRoot": True, "runAsUser": USER, "fsGroup": USER, "seccompProfile": {"type": "RuntimeDefault"},
        }  # fmt: skip
        pod["automountServiceAccountToken"] = False
        (container,) = pod["containers"]
        container["securityContext"] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        if role == "worker" and pods.secret:
            container["envFrom"] = [{"secretRef": {"name": pods.secret}}]
        if role == "worker" and pods.claim:
            pod["volumes"] = [{"name": "lake", "persistentVolumeClaim": {"claimName": pods.claim}}]
            container["volumeMounts"] = [{"name": "lake", "mountPath": pods.mount}]
    return spec


def _not_installed(kind: str) -> InputError:
    return InputError(
        f"gliolake was installed without what it needs for {kind}.", hint=f"Run: pip install 'gliolake[{kind}]'"
    )
