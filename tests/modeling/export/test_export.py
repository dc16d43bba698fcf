"""From an experiment in a lake to a folder and back: the same model, and no other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gliolake.errors import InputError
from gliolake.modeling.data.inputs import read_cohorts
from gliolake.modeling.experiment import Experiment
from gliolake.modeling.export.command import NotTheModel, export_model
from gliolake.modeling.export.folder import LARGEST, SUMS, read_folder, write_folder
from gliolake.modeling.export.model import Model, load_model
from gliolake.modeling.models.settings import defaults
from gliolake.storage.lake import Lake

ONE, TWO = ("random_conv-made",), ("random_conv-made", "random_conv-other")


def experiment(model: str, sets: tuple[str, ...] = ONE, delta: str = "stored", **settings: Any) -> Experiment:
    quick = replace(defaults(model), **{"epochs": 3, **settings} if model != "logistic" else settings)
    return Experiment(model, sets, quick, delta=delta, repeats=2, folds=3)


EVERY_KIND = [
    experiment("snn"),
    experiment("snn", TWO, "feature", masked_branches=("T1",)),
    experiment("snn_released", epochs=2, learning_rate=1e-3, branches=("FLAIR", "T1wCE", "DeltaT1")),
    experiment("snn_lowrank", ensemble_size=3, calibrated=True),
    experiment("mlp", balanced=True),
    experiment("logistic", calibrated=True, c_grid=(1e-3, 1e-2), masked_branches=("T2",)),
]


@pytest.mark.parametrize("told", EVERY_KIND, ids=lambda told: f"{told.model} {len(told.feature_sets)}")
def test_a_folder_says_of_every_scan_what_the_lake_has(
    made: Lake, make_vectors: Any, train: Any, tmp_path: Path, told: Experiment
) -> None:
    make_vectors(TWO[1], seed=1)
    name = train(made, told)
    model = export_model(made, name, tmp_path / "model", progress=False)
    assert model.description.proof["difference"] == 0
    cohorts = read_cohorts(made, told.feature_sets, told.label_rule, told.delta)
    columns = [cohorts.scans["training"].names.index(branch) for branch in model.description.branches]
    fits = {(fit["repeat"], fit["fold"]): f for f, fit in enumerate(model.description.fits)}
    said = {}
    for split, scans in cohorts.scans.items():
        probability = model.fitted.predict(scans.values[:, columns]).probability
        for scan, column in zip(cohorts.ids[split], probability.T, strict=True):
            said[scan] = column
    rows = made.read("predictions", {"experiment": name}).to_pylist()
    here = [said[row["cohort"], row["scan_id"]][fits[row["repeat"], row["fold"]]] for row in rows]
    np.testing.assert_allclose(here, [row["probability"] for row in rows], rtol=0, atol=1e-6)
    assert model.reference.tested.sum() == sum(row["split"] == "internal" for row in rows)


@pytest.fixture
def exported(made: Lake, plain: str, tmp_path: Path) -> Model:
    """The quickest experiment as a folder, beside its lake."""
    return export_model(made, plain, tmp_path / "model", progress=False)


def test_the_same_lake_gives_the_same_bytes_and_only_a_model_is_replaced(
    made: Lake, exported: Model, tmp_path: Path
) -> None:
    name = exported.description.experiment
    version = made.version
    again = export_model(made, name, tmp_path / "again", progress=False)
    for file in (SUMS, *LARGEST):
        assert (tmp_path / "again" / file).read_bytes() == (exported.folder / file).read_bytes()
    assert (again.model_id, made.version) == (exported.model_id, version)
    with pytest.raises(InputError, match="there already"):
        export_model(made, name, exported.folder, progress=False)
    export_model(made, name, exported.folder, overwrite=True, progress=False)
    assert load_model(exported.folder).model_id == exported.model_id
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "lake", "model"], "nothing is left over"


def sums_of_an_image(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    (folder / "debian.iso").write_bytes(b"an operating system")
    (folder / SUMS).write_text(f"{'0' * 64}  debian.iso\n")


def test_a_folder_that_is_not_wholly_an_exported_model_is_left_as_it_is(exported: Model) -> None:
    files, _ = read_folder(exported.folder)
    for number, change in enumerate((
        sums_of_an_image,
        lambda folder: (folder / "thesis.docx").write_text("years of work"),
        lambda folder: (folder / "photos").mkdir(),
        lambda folder: (folder / "LICENSE").write_text("none"),
        lambda folder: (folder / ".git").symlink_to("LICENSE"),
        lambda folder: (folder / SUMS).rename(folder / "sha256sums"),
    )):  # fmt: skip
        folder = exported.folder.with_name(f"model-{number}")
        write_folder(folder, files)
        change(folder)
        before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        with pytest.raises(InputError, match="is not an exported model as gliolake writes it"):
            write_folder(folder, files, overwrite=True)
        assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    assert not [path for path in exported.folder.parent.iterdir() if path.name.startswith(".")]


def test_a_card_tells_the_experiments_own_figures_and_what_they_rest_on(made: Lake, exported: Model) -> None:
    name = exported.description.experiment
    for row in made.read("summaries", {"experiment": name, "metric": "auc"}).to_pylist():
        low = row["ci_low"]
        assert f"| {row['split']} | AUC | {row['mean']:.3f} | {low:.3f} to" in exported.card
    for words in ("not a medical device", "random weights", "optimism", "two methylated CpG sites"):
        assert words in " ".join(exported.card.split()).replace("Not a medical", "not a medical")
    assert not exported.description.trained
    licence = (exported.folder / "LICENSE").read_text()
    assert "made: terms not known" in licence
    told = json.loads((exported.folder / "model.json").read_text())
    (row,) = made.read("experiments").to_pylist()
    assert told["settings"] == json.loads(row["settings"])


def test_an_experiment_whose_rows_or_predictions_changed_is_not_exported(
    made: Lake, plain: str, tmp_path: Path
) -> None:

    def moved(transaction: Any) -> None:
        rows = transaction.read("predictions", {"experiment": plain}).to_pylist()
        rows[7]["probability"] += 0.01
        transaction.replace("predictions", {"experiment": plain}, rows)

    made.transact(moved, run_id="made")
    with pytest.raises(NotTheModel, match=r"differ by 0\.01") as error:
        export_model(made, plain, tmp_path / "model", progress=False)
    assert "its rows changed since" in str(error.value)

    def relabelled(transaction: Any) -> None:
        rows = transaction.read("labels", {"cohort": "made", "scan_id": "scan-0003"}).to_pylist()
        transaction.upsert("labels", [row | {"mgmt_status": "methylated"} for row in rows])

    made.transact(relabelled, run_id="made")
    with pytest.raises(NotTheModel, match=r"rows that .* was trained on have changed"):
        export_model(made, plain, tmp_path / "model", progress=False)
    assert not (tmp_path / "model").exists()


def test_what_cannot_be_a_model_of_a_new_case_is_refused_by_name(made: Lake, plain: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no experiment named") as error:
        export_model(made, plain[:-1], tmp_path / "model", progress=False)
    assert plain in error.value.hint
    (row,) = made.read("experiments").to_pylist()
    told = json.loads(row["settings"])
    told["settings"]["harmonise"] = "combat"

    def others(transaction: Any) -> None:
        kinds = [{"experiment": "search-1", "model": "search"}, {"experiment": "moved", "settings": json.dumps(told)}]
        transaction.upsert("experiments", [row | kind for kind in kinds])

    made.transact(others, run_id="made")
    for other, why in (("search-1", "chose another model"), ("moved", "harmonised")):
        with pytest.raises(InputError, match=why) as refused:
            export_model(made, other, tmp_path / "model", progress=False)
        assert refused.value.hint
