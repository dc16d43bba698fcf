"""What a newcomer meets first holds together: targets of make, links, paths, versions, forms."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
PAGES = [
    *(PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "deploy/README.md")),
    *sorted((PROJECT / "docs").rglob("*.md")),
]
ROOTS = r"(?:gliolake|ingest|features|sql|modeling|analysis|tests|deploy|docs)/"


def test_help_names_every_target_of_make() -> None:
    # A make that runs these tests makes this one talk of its folders, by these variables.
    plain = {name: value for name, value in os.environ.items() if name not in ("MAKELEVEL", "MAKEFLAGS", "MFLAGS")}
    done = subprocess.run(["make", "help"], cwd=PROJECT, env=plain, capture_output=True, encoding="utf-8", check=True)
    phony = re.search(r"^\.PHONY: ((?:.*\\\n)*.*)$", (PROJECT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert phony
    helped = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert set(helped) == set(phony[1].replace("\\", " ").split())
    assert all(helped.values())


@pytest.mark.parametrize(("there", "asked"), [(("chromium",), True), (("chromium", "chromedriver"), False)])
def test_a_browser_without_its_driver_is_installed_anew(tmp_path: Path, there: tuple[str, ...], asked: bool) -> None:
    for name in (*there, "apt-get"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {name} $1\n", "utf-8")
        (tmp_path / name).chmod(0o755)
    for name in ("make", "sh"):
        (tmp_path / name).symlink_to(shutil.which(name) or "")
    done = subprocess.run(
        ["make", "browser"], cwd=PROJECT, env={"PATH": str(tmp_path)}, capture_output=True, encoding="utf-8", check=True
    )
    assert ("apt-get install" in done.stdout.splitlines()) is asked


def test_links_and_paths_of_the_pages_lead_to_what_is_there() -> None:
    lost = []
    for page in PAGES:
        text, name = page.read_text("utf-8"), page.relative_to(PROJECT)
        links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if ":" not in link]
        paths = re.findall(rf"`({ROOTS}[\w./-]*)`", text)
        lost += [(str(name), link) for link in links if not (page.parent / link).exists()]
        lost += [(str(name), path) for path in paths if not (PROJECT / path).exists()]
    assert lost == []


def test_decisions_are_numbered_without_a_gap_and_the_index_has_each() -> None:
    folder = PROJECT / "docs/adr"
    records = sorted(path for path in folder.glob("*.md") if path.name != "README.md")
    assert [int(path.name[:4]) for path in records] == [*range(1, len(records) + 1)]
    index = re.findall(r"^- \[\d{4}\]\((.*?)\)", (folder / "README.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(index) == [path.name for path in records]
    for path in records:
        head = rf"# {int(path.name[:4])}\. .+\n\n- Status: .+\n- Date: 20\d\d-\d\d-\d\d\n- Part: .+\n\n## "
        assert re.match(head, path.read_text("utf-8")), path.name


def test_the_version_is_the_same_wherever_it_stands() -> None:
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == version
    newest = re.findall(r"^## \[(\d.*)\] - (.*)$", (PROJECT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)[0]
    assert newest == (version, str(citation["date-released"]))
    for name in ("deploy/compose.yaml", "deploy/gliolake.toml", "deploy/kubernetes/standing/kustomization.yaml"):
        assert version in (PROJECT / name).read_text("utf-8"), name


def test_an_image_is_built_with_all_files_that_the_metadata_names() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    let_through = (PROJECT / "deploy/Dockerfile.dockerignore").read_text("utf-8").splitlines()
    assert {f"!{name}" for name in (project["readme"], *project["license-files"])} <= set(let_through)


@pytest.mark.parametrize("form", sorted((PROJECT / ".github").rglob("*.yml")), ids=lambda form: form.name)
def test_forms_and_workflows_are_complete(form: Path) -> None:
    content = yaml.safe_load(form.read_text("utf-8"))
    if form.parent.name == "workflows":
        assert ".ci/run" in [step.get("run") for step in content["jobs"]["test"]["steps"]]
        return
    assert {"name", "description", "body"} <= set(content)
    asked = [part for part in content["body"] if part["type"] != "markdown"]
    assert len({part["id"] for part in asked}) == len(asked)
    assert all(part["attributes"]["label"] for part in asked)
