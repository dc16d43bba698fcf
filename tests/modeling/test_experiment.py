"""Training from a lake and back into it: the study's released vectors, and small made-up cohorts."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from rich.console import Console

from gliolake.cli.output import dumped, rendered
from gliolake.errors import InputError
from gliolake.ingest.published_features import ingest_features
from gliolake.modeling.evaluation.scores import auc
from gliolake.modeling.train import train
from gliolake.schema.vocabulary import BRANCHES
from gliolake.sql.catalog import connect
from gliolake.storage.lake import Lake

FEATURE_SET = "random_conv-made"


@pytest.fixture(scope="module")
def released(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, str]:
    """A lake with the 462 released vectors, and the name of their feature set."""
    lake = Lake(tmp_path_factory.mktemp("released") / "lake", create=True)
    report = ingest_features(lake, sorted((reference / "published_features").glob("*.tfrecords")))
    return lake, report.feature_set


def test_logistic_regression_on_the_released_vectors_reaches_what_replication_found(released: tuple[Lake, str]) -> None:
    lake, feature_set = released
    report = train(lake, feature_set, "logistic", progress=False)
    reached = report.value("internal", "auc")
    assert reached is not None
    assert 0.60 <= reached <= 0.64
    assert (report.scans, report.patients, report.external_scans) == (462, 462, 0)
    with connect(lake) as connection:
        query = "SELECT count(*), count(DISTINCT patient_id) FROM predictions WHERE experiment = ? GROUP BY repeat"
        assert connection.execute(query, [report.experiment]).fetchall() == [(462, 462)] * 4


@pytest.mark.parametrize("model", ["snn", "snn_released", "mlp"])
def test_the_networks_train_on_the_released_vectors_and_say_what_these_are(
    released: tuple[Lake, str], model: str
) -> None:
    lake, feature_set = released
    report = train(lake, feature_set, model, epochs=2, repeats=1, progress=False)
    assert report.value("internal", "auc") is not None
    shown = StringIO()
    Console(file=shown, width=160).print(rendered(report))
    assert "the study's released vectors" in shown.getvalue()
    assert "462 of 462 scans of the splits were not searched for duplicates" in " ".join(shown.getvalue().split())


def test_an_experiment_is_written_whole_and_can_be_recomputed_from_its_rows(made: Lake) -> None:
    report = train(made, FEATURE_SET, "snn", repeats=1, epochs=5, progress=False)
    assert (report.scans, report.patients, report.external_scans, report.unlabelled) == (39, 39, 12, 0)
    experiment = made.read("experiments").to_pylist()[0]
    assert (experiment["experiment"], experiment["weights"]) == (report.experiment, "random")
    settings = json.loads(experiment["settings"])
    assert settings["seed"] == 0
    assert [json.loads(fit["selection"])["epoch"] >= 1 for fit in made.read("cv_folds").to_pylist()] == [True] * 5
    predictions, metrics = made.read("predictions").to_pandas(), made.read("metrics").to_pandas()
    assert len(predictions) == 39 + 5 * 12
    values = metrics.set_index(["metric", "split", "fold"])["value"]
    for key, part in predictions.groupby(["split", "fold"]):
        assert values["auc", *key] == auc(part["methylated"].to_numpy(), part["probability"].to_numpy())
    attention = made.read("attention").to_pandas()
    sums = attention.groupby(["split", "fold", "cohort", "scan_id"])["weight"].sum()
    np.testing.assert_allclose(sums, 1, rtol=1e-5)
    assert len(sums) == len(predictions)
    assert set(attention.query("cohort == 'made' and scan_id == 'scan-0000'")["modality"]) == set(BRANCHES) - {"T1wCE"}


def test_the_same_training_again_writes_nothing_and_another_seed_is_another_experiment(made: Lake) -> None:
    first = train(made, FEATURE_SET, "mlp", repeats=1, epochs=3, progress=False)
    version = made.version
    again = train(made, FEATURE_SET, "mlp", repeats=1, epochs=3, progress=False)
    assert (again, made.version) == (first, version)
    other = train(made, FEATURE_SET, "mlp", repeats=1, epochs=3, seed=1, progress=False)
    assert other.experiment != first.experiment
    assert pc.count_distinct(made.read("metrics")["experiment"]).as_py() == 2


def test_a_report_shows_optimism_intervals_and_random_weights_and_is_ready_for_json(made: Lake) -> None:
    report = train(made, FEATURE_SET, "logistic", repeats=1, progress=False)
    shown = StringIO()
    Console(file=shown, width=160).print(rendered(report))
    for text in ("random weights", "optimism", "external", "brier", "39 scans of 39 patients"):
        assert text in shown.getvalue()
    content = json.loads(json.dumps(dumped(report)))
    line = next(x for x in content["lines"] if (x["split"], x["metric"]) == ("external", "auc"))
    assert line["ci_low"] <= line["mean"] <= line["ci_high"]


def test_training_beside_a_cohort_that_may_share_its_patients_says_so_before_and_beside_the_figures(
    made: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    (row,) = made.read("cohorts", {"cohort": "beyond"}).to_pylist()
    rows = [row | {"collections": ["Kiel"]}, row | {"cohort": "made", "role": "training", "collections": ["Kiel"]}]
    made.transact(lambda transaction: transaction.upsert("cohorts", rows), run_id="described")
    report = train(made, FEATURE_SET, "logistic", repeats=1, progress=False)
    (grave,) = [caution for caution in report.cautions if "Kiel" in caution]
    assert "12 external scans of beyond" in grave
    assert grave in caplog.text
    assert dumped(report)["cautions"] == report.cautions


def test_names_that_are_not_there_are_refused_with_the_nearest(made: Lake) -> None:
    version = made.version
    for arguments, near in (
        ((FEATURE_SET, "sn"), "snn"),
        (("random_conv-mad", "snn"), FEATURE_SET),
    ):
        with pytest.raises(InputError, match="There is no") as error:
            train(made, *arguments, progress=False)
        assert near in error.value.hint
    with pytest.raises(InputError, match="no label rule named 'brats'") as error:
        train(made, FEATURE_SET, "snn", label_rule="brats", progress=False)
    assert "brats21" in error.value.hint
    with pytest.raises(InputError, match="Only 19 training patients are unmethylated; 20 folds"):
        train(made, FEATURE_SET, "snn", folds=20, progress=False)
    assert made.version == version


def test_a_feature_set_without_labelled_training_scans_is_named(made: Lake) -> None:
    made.transact(lambda tx: tx.delete("labels", {"cohort": "made"}), run_id="made")
    with pytest.raises(InputError, match=f"{FEATURE_SET} has no labelled training scan"):
        train(made, FEATURE_SET, "snn", progress=False)
