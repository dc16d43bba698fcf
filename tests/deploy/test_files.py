"""What deploy/ ships is understood by the programs it is for, and is limited, unprivileged and free of secrets."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from compose_spec import PyCompose

from gliolake.cluster.jobs import USER
from gliolake.cluster.local import DEATHS, KEEP_MEMORY
from gliolake.config import ClusterSettings, read_settings
from gliolake.ingest.schedule import read_schedule
from gliolake.sql.metrics import write_metrics
from gliolake.sql.status import status
from gliolake.storage.lake import Lake

KUBERNETES = "1.32"
MANIFESTS = ("kubernetes", "kubernetes/standing", "schedule/kubernetes")
STANDING = ("scheduler", "worker", "scheduler-mxnet", "worker-mxnet")


def test_the_compose_file_is_one(compose: dict[str, Any]) -> None:
    services = PyCompose.from_json(json.dumps(compose)).services
    assert {*STANDING, "certificates", "gliolake", "ingest"} == set(services)
    compose = json.loads(json.dumps(compose).replace("cap_drop", "cap_drap"))
    with pytest.raises(ValueError, match="cap_drap"):
        PyCompose.from_json(json.dumps(compose))


def test_compose_itself_understands_the_file(deploy: Path, tmp_path: Path) -> None:
    """Compose version 1, of Debian's packages, knows all of it but the project's name."""
    if not shutil.which("docker-compose"):
        pytest.skip("docker-compose is not installed")
    file = tmp_path / "compose.yaml"
    file.write_text(
        re.sub(r"^name: .*$", "", (deploy / "compose.yaml").read_text("utf-8"), flags=re.MULTILINE), "utf-8"
    )
    command = ["docker-compose", "--file", str(file), "config", "--quiet"]
    environment = {**os.environ, "GLIOLAKE_DATA": "/data"}
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    del environment["GLIOLAKE_DATA"]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert "set it to the folder of the scans" in done.stderr


def test_services_have_no_rights_beyond_their_own_and_are_reached_from_this_machine_alone(
    compose: dict[str, Any],
) -> None:
    for name, service in compose["services"].items():
        assert service["user"] == f"{USER}:{USER}", name
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        given = [value for key, value in service["environment"].items() if key.startswith("AWS_")]
        assert given == [None] * 5, "credentials come from the shell"
        for volume in service["volumes"]:
            source, target, *mode = volume.split(":")
            assert source == "lake" or mode == ["ro"] or name == "certificates", target
            if source.startswith("certificates") and name != "certificates":
                role = "client" if name in ("gliolake", "ingest") else name.split("-")[0]
                assert source == f"certificates-{role}", "no process sees the key of another role"
    for name in STANDING:
        assert set(compose["services"][name]["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
        assert compose["services"][name]["healthcheck"]["test"][0] == "CMD"


def documents(folder: Path) -> Iterator[dict[str, Any]]:
    """The manifests that a kustomization names, as they stand in its files."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))
    for name in kustomization["resources"]:
        yield from yaml.safe_load_all((folder / name).read_text("utf-8"))


def pods_of(document: dict[str, Any]) -> dict[str, Any] | None:
    spec = document.get("spec", {})
    spec = spec.get("jobTemplate", {}).get("spec", spec)
    return spec["template"]["spec"] if "template" in spec else None


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_fit_the_schemas_of_kubernetes(deploy: Path, name: str) -> None:
    for document in documents(deploy / name):
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    broken = json.loads(json.dumps(document).replace('"spec"', '"spek"'))
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, KUBERNETES, strict=True)


@pytest.mark.parametrize("name", MANIFESTS)
def test_kustomize_understands_the_folders(deploy: Path, name: str) -> None:
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    command = ["kubectl", "kustomize", str(deploy / name)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    for document in yaml.safe_load_all(done.stdout):
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
        assert document["kind"] == "Namespace" or document["metadata"]["namespace"] == "gliolake"


def test_pods_are_limited_and_unprivileged_and_rest_on_what_is_there(deploy: Path) -> None:
    every = [document for name in MANIFESTS for document in documents(deploy / name)]
    claims = {each["metadata"]["name"] for each in every if each["kind"] == "PersistentVolumeClaim"}
    accounts = {each["metadata"]["name"] for each in every if each["kind"] == "ServiceAccount"} | {None}
    specs = [spec for document in every if (spec := pods_of(document))]
    assert len(specs) == 3
    for spec in specs:
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["runAsUser"] == USER
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec.get("serviceAccountName") in accounts
        used = {one["persistentVolumeClaim"]["claimName"] for one in spec["volumes"] if "persistentVolumeClaim" in one}
        assert used <= claims
        for container in spec["containers"]:
            assert set(container["resources"]["limits"]) == {"cpu", "memory"}
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert not container["securityContext"]["allowPrivilegeEscalation"]
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            assert mounted == {volume["name"] for volume in spec["volumes"]}
    assert not [each for each in every if each["kind"] == "Secret"], "secrets are made by hand"
    (policy,) = (each for each in every if each["kind"] == "NetworkPolicy")
    assert policy["spec"]["podSelector"] == {}


def test_settings_and_schedules_are_what_gliolake_reads(deploy: Path, tmp_path: Path) -> None:
    def installed(file: str) -> ClusterSettings:
        shutil.copyfile(deploy / file, tmp_path / "gliolake.toml")
        (tmp_path / "gliolake.toml").chmod(0o644)
        return read_settings(tmp_path / "gliolake.toml")

    pods = installed("schedule/kubernetes/gliolake.toml").kubernetes
    assert pods is not None
    claims = [each for each in documents(deploy / "kubernetes") if each["kind"] == "PersistentVolumeClaim"]
    assert pods.claim == claims[0]["metadata"]["name"]
    slurm = installed("slurm/gliolake.toml").slurm
    assert slurm is not None
    assert slurm.tls
    assert len(read_schedule(deploy / "schedule/cohorts.toml").cohort) == 2
    assert read_schedule(deploy / "schedule/kubernetes/cohorts.toml").extract is not None
    told = (deploy / "compose.toml").read_text("utf-8")
    services = yaml.safe_load((deploy / "compose.yaml").read_text("utf-8"))["services"]
    assert re.search(r'scheduler = "tls://(\w+):8786"', told)[1] in services  # type: ignore[index]


def test_every_timer_starts_the_same_command(deploy: Path, compose: dict[str, Any]) -> None:
    (job,) = documents(deploy / "schedule/kubernetes")
    command = ["gliolake", "ingest", "--config", "/etc/gliolake/cohorts.toml"]
    assert job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"] == command
    assert compose["services"]["ingest"]["command"] == command
    for file in ("gliolake-ingest.service", "gliolake.cron"):
        assert "/opt/gliolake/.venv/bin/" + " ".join(command) in (deploy / "schedule" / file).read_text("utf-8")
    assert "/.venv/bin/gliolake" in (deploy / "slurm/ingest.sbatch").read_text("utf-8")


def test_systemd_understands_its_units(deploy: Path, tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd is not installed")
    units = [tmp_path / f"gliolake-ingest.{kind}" for kind in ("service", "timer")]
    for unit in units:
        text = (deploy / "schedule" / unit.name).read_text("utf-8")
        unit.write_text(text.replace("/opt/gliolake/.venv/bin/gliolake", "/bin/true"), "utf-8")
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_confines_what_a_strangers_file_could_make_of_the_program(deploy: Path) -> None:
    lines = (deploy / "schedule/gliolake-ingest.service").read_text("utf-8").partition("[Service]")[2].splitlines()
    told = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith(("#", "Environment")))
    for switch in ("NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectHome", "RestrictSUIDSGID"):
        assert told[switch] == "yes", switch
    assert (told["ProtectSystem"], told["SystemCallFilter"]) == ("strict", "@system-service")
    assert not {"AF_PACKET", "AF_VSOCK"} & set(told["RestrictAddressFamilies"].split())
    assert 0 < int(told["MemoryMax"].removesuffix("%")) < 100
    assert set(told["ReadWritePaths"].split()) == {"/srv/lake"}


def test_alerts_ask_for_metrics_that_there_are(deploy: Path, lake: Lake, tmp_path: Path) -> None:
    file = tmp_path / "gliolake.prom"
    write_metrics(status(lake), file)
    there = set(re.findall(r"^# TYPE (\w+) gauge$", file.read_text("utf-8"), re.MULTILINE))
    rules = yaml.safe_load((deploy / "schedule/alerts.yaml").read_text("utf-8"))["groups"][0]["rules"]
    readme = (deploy / "README.md").read_text("utf-8")
    for rule in rules:
        asked = set(re.findall(r"gliolake_\w+", rule["expr"]))
        assert asked
        assert asked <= there
        assert f"- alert: {rule['alert']} " not in readme or f"  expr: {rule['expr']}\n" in readme
    assert set(re.findall(r"gliolake_\w+", readme)) <= there


def test_prometheus_understands_the_alerts(deploy: Path) -> None:
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed")
    command = ["promtool", "check", "rules", deploy / "schedule/alerts.yaml"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr


def test_runs_on_a_timer_keep_a_journal(deploy: Path) -> None:
    for file in ("gliolake-ingest.service", "gliolake.cron"):
        text = (deploy / "schedule" / file).read_text("utf-8")
        assert "GLIOLAKE_LOG=json" in text
        assert "gliolake status --prometheus /var/lib/gliolake/metrics/gliolake.prom" in text
    (job,) = documents(deploy / "schedule/kubernetes")
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert {"name": "GLIOLAKE_LOG", "value": "json"} in container["env"]


def test_cron_understands_its_line(deploy: Path) -> None:
    file = deploy / "schedule/gliolake.cron"
    (line,) = [line for line in file.read_text("utf-8").splitlines() if not re.match(r"#|\w+=", line)]
    assert re.fullmatch(r"\d+ \d+ \* \* \* gliolake flock .*", line)
    if not shutil.which("crontab"):
        pytest.skip("cron is not installed")
    done = subprocess.run(["crontab", "-n", file], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr


def test_cron_starts_nothing_while_the_run_before_is_at_work(deploy: Path, tmp_path: Path) -> None:
    if not shutil.which("flock"):
        pytest.skip("flock is not installed")
    (line,) = re.findall(
        r"^[\d *]+gliolake (flock .*?) 2>&1", (deploy / "schedule/gliolake.cron").read_text("utf-8"), re.M
    )
    config, begun = tmp_path / "cohorts.toml", tmp_path / "begun"
    config.touch()
    start = line.replace("/etc/gliolake/cohorts.toml", str(config), 1)
    start = re.sub(r"/opt/\S+/gliolake ingest .*", f"sh -c 'echo >> {begun}; read line'", start)
    with subprocess.Popen(["sh", "-c", start], stdin=subprocess.PIPE) as first:
        while not begun.exists():
            assert first.poll() is None
        second = subprocess.run(["sh", "-c", start], capture_output=True, stdin=subprocess.DEVNULL, check=False)
        assert (second.returncode, begun.read_text()) == (1, "\n")
        assert b"lock" in second.stderr
        assert first.stdin
        first.stdin.write(b"\n")
    assert first.returncode == 0


def test_the_image_is_unprivileged_and_its_workers_behave_as_those_of_one_machine(deploy: Path) -> None:
    steps = (deploy / "Dockerfile").read_text("utf-8")
    assert steps.count(f"USER {USER}:{USER}") == 2
    assert re.search(r"^ARG PYTHON=python:3\.11-slim-\w+@sha256:\w{64}$", steps, re.MULTILINE)
    for copied in re.findall(r"^COPY (deploy/\S+)", steps, re.MULTILINE):
        assert (deploy.parent / copied).is_file()
        assert f"!{copied}\n" in (deploy / "Dockerfile.dockerignore").read_text("utf-8")
    told = yaml.safe_load((deploy / "dask.yaml").read_text("utf-8"))["distributed"]
    assert told["nanny"]["pre-spawn-environ"] == KEEP_MEMORY
    assert told["scheduler"]["allowed-failures"] == DEATHS - 1
