"""Commands that train models, and commands about exported models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gliolake.cli.options import (
    FeatureSetOption,
    JsonOption,
    LabelRuleOption,
    LakeOption,
    OverwriteOption,
    SeedOption,
    open_lake,
)  # fmt: skip
from gliolake.cli.output import print_report
from gliolake.modeling.models.settings import Model


def train(
    lake: LakeOption,
    feature_set: FeatureSetOption,
    model: Annotated[Model, typer.Option(help="What is trained.")] = "snn",
    label_rule: LabelRuleOption = "brats21",
    modality: Annotated[list[str] | None, typer.Option(help="Only this branch; may be given again.")] = None,
    repeats: Annotated[int, typer.Option(help="Repeats of the cross-validation.")] = 4,
    folds: Annotated[int, typer.Option(help="Folds of each repeat.")] = 5,
    epochs: Annotated[int, typer.Option(help="Most epochs; early stopping picks the best.")] = 200,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Cross-validate a model on a feature set, test it on the external scans, and write everything back.

    Example: gliolake train --lake lake --feature-set random_conv-0123456789 --model snn
    """
    from gliolake.modeling.train import train as run

    report = run(
        open_lake(lake),
        feature_set,
        model,
        label_rule=label_rule,
        modalities=modality,
        repeats=repeats,
        folds=folds,
        epochs=epochs,
        seed=seed,
    )
    print_report(report, as_json)


def search(
    lake: LakeOption,
    feature_set: FeatureSetOption,
    candidate: Annotated[list[str] | None, typer.Option(help="Only this candidate; may be given again.")] = None,
    label_rule: LabelRuleOption = "brats21",
    repeats: Annotated[int, typer.Option(help="Repeats of the outer cross-validation.")] = 4,
    folds: Annotated[int, typer.Option(help="Outer folds of each repeat.")] = 5,
    inner_folds: Annotated[int, typer.Option(help="Folds inside each training part, by which is chosen.")] = 5,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Choose among models by an inner cross-validation in every training part, and report what that honestly gives.

    Example: gliolake search --lake lake --feature-set random_conv-0123456789
    """
    from gliolake.modeling.nested_cv.candidates import named_candidates
    from gliolake.modeling.nested_cv.command import search as run

    report = run(
        open_lake(lake),
        feature_set,
        label_rule=label_rule,
        candidates=named_candidates(candidate) if candidate else None,
        repeats=repeats,
        folds=folds,
        inner_folds=inner_folds,
        seed=seed,
    )
    print_report(report, as_json)


def model_export(
    experiment: Annotated[str, typer.Argument(help="An experiment (gliolake status lists them).")],
    lake: LakeOption,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The folder; named as the experiment if not given.")
    ] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train an experiment's fits again, prove that they are the lake's, and write them as a folder.

    Example: gliolake model export snn-0123456789 --lake lake --output model
    """
    from gliolake.modeling.export.command import export_model as run

    print_report(run(open_lake(lake), experiment, output, overwrite=overwrite), as_json)


def model_show(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of an exported model.")],
    as_json: JsonOption = False,
) -> None:
    """Show what a model is, what it rests on and how good it is. All its checksums are checked first.

    Example: gliolake model show model
    """
    from gliolake.modeling.export.model import load_model

    print_report(load_model(folder), as_json)
