"""Studies run on a cluster of processes: what they write, what a rerun does, and what a failed experiment costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from gliolake.cli.output import rendered
from gliolake.modeling.study.command import run_study
from gliolake.modeling.train import train
from gliolake.storage.lake import Lake
from gliolake.storage.transaction import Transaction
from tests.support.standing import standing_cluster

STUDY = """
study = "small"
[defaults]
features = "ours"
model = "snn"
repeats = 2
folds = 3
epochs = 3
[features]
ours = "random_conv"
both = ["no_such_backbone", "random_conv"]
other = "i3d_nl10_resnet101_v1_kinetics400"
[[quoted]]
name = "theirs"
table = "table_1"
published = { auc = 0.6 }
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Address of a running cluster of one worker process."""
    with standing_cluster() as client:
        yield client.scheduler.address


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., Path]:
    """Writes a study file of experiments, given as their keys in TOML by name."""

    def write(**experiments: str) -> Path:
        path = tmp_path / "small.toml"
        parts = [
            f'\n[[experiment]]\nname = "{name}"\ntable = "table_1"\n{keys}\n' for name, keys in experiments.items()
        ]
        path.write_text(STUDY + "".join(parts))
        return path

    return write


def predictions(lake: Lake, experiment: str) -> Any:
    table = lake.read("predictions", {"experiment": experiment}).to_pandas()
    return table.set_index(["split", "repeat", "fold", "cohort", "scan_id"])["probability"].sort_index()


def test_a_study_writes_what_train_would_have_and_a_rerun_computes_only_what_is_missing(
    made: Lake, cluster: str, study: Callable[..., Path]
) -> None:
    file = study(
        snn="", mlp='model = "mlp"\ncompared_with = "snn"', single='modalities = ["T1"]',
        other_single='modalities = ["T2"]',
        less='masked_branches = ["FLAIR"]',
        external='external = "external_strict"\nsplit = "external"\ndiagnosis = "glio"',
    )  # fmt: skip
    report = run_study(made, file, workers=2)
    assert {row["name"]: row["state"] for row in report.rows} == {
        "theirs": "quoted", **dict.fromkeys(["snn", "mlp", "single", "other_single", "less", "external"], "done"),
    }  # fmt: skip
    assert report.fits == 6 * 2 * 3
    rows = {row["name"]: row for row in made.read("study_rows").to_pylist()}
    ids = {name: row["experiment"] for name, row in rows.items() if row["state"] == "done"}
    assert len(set(ids.values())) == 6
    assert (rows["theirs"]["auc"], rows["mlp"]["compared_with"]) == (0.6, "snn")

    alone = train(made, "random_conv-made", "snn", modalities=["T2"], repeats=2, folds=3, epochs=3, progress=False)
    assert alone.experiment == ids["other_single"]
    summaries = made.read("summaries", {"experiment": ids["other_single"]}).to_pylist()
    assert {(s["split"], s["metric"], s["mean"]) for s in summaries} == {
        (line.split, line.metric, line.mean) for line in alone.lines
    }
    assert len(predictions(made, ids["snn"])) == 2 * 39 + 6 * 12
    assert len(predictions(made, ids["external"]).loc["external"]) == 6 * 8
    assert not predictions(made, ids["less"]).equals(predictions(made, ids["snn"]))

    version = made.version
    assert run_study(made, file, scheduler=cluster).fits == 0
    assert made.version == version

    before = predictions(made, ids["single"])
    for table in ("cv_folds", "predictions", "metrics", "attention"):
        second = partial(Transaction.delete, name=table, where={"experiment": ids["single"], "repeat": 1})
        made.transact(second, run_id="lost")
    assert run_study(made, file, scheduler=cluster).fits == 3
    assert predictions(made, ids["single"]).equals(before)


def test_an_experiment_that_cannot_be_run_is_a_row_that_says_why_and_stops_no_other(
    made: Lake, cluster: str, study: Callable[..., Path], make_vectors: Callable[..., None]
) -> None:
    make_vectors("second", seed=1, backbone="second", lacking=(("made", 3, ""), ("made", 5, "")))
    file = study(
        good='model = "logistic"', unheard='features = "other"', listed='external = "external_listed"',
        many='model = "logistic"\nfolds = 30', beside='model = "logistic"\nfeatures = ["ours", "both"]',
    )  # fmt: skip
    report = run_study(made, file, features={"both": "second"}, scheduler=cluster)
    told = {row["name"]: (row["state"], row["detail"]) for row in report.rows}
    assert told["good"] == ("done", "")
    assert told["unheard"][0] == "failed"
    assert "no vectors of i3d_nl10_resnet101_v1_kinetics400" in told["unheard"][1]
    assert "no list of external scans" in told["listed"][1]
    assert "30 folds need at least 30 of each class" in told["many"][1]
    assert told["beside"][0] == "done"
    assert "2 scans lack one of the feature sets and take no part, the first made scan-0003" in told["beside"][1]
    (beside,) = (row["experiment"] for row in report.rows if row["name"] == "beside")
    assert made.read("experiments", {"experiment": beside})["scans"].to_pylist() == [37]
    shown = StringIO()
    Console(file=shown, width=200).print(rendered(report))
    assert "3 rows" not in shown.getvalue()
    assert "no vectors of i3d" in shown.getvalue()


def test_a_list_that_names_unknown_or_training_patients_is_refused_by_name(
    made: Lake, cluster: str, study: Callable[..., Path]
) -> None:
    entries = [("beyond", "scan-0001"), ("beyond", "scan-0777"), ("made", "scan-0004")]
    rows = [
        {"list": "table_s2", "cohort": cohort, "scan_id": scan, "entries": 1, "source_sha256": "0" * 64}
        for cohort, scan in entries
    ]
    made.transact(lambda tx: tx.upsert("scan_lists", rows), run_id="made")
    report = run_study(made, study(listed='model = "logistic"\nexternal = "external_listed"'), scheduler=cluster)
    detail = next(row["detail"] for row in report.rows if row["name"] == "listed")
    assert "List table_s2 names 2 scans that cannot test from outside" in detail
    assert "scan-0004 (a training patient); scan-0777 (unknown)" in detail
    made.transact(lambda tx: tx.replace("scan_lists", {}, rows[:1]), run_id="made")
    report = run_study(made, study(listed='model = "logistic"\nexternal = "external_listed"'), scheduler=cluster)
    (listed,) = (row["experiment"] for row in report.rows if row["name"] == "listed")
    external = made.read("predictions", {"experiment": listed, "split": "external"}, ["scan_id"])
    assert set(external["scan_id"].to_pylist()) == {"scan-0001"}


def test_vectors_no_longer_finite_are_missing_also_for_workers_that_know_them(
    made: Lake, cluster: str, study: Callable[..., Path]
) -> None:
    file = study(single='modalities = ["T1"]')
    run_study(made, file, scheduler=cluster)
    where = {"cohort": "made", "scan_id": "scan-0007", "modality": "T1"}
    broken = made.read("features", where).to_pylist()
    broken[0]["values"] = np.full(400, np.nan, np.float32).tolist()
    made.transact(lambda tx: tx.upsert("features", broken), run_id="made")
    report = run_study(made, file, scheduler=cluster)
    (single,) = (row["experiment"] for row in report.rows if row["name"] == "single")
    assert made.read("experiments", {"experiment": single})["scans"].to_pylist() == [38]


def test_a_row_about_external_scans_fails_where_there_are_none(
    made: Lake, cluster: str, study: Callable[..., Path]
) -> None:
    made.transact(lambda tx: tx.delete("labels", {"cohort": "beyond"}), run_id="made")
    file = study(inside='model = "logistic"', outside='model = "logistic"\nseed = 1\nsplit = "external"')
    states = {row["name"]: row["state"] for row in run_study(made, file, scheduler=cluster).rows}
    assert (states["inside"], states["outside"]) == ("done", "failed")
