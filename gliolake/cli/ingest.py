"""Commands that fill the lake."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gliolake.cli.options import JsonOption, LakeOption, LinkedOption, SchedulerOption, WorkersOption, open_lake
from gliolake.cli.output import print_report


def ingest(
    lake: LakeOption,
    cohort: Annotated[
        str | None, typer.Option(help="A shipped cohort (brats21, ucsf_pdgm) or the path of a cohort's TOML.")
    ] = None,
    images: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the cohort's scans.")] = None,
    labels: Annotated[list[Path] | None, typer.Option(metavar="CSV", help="Label file; may be given again.")] = None,
    boxes: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Tumour boxes of scans without a mask: scan_id,x0,x1,y0,y1,z0,z1."),
    ] = None,
    encoding: Annotated[
        str, typer.Option(metavar="NAME", help="What label files are written in that are not UTF-8, e.g. mac_roman.")
    ] = "",
    linked_images: LinkedOption = False,
    moved: Annotated[
        bool, typer.Option("--moved", help="This folder replaces others that the same ids are known from.")
    ] = False,
    vanished_are_gone: Annotated[
        bool, typer.Option("--vanished-are-gone", help="Known scans that this folder has no file of are removed.")
    ] = False,
    reread: Annotated[
        bool, typer.Option("--reread", help="Read every scan, also where size and time of its files are as they were.")
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE.toml", help="Instead: all cohorts of a file, one run at a time, for a timer."),
    ] = None,
    scheduler: SchedulerOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring a cohort's scans and labels into the lake. Run again, it reads only what is new or changed.

    Exit code 1 means that something is wrong with the images folder as a whole: folders that cannot be listed, or many
    known scans that lost files. All else was done.

    With --config, exit code 1 means that a cohort failed and the others did not suffer; 0 that all went well.

    Example: gliolake ingest --lake lake --cohort brats21 --images BraTS21 --labels train_labels.csv
    """
    from gliolake.errors import InputError
    from gliolake.ingest.pipeline import ingest as run

    if config is not None:
        if cohort or images or labels or boxes or linked_images or moved or vanished_are_gone or reread:
            raise InputError("--config says all about cohorts.", hint="Leave out the other options that do.")
        from gliolake.cli.schedule import run_schedule

        summary = run_schedule(open_lake(lake, create=True), config, scheduler=scheduler, workers=workers)
        print_report(summary, as_json)
        raise typer.Exit(summary.exit_code)
    if cohort is None:
        raise InputError("Nothing says which cohort.", hint="Give --cohort, or --config FILE.toml.")

    there = open_lake(lake, create=True)
    report = run(
        there,
        cohort,
        images,
        labels,
        boxes=boxes,
        encoding=encoding,
        linked_images=linked_images,
        moved=moved,
        vanished_are_gone=vanished_are_gone,
        reread=reread,
        scheduler=scheduler,
        workers=workers,
    )
    print_report(report, as_json)
    raise typer.Exit(report.exit_code)


def ingest_features(
    lake: LakeOption,
    files: Annotated[list[Path], typer.Argument(metavar="FILE.tfrecords…", help="The study's released vectors.")],
    as_json: JsonOption = False,
) -> None:
    """Bring in the study's released feature vectors, as a feature set of their own.

    Example: gliolake ingest-features train.tfrecords test.tfrecords --lake lake
    """
    from gliolake.ingest.published_features import ingest_features as run

    print_report(run(open_lake(lake, create=True), files), as_json)


def ingest_list(
    lake: LakeOption,
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="A column of scan ids, e.g. the study's Table S2.")],
    cohort: Annotated[str, typer.Option(help="The cohort the ids belong to.")] = "ucsf_pdgm",
    name: Annotated[str | None, typer.Option(help="Name of the list; the file's name if not given.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Bring in a list of scans, for the view external_listed.

    Example: gliolake ingest-list table_s2.csv --lake lake
    """
    from gliolake.ingest.scan_lists import ingest_list as run

    print_report(run(open_lake(lake, create=True), cohort, name or file.stem, file), as_json)
