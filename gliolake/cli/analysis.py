"""Commands about studies, comparisons of vectors, and single cases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gliolake.cli.options import (
    JsonOption,
    LakeOption,
    LinkedOption,
    OverwriteOption,
    SchedulerOption,
    SeedOption,
    StudyOption,
    WorkersOption,
    open_lake,
)  # fmt: skip
from gliolake.cli.output import print_report


def study_run(
    lake: LakeOption,
    file: Annotated[
        Path | None, typer.Argument(metavar="[STUDY.toml]", help="A study file; that of Chen et al. 2025 if not given.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only this table or row; may be given again.")] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SET", help="Feature set for a name of the study; may be given again."),
    ] = None,
    scheduler: SchedulerOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run every experiment of a study, with its statistics. Run again, it computes only what is missing.

    Example: gliolake study run --lake lake --only table_1
    """
    from gliolake.analysis.study.command import analyse
    from gliolake.errors import InputError
    from gliolake.modeling.study.command import run_study as run

    chosen = dict(one.partition("=")[::2] for one in features or ())
    if "" in chosen.values():
        raise InputError("--features needs a name and a feature set.", hint="Write --features 'ViViT=SET'.")
    report = run(open_lake(lake), file, features=chosen, only=only or (), scheduler=scheduler, workers=workers)
    analyse(open_lake(lake), report.study)
    print_report(report, as_json)


def study_show(
    lake: LakeOption,
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="WHAT", help="table_1 … figure_7, comparisons, correlations, subgroups; an overview if not given."
        ),
    ] = None,
    study: StudyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a table or figure of a study as published, and beside it as reproduced, with what it rests on.

    Example: gliolake study show table_1 --lake lake
    """
    from gliolake.analysis.study.published import show

    print_report(show(open_lake(lake), what, study), as_json)


def ccc(
    lake: LakeOption,
    feature_sets: Annotated[
        list[str] | None,
        typer.Argument(metavar="FIRST SECOND", help="Two feature sets; every pair that shares scans if not given."),
    ] = None,
    test_retest: Annotated[
        bool,
        typer.Option(
            "--test-retest", help="Within a feature set: compare two examinations of each patient who has two."
        ),
    ] = False,
    published: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Only bring in the study's Table S4, for the views of agreement."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Lin's concordance of feature sets, feature by feature, with 95 % intervals over patients.

    Networks are compared with each other; just so one network in fp32 with itself in bf16, or one sampling of slices
    with another, for each recipe is a feature set. Run again, it computes only what has changed.

    Example: gliolake ccc --lake lake
    """
    from gliolake.analysis.agreement.command import compare
    from gliolake.analysis.agreement.published import ingest_published

    if published is not None:
        print_report(ingest_published(open_lake(lake), published), as_json)
    else:
        report = compare(open_lake(lake), feature_sets or (), rescans=test_retest)
        print_report(report, as_json)


def suspects(
    lake: LakeOption,
    feature_set: Annotated[
        str | None, typer.Option(help="Vectors to compare; the best founded of the lake if not given.")
    ] = None,
    max_false_positives: Annotated[
        float, typer.Option(help="Pairs of different people to expect among those found in the whole search.")
    ] = 0.1,
    as_json: JsonOption = False,
) -> None:
    """List pairs of scans too alike to be two people, for review. Nothing is joined until a label file says so.

    Example: gliolake suspects --lake lake
    """
    from gliolake.analysis.duplicates.command import find_suspects as run

    print_report(run(open_lake(lake), feature_set, false_pairs=max_false_positives), as_json)


def map_scans(
    lake: LakeOption,
    feature_set: Annotated[
        str | None, typer.Option(help="Only this feature set; all if not given (gliolake status lists them).")
    ] = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Lay scans out on a plane by their vectors, like ones near each other. What is mapped and unchanged is left.

    Example: gliolake map --lake lake
    """
    from gliolake.analysis.embedding import map_feature_sets as run

    print_report(run(open_lake(lake), feature_set, seed=seed), as_json)


def predict(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="One patient's images, as NIfTI or DICOM series.")],
    model: Annotated[Path, typer.Option(metavar="DIR", help="The folder of an exported model.")],
    mask: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The tumour's mask, in place of the one in the folder.")
    ] = None,
    tumour_box: Annotated[
        tuple[int, int, int, int, int, int] | None,
        typer.Option(metavar="X0 X1 Y0 Y1 Z0 Z1", help="The tumour's box in LPS voxels, in place of a mask."),
    ] = None,
    cohort: Annotated[
        str | None,
        typer.Option(help="How files are named and what was done to them: a cohort, or the path of a cohort's TOML."),
    ] = None,
    linked_images: LinkedOption = False,
    output: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Write OUT.html and OUT.png; named as the folder if not given.")
    ] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Ask an exported model about one case: probability, interval, what it looked at, and who is like it.

    Example: gliolake predict case --model model --output answer
    """
    from gliolake.analysis.case.predict import predict as run
    from gliolake.paths import absolute

    target = output or Path(absolute(folder).name)
    asked = run(
        folder,
        model,
        mask=mask,
        box=tumour_box,
        cohort=cohort,
        linked=linked_images,
        output=target,
        overwrite=overwrite,
    )
    print_report(asked, as_json)


def figure(
    lake: LakeOption,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]…", help="flowchart, roc, forest …; all if none is given.")
    ] = None,
    study: StudyOption = None,
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the files.")] = Path("figures"),
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Draw figures of a study as PNG and SVG, each from a view that gives its numbers. Exit code 1 if none could be.

    Example: gliolake figure roc --lake lake --output figures
    """
    from gliolake.analysis.figures.command import write_figures

    gallery = write_figures(open_lake(lake), names or (), study=study, output=output, overwrite=overwrite)
    print_report(gallery, as_json)
    raise typer.Exit(0 if gallery.any_drawn else 1)


def report(
    lake: LakeOption,
    study: StudyOption = None,
    output: Annotated[Path, typer.Option(metavar="FILE.html", help="The page.")] = Path("report.html"),
    overwrite: OverwriteOption = False,
    force: Annotated[
        bool, typer.Option("--force", help="Report a study that is still being computed; the page says so.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a study on one page for a browser: answer, tables, figures, provenance. The page needs no network.

    Example: gliolake report --lake lake --output report.html
    """
    from gliolake.analysis.report.report import report as run

    print_report(run(open_lake(lake), output, study, overwrite=overwrite, force=force), as_json)


def demo(
    folder: Annotated[Path, typer.Argument(help="Where the synthetic cohorts and the lake are written.")] = Path(
        "demo-lake"
    ),
    seed: SeedOption = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Clear what an earlier demo left there.")] = False,
) -> None:
    """Write two synthetic cohorts and take them through every step, from files to a table of metrics.

    Example: gliolake demo demo-lake
    """
    from gliolake.cli.demo import demo as run

    raise typer.Exit(run(folder, seed=seed, overwrite=overwrite))
