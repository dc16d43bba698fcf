"""The shipped study from files to tables, on synthetic cohorts: every row of every table is computed."""

from __future__ import annotations

import csv
import os
from importlib.resources import files
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from gliolake.analysis.agreement.command import compare
from gliolake.analysis.embedding import map_feature_sets
from gliolake.analysis.figures.command import write_figures
from gliolake.analysis.report.report import report
from gliolake.analysis.study.command import analyse
from gliolake.analysis.study.published import show
from gliolake.cli.output import rendered
from gliolake.features.backbones.registry import BackboneOptions
from gliolake.features.clips import ClipSettings
from gliolake.features.extraction.command import extract
from gliolake.ingest.pipeline import ingest
from gliolake.ingest.scan_lists import ingest_list
from gliolake.ingest.synthetic.cohort import write_cohorts
from gliolake.modeling.study.command import run_study
from gliolake.modeling.study.file import read_study
from gliolake.modeling.study.report import StudyReport
from gliolake.sql.catalog import connect
from gliolake.storage.lake import Lake

pytestmark = pytest.mark.long

RULES = ("ucsf", "brats21")

FULL = os.environ.get("GLIOLAKE_STUDY") == "full"
TABLES = ("table_1", "table_2", "table_3", "table_4", "figure_7a", "figure_7b") if FULL else ("figure_7a", "figure_7b")

CUT = ClipSettings(box=48, slices=40)
"""Small clips, of which random convolutions take less time."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, Path, dict[str, str]]:
    """A lake of two synthetic cohorts, the shipped study cut short, and a feature set for each of its networks.

    Random convolutions of another seed stand for each network, and say so in every table.
    """
    folder = tmp_path_factory.mktemp("study")
    cohorts = write_cohorts(folder / "cohorts", patients=16, external=8, workers=2)
    lake = Lake(folder / "lake", create=True)
    ingest(lake, "brats21", cohorts.brats21_images, cohorts.brats21_labels, workers=2)
    ingest(lake, "ucsf_pdgm", cohorts.ucsf_images, cohorts.ucsf_labels, workers=2)
    with connect(lake) as connection:
        listed = connection.execute("SELECT scan_id FROM external ORDER BY scan_id").fetchall()[1:]
    with (folder / "table_s2.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["ID"], *listed])
    ingest_list(lake, "ucsf_pdgm", "table_s2", folder / "table_s2.csv")
    sets = {}
    for seed, name in enumerate(read_study().features if FULL else ("ViViT",)):
        report = extract(lake, settings=CUT, options=BackboneOptions(seed=seed), workers=2)
        sets[name] = report.feature_sets[0].feature_set
    text = files("gliolake.modeling.study").joinpath("study.toml").read_text("utf-8")
    short = folder / "study.toml"
    short.write_text(text.replace("[defaults]\n", "[defaults]\nepochs = 2\n").replace("repeats = 4", "repeats = 1"))
    return lake, short, sets


@pytest.fixture(scope="module")
def studied(world: tuple[Lake, Path, dict[str, str]]) -> StudyReport:
    """The study, run and analysed."""
    lake, file, sets = world
    report = run_study(lake, file, features=sets, only=TABLES, workers=2)
    analyse(lake, report.study, progress=False)
    return report


def test_every_row_of_every_table_is_computed_and_says_that_it_rests_on_synthetic_scans(
    world: tuple[Lake, Path, dict[str, str]], studied: StudyReport
) -> None:
    lake, file, sets = world
    assert [row["detail"] for row in studied.rows if row["state"] == "failed"] == []
    with connect(lake) as connection:
        for table in TABLES:
            view = table.rstrip("ab")  # one of our own, named above: it may stand in the query's text
            query = f"SELECT name, state, reproduced, note FROM {view} WHERE metric = 'auc' AND \"table\" = ?"  # noqa: S608
            rows = connection.execute(query, [table]).fetchall()
            assert len(rows) >= 4
            without = [name for name, state, reproduced, _ in rows if state == "done" and reproduced is None]
            assert without == [], table
            assert all(state == "quoted" or "SYNTHETIC" in note for _, state, _, note in rows)
        external = connection.execute(
            "SELECT name, scans FROM figure_7 WHERE metric = 'auc' AND split = 'external'"
        ).fetchall()
        scans: dict[str, int] = dict(external)
    for rule in RULES:
        every, strict, listed = (scans[f"{v}, {rule}"] for v in ("external", "external_strict", "external_listed"))
        assert every >= strict > 0
        assert every > listed > 0
        assert 0 < scans[f"external, {rule}, glioblastoma"] <= every
    shown = StringIO()
    Console(file=shown, width=200).print(rendered(show(lake, "figure_7")))
    assert "SYNTHETIC" in shown.getvalue()
    correlated = [row["name"] for row in lake.read("correlations").to_pylist() if row["r"] is not None]
    assert len(correlated) == (3 if FULL else 0)
    assert lake.read("subgroups").num_rows > 0
    assert lake.read("curves").num_rows > 0
    assert lake.read("roc").num_rows > 0

    version = lake.version
    assert run_study(lake, file, features=sets, only=TABLES, workers=1).fits == 0
    analyse(lake, studied.study, progress=False)
    assert lake.version == version


def test_agreement_map_figures_and_report_are_made_of_the_same_lake_and_say_that_it_is_synthetic(
    world: tuple[Lake, Path, dict[str, str]], studied: StudyReport, tmp_path: Path
) -> None:
    lake, _, sets = world
    map_feature_sets(lake)
    assert {row["feature_set"] for row in lake.read("embeddings").to_pylist()} == set(sets.values())
    if FULL:
        compare(lake)
        pairs = {(row["first"], row["second"]) for row in lake.read("ccc_means").to_pylist()}
        assert len(pairs) == len(sets) * (len(sets) - 1) / 2
    gallery = write_figures(lake, study=studied.study, output=tmp_path, progress=False)
    assert {one.name for one in gallery.figures if not one.files} == (set() if FULL else {"ccc"})
    assert all("SYNTHETIC" in one.basis for one in gallery.figures if one.files)
    page = report(lake, tmp_path / "report.html", studied.study, progress=False)
    assert page.figures == len(gallery.figures) - (0 if FULL else 1)
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "SYNTHETIC" in text
    assert page.bytes < 5_000_000
