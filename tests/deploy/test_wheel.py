"""What is installed: one package, whose parts take no name that a script of somebody else's may have."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SCRIPT = """
import features, sql
from gliolake.features import clips
from gliolake.sql.definitions import definitions
from gliolake.ingest.cohorts.description import shipped_cohorts
from gliolake.modeling.study.file import read_study
if __name__ == "__main__":
    from gliolake.cluster.client import open_cluster
    with open_cluster(workers=1) as client:
        settings = client.submit(clips.ClipSettings).result()
    print(features.MINE, sql.MINE, settings == clips.ClipSettings())
    print("training" in definitions(), sorted(shipped_cohorts()), read_study().name)
    print(clips.__file__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of a copy of the project, so that the build leaves nothing beside it."""
    folder = tmp_path_factory.mktemp("wheel")
    copied = ("gliolake", "ingest", "features", "sql", "modeling", "analysis", "pyproject.toml", "README.md")
    subprocess.run(["cp", "-r", *copied, folder], cwd=ROOT, check=True)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--quiet", "."]
    done = subprocess.run([*build, "--wheel-dir", "out"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = (folder / "out").iterdir()
    return made


def run_script(folder: Path, **environment: str) -> list[str]:
    """What SCRIPT prints in a folder that has modules of its own named like parts of gliolake."""
    for name in ("features", "sql"):
        (folder / f"{name}.py").write_text("MINE = 'mine'\n")
    (folder / "script.py").write_text(SCRIPT)
    variables = {name: value for name, value in os.environ.items() if name not in {"PYTHONSAFEPATH", "PYTHONPATH"}}
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=folder, env=variables | environment, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


SAID = ["mine mine True", "True ['brats21', 'ucsf_pdgm'] chen2025"]


def test_a_wheel_installs_one_name_and_works_beside_a_scripts_own_modules(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        assert {name.split("/")[0].partition("-")[0] for name in packed.namelist()} == {"gliolake"}
        packed.extractall(tmp_path / "installed")
    (tmp_path / "work").mkdir()
    *said, place = run_script(tmp_path / "work", PYTHONPATH=str(tmp_path / "installed"))
    assert said == SAID
    assert Path(place).is_relative_to(tmp_path / "installed")


def test_the_installed_checkout_works_beside_a_scripts_own_modules(tmp_path: Path) -> None:
    *said, place = run_script(tmp_path, PYTHONPATH="")
    assert said == SAID
    assert Path(place).resolve() == ROOT / "features" / "clips.py"


def test_a_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        inside = {name for name in packed.namelist() if ".dist-info/" not in name}
    walked = (Path(folder, name) for folder, _, names in os.walk(ROOT / "gliolake", followlinks=True) for name in names)
    files = {str(path.relative_to(ROOT)) for path in walked if "__pycache__" not in path.parts}
    assert inside == files
