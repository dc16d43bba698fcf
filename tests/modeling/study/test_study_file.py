"""Study files: the shipped one says what was published, and a mistake in one is told by place and nearest word."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from gliolake.errors import InputError
from gliolake.modeling.models.settings import MODELS, defaults
from gliolake.modeling.study.file import read_study

START = """
study = "small"
[features]
ours = "random_conv"
[[experiment]]
name = "one"
table = "table_1"
features = "ours"
model = "snn"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "small.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("file", "column", "table", "number"),
    [
        ("table_1_methods.csv", "system", "table_1", 8),
        ("table_2_modalities.csv", "modalities", "table_2", 11),
        ("table_3_backbones.csv", "backbone", "table_3", 4),
        ("table_4_combinations.csv", "backbones", "table_4", 12),
    ],
)
def test_the_shipped_study_quotes_every_figure_of_the_published_tables(
    reference: Path, file: str, column: str, table: str, number: int
) -> None:
    labels = {"SNN (paper)": "SNN"}
    rows = {row.label: dict(row.published) for row in read_study().rows if row.table == table and row.published}
    with (reference / "paper" / file).open(newline="") as lines:
        published = {
            labels.get(line[column], line[column]): {
                name: float(value) for name, value in line.items() if name != column and value
            }
            for line in csv.DictReader(lines)
        }
    assert rows == published
    assert len(rows) == number


def test_the_shipped_study_asks_for_external_scans_by_both_rules_and_for_every_delta() -> None:
    rows = {row.name: row for row in read_study().rows}
    tried = [row.tried for row in rows.values() if row.table == "figure_7b" and row.split == "external" and row.tried]
    asked = {(one.experiment.external, one.experiment.label_rule, one.experiment.diagnosis) for one in tried}
    assert len(asked) == len(tried) == 3 * 2 * 2
    deltas = [row.tried.delta for row in rows.values() if row.table == "figure_7a" and row.tried]
    assert sorted(deltas) == ["feature", "image", "off", "stored"]
    off = rows["no delta"].tried
    assert off is not None
    assert "DeltaT1" not in off.experiment.settings.branches


@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        ('modle = "snn"', "experiment 'one'.modle is a key that gliolake does not know", "model"),
        ('model = "snm"', "experiment 'one'.model is 'snm'", "snn"),
        ('modalities = ["T1ce"]', "names 'T1ce', which is not known", "T1"),
        ('features = "our"', "names 'our', which is not known", "ours"),
        ('compared_with = "on"', "experiment 'one'.compared_with names 'on', which is no row", "one"),
        ('label_rule = "brats"', "label_rule is 'brats'", "brats21"),
        ("published = { acu = 0.5 }", "names 'acu'", "auc"),
        ("modality_dropout = 1.5", "modality_dropout is 1.5; expected 0 to below 1", ""),
        ('harmonise = "combt"', "harmonise is 'combt'", "combat"),
        ("folds = 1", "folds is 1; expected at least 2", ""),
        ('modalities = ["T1"]\nmasked_branches = ["T1"]', "masked_branches leaves no modality", ""),
        (
            '[[experiment]]\nname = "one"\ntable = "t"\nfeatures = "ours"\nmodel = "mlp"',
            "experiment 'one' is a second row of that",
            "",
        ),
        ("epochs = ", "small.toml cannot be read: it is not a TOML file", ""),
    ],
)
def test_a_mistake_is_told_by_its_place_with_the_nearest_word(tmp_path: Path, text: str, place: str, hint: str) -> None:
    lines = [line for line in START.splitlines() if line.split(" ")[0] != text.split(" ", maxsplit=1)[0]]
    with pytest.raises(InputError) as error:
        read_study(written(tmp_path, "\n".join([*lines, text])))
    assert place in str(error.value)
    assert hint in error.value.hint


@pytest.mark.parametrize("model", MODELS)
def test_a_row_that_names_a_model_alone_has_its_own_settings(tmp_path: Path, model: str) -> None:
    (row,) = read_study(written(tmp_path, START.replace('"snn"', f'"{model}"'))).rows
    assert row.tried is not None
    assert row.tried.experiment.settings == defaults(model)


def test_some_tables_bring_the_rows_they_are_compared_with() -> None:
    names = {row.name for row in read_study().only(["figure_7a", "MLP"]).rows}
    assert names == {"delta as stored", "delta of images", "delta of features", "no delta", "MLP", "SNN"}
    with pytest.raises(InputError, match="no row or table of the study named 'table_5'") as error:
        read_study().only(["table_5"])
    assert "table_" in error.value.hint


def test_a_file_that_is_a_pipe_or_nested_without_end_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "deep.toml").write_text("a = " + "[" * 100_000)
    (tmp_path / "long.toml").write_text(f"a = {'9' * 5000}")
    for name in ("pipe", "deep", "long"):
        with pytest.raises(InputError, match=f"{name}.toml cannot be read"):
            read_study(tmp_path / f"{name}.toml")
