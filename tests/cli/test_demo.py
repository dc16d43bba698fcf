"""The demo: the whole way on few patients, and a verdict that can turn out badly."""

from __future__ import annotations

import gzip
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from gliolake.cli import demo as module
from gliolake.cli.demo import QUICK, SPLITS, Demo, StepFailed, demo, quoted
from gliolake.errors import InputError
from gliolake.ingest.synthetic.cohort import SyntheticCohorts
from gliolake.modeling.report import Line, Report
from gliolake.storage.lake import Lake


@pytest.mark.long
def test_the_demo_goes_all_the_way_and_says_that_everything_is_synthetic(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A folder named lake where the user stands must not be taken for our package.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lake").mkdir()
    assert demo(tmp_path / "demo", quick=True) == 0
    said = capfd.readouterr().out
    for command in ("ingest", "extract", "sql", "train"):
        assert f"$ gliolake {command} --lake" in said
    assert said.count("yes  ") == 4
    assert "SYNTHETIC scans, random weights" in said
    lake = Lake(tmp_path / "demo" / "lake")
    assert lake.read("metrics", {"split": "external"}).num_rows > 0
    assert {path.name for path in (tmp_path / "demo").iterdir()} == {module.MARKER, *module.PARTS}
    assert module.DEMO.is_at(tmp_path / "demo")
    for mine in (
        "cohorts/thesis.docx", "lake/labels/mine", "notes.csv", "cohorts/notes.csv", "control-lake/figure.json",
        "lake/labels/mine.parquet", "cohorts/brats21/images/BraTS2021_00000/BraTS2021_00000_dwi.nii.gz",
        "cohorts/brats21/images/BraTS2021_00000/notes.txt", "lake/_quarantine/labels",
    ):  # fmt: skip
        (tmp_path / "demo" / mine).parent.mkdir(exist_ok=True)
        (tmp_path / "demo" / mine).write_text("years of work", encoding="utf-8")
        assert not module.DEMO.is_at(tmp_path / "demo")
        (tmp_path / "demo" / mine).unlink()


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "lake").mkdir()
    with pytest.raises(InputError, match="there already"):
        demo(tmp_path)
    (tmp_path / module.MARKER).write_text(module.MARKER_TEXT, encoding="utf-8")
    with pytest.raises(InputError, match="not the folder of a demo as gliolake writes it"):
        demo(tmp_path, overwrite=True)
    assert (tmp_path / "lake").is_dir()
    assert (tmp_path / "thesis.txt").read_text(encoding="utf-8") == "mine"


def test_a_real_scan_under_a_name_of_the_demo_keeps_its_folder(synthetic: SyntheticCohorts, tmp_path: Path) -> None:
    shutil.copytree(synthetic.folder, tmp_path / "cohorts")
    (tmp_path / module.MARKER).write_text(module.MARKER_TEXT, encoding="utf-8")
    assert module.DEMO.is_at(tmp_path)
    scan = next((tmp_path / "cohorts").rglob("*_t1ce.nii.gz"))
    header = bytearray(gzip.decompress(scan.read_bytes()))
    header[148:228] = b"FSL5.0".ljust(80, b"\0")
    real = scan.parents[1] / "BraTS2021_01666" / "BraTS2021_01666_t1ce.nii.gz"
    real.parent.mkdir()
    real.write_bytes(gzip.compress(header))
    assert not module.DEMO.is_at(tmp_path)
    real.unlink()
    assert module.DEMO.is_at(tmp_path)
    (tmp_path / "cohorts").rename(tmp_path.with_name("elsewhere"))
    (tmp_path / "cohorts").symlink_to(tmp_path.with_name("elsewhere"))
    assert not module.DEMO.is_at(tmp_path)


def report(internal: tuple[float, float, float]) -> Report:
    """A report whose internal AUC has this mean and interval."""
    mean, low, high = internal
    lines = (Line("internal", "auc", mean, 0.1, low, high, 0.0, 20), Line("external", "auc", 0.9, 0, 0.8, 1, 0, 20))
    return Report("snn-0", "snn", "f", "random", True, "brats21", (), 4, 5, 96, 96, 40, 40, 0, 0, (), lines)


GOOD, EMPTY, MADE = (0.9, 0.8, 1.0), (0.5, 0.4, 0.6), dict.fromkeys(SPLITS, 7)


@pytest.mark.parametrize(
    ("found", "planted", "nothing", "kept"),
    [
        (MADE, GOOD, EMPTY, True),
        (MADE | {"external": 8}, GOOD, EMPTY, False),
        (MADE, (0.79, 0.7, 0.9), EMPTY, False),
        (MADE, GOOD, (0.7, 0.6, 0.8), False),
        (MADE, GOOD, (0.3, 0.2, 0.4), False),
    ],
)
def test_the_verdict_is_good_only_if_every_promise_is_kept(
    tmp_path: Path, found: dict[str, int], planted: tuple[float, ...], nothing: tuple[float, ...], kept: bool
) -> None:
    steps = Demo(tmp_path, 0, QUICK)
    assert steps.verdict(MADE, found, report(planted), report(nothing)) is kept  # type: ignore[arg-type]


def test_an_auc_that_is_missing_or_has_no_interval_keeps_no_promise(tmp_path: Path) -> None:
    steps = Demo(tmp_path, 0, QUICK)
    silent = replace(report(GOOD), lines=())
    assert not steps.verdict(MADE, MADE, silent, report(EMPTY))
    assert not steps.verdict(MADE, MADE, report(GOOD), silent)


def test_a_command_that_fails_ends_the_demo(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StepFailed, match="`gliolake extract` ended with exit code 2"):
        Demo(tmp_path, 0, QUICK).command("extract", "--lake", tmp_path / "nothing")
    assert "There is no lake" in capfd.readouterr().err


def test_commands_are_shown_as_one_types_them() -> None:
    assert quoted("--lake") == "--lake"
    assert quoted("from training") == "'from training'"
    assert quoted("select 'a'") == "\"select 'a'\""
    assert quoted("a'$b") == "'a'\"'\"'$b'"
