"""The command line: it parses, calls one function of a room, and prints what comes back.

Nothing heavy is imported before a command runs, so that ``gliolake --help`` answers at once.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from gliolake.cli import ending
from gliolake.log.plain_text import guarded, shown, without_passwords

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from gliolake.features.extraction.report import ExtractReport
    from gliolake.features.weights.folder import WeightsStatus
    from gliolake.storage.lake import Lake


class Commands(TyperGroup):
    """Our commands; what is wrong with how one was typed is said in text that is fit for a terminal."""

    def make_context(self, *args: Any, **settings: Any) -> Any:
        """As typer does."""
        with _fit_for_a_terminal():
            return super().make_context(*args, **settings)

    def invoke(self, ctx: Any) -> Any:
        """As typer does."""
        with _fit_for_a_terminal():
            return super().invoke(ctx)


@contextmanager
def _fit_for_a_terminal() -> Iterator[None]:
    try:
        yield
    except typer.TyperException as error:
        error.message = shown(without_passwords(error.message))
        raise


app = typer.Typer(
    name="gliolake",
    cls=Commands,
    help="A data lake that asks whether MRI can tell a glioblastoma's MGMT promoter methylation.",
    epilog="GLIOLAKE_LOG=json: any command tells what it does in lines of JSON on standard error.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

LakeOption = Annotated[
    str, typer.Option("--lake", envvar="GLIOLAKE_LAKE", metavar="DIR", help="The lake: a folder or s3://bucket/prefix.")
]
weights_app = typer.Typer(help="Weights of the pretrained networks.", no_args_is_help=True, rich_markup_mode="rich")
app.add_typer(weights_app, name="weights", rich_help_panel="Compute")
study_app = typer.Typer(
    help="A published study beside what becomes of it here.", no_args_is_help=True, rich_markup_mode="rich"
)
app.add_typer(study_app, name="study", rich_help_panel="Compute")
model_app = typer.Typer(help="Trained models as folders of their own.", no_args_is_help=True, rich_markup_mode="rich")
app.add_typer(model_app, name="model", rich_help_panel="Predict one case")

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
SchedulerOption = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        metavar="WHERE",
        help="A running Dask cluster (tls://host:8786), or embedded, slurm, kubernetes. [default: see gliolake.toml]",
    ),
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", help="Worker processes to start; one per core of this machine if not given.")
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace what gliolake wrote there before; other people's files stay.")
]
LinkedOption = Annotated[bool, typer.Option("--linked-images", help="Follow links that leave the images folder.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of everything random; recorded with the results.")]


def _show_version(asked: bool) -> None:
    if asked:
        from gliolake.runs import code_version

        print(f"gliolake {code_version()}")
        raise typer.Exit


@app.callback()
def _options(
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.toml",
            help="Where the work is done (gliolake.toml); GLIOLAKE_CONFIG names one too. "
            "[default: ~/.config/gliolake/gliolake.toml]",
        ),
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", help="Which gliolake this is.", is_eager=True, callback=_show_version)
    ] = False,
    linked_lake: Annotated[
        bool,
        typer.Option(
            "--linked-lake",
            envvar="GLIOLAKE_LINKED_LAKE",
            help="Go through symbolic links in the path of a lake, and to folders in it: you made them on purpose.",
        ),
    ] = False,
) -> None:
    """Options of all commands; they stand before the command."""
    if linked_lake:
        os.environ["GLIOLAKE_LINKED_LAKE"] = "1"  # for workers too
    if config is not None:
        from gliolake.config import VARIABLE

        os.environ[VARIABLE] = str(config)


@app.command(rich_help_panel="Fill the lake")
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
    """
    from gliolake.errors import InputError
    from gliolake.ingest.pipeline import ingest as run

    if config is not None:
        if cohort or images or labels or boxes or linked_images or moved or vanished_are_gone or reread:
            raise InputError("--config says all about cohorts.", hint="Leave out the other options that do.")
        _ingest_scheduled(_lake(lake, create=True), config, scheduler, workers, as_json)
        return
    if cohort is None:
        raise InputError("Nothing says which cohort.", hint="Give --cohort, or --config FILE.toml.")

    there = _lake(lake, create=True)
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
    _print(report, as_json)
    raise typer.Exit(report.exit_code)


def _ingest_scheduled(lake: Lake, config: Path, scheduler: str | None, workers: int | None, as_json: bool) -> None:
    from gliolake.ingest.schedule import ExtractJob, Steps, read_schedule, run_schedule

    def extraction(job: ExtractJob) -> ExtractReport:
        from gliolake.features.backbones.registry import BackboneOptions
        from gliolake.features.clips import ClipSettings
        from gliolake.features.extraction.command import extract as run

        options: dict[str, Any] = dict(job.options)
        volumes = options.pop("volumes", None)
        settings = ClipSettings(**{name: options.pop(name) for name in ("box", "slices", "delta") if name in options})
        return run(
            lake,
            job.backbones,
            cohorts=job.cohorts or None,
            settings=settings,
            options=BackboneOptions(**options),
            volumes=volumes,
            scheduler=scheduler,
            workers=workers,
        )

    def splits() -> dict[str, int]:
        from gliolake.sql.status import split_sizes

        return split_sizes(lake)

    steps = Steps(extraction, splits)
    report = run_schedule(lake, read_schedule(config), steps, scheduler=scheduler, workers=workers)
    _print(report, as_json)
    raise typer.Exit(report.exit_code)


@app.command("ingest-features", rich_help_panel="Fill the lake")
def ingest_features(
    lake: LakeOption,
    files: Annotated[list[Path], typer.Argument(metavar="FILE.tfrecords…", help="The study's released vectors.")],
    as_json: JsonOption = False,
) -> None:
    """Bring in the study's released feature vectors, as a feature set of their own."""
    from gliolake.ingest.published_features import ingest_features as run

    _print(run(_lake(lake, create=True), files), as_json)


@app.command("ingest-list", rich_help_panel="Fill the lake")
def ingest_list(
    lake: LakeOption,
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="A column of scan ids, e.g. the study's Table S2.")],
    cohort: Annotated[str, typer.Option(help="The cohort the ids belong to.")] = "ucsf_pdgm",
    name: Annotated[str | None, typer.Option(help="Name of the list; the file's name if not given.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Bring in a list of scans, for the view external_listed."""
    from gliolake.ingest.scan_lists import ingest_list as run

    _print(run(_lake(lake, create=True), cohort, name or file.stem, file), as_json)


@app.command(rich_help_panel="Compute")
def preprocess(
    lake: LakeOption,
    cohort: Annotated[list[str] | None, typer.Option(help="Only this cohort; may be given again.")] = None,
    skip: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STEP", help="Leave out bias, denoise, align, resample, fit or normalise; may be given again."
        ),
    ] = None,
    template: Annotated[
        Path | None, typer.Option(metavar="FILE", help="NIfTI image to co-register every scan to, by deformation.")
    ] = None,
    scheduler: SchedulerOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring raw scans onto one grid and keep the volumes. What a cohort says was done to it is not done again."""
    from gliolake.features.preprocessing.command import preprocess_cohorts as run
    from gliolake.features.preprocessing.settings import settings_of

    settings = settings_of(skip or (), str(template.absolute()) if template else "")
    report = run(_lake(lake), cohorts=cohort, settings=settings, scheduler=scheduler, workers=workers)
    _print(report, as_json)


@app.command(rich_help_panel="Compute")
def extract(
    lake: LakeOption,
    backbone: Annotated[
        list[str] | None,
        typer.Option(help="A network that makes features; may be given again. [default: random_conv]"),
    ] = None,
    cohort: Annotated[list[str] | None, typer.Option(help="Only this cohort; may be given again.")] = None,
    delta: Annotated[str, typer.Option(help="DeltaT1 by subtracting images or features: image, feature.")] = "image",
    box: Annotated[int, typer.Option(help="Side of the box around the tumour, in voxels.")] = 128,
    slices: Annotated[int, typer.Option(help="Axial slices of a clip.")] = 150,
    weights: Annotated[
        str | None, typer.Option(help="untrained:SEED; if not given, the file added with gliolake weights add.")
    ] = None,
    sampling: Annotated[str, typer.Option(help="Which slices a network sees: uniform, tumour, released.")] = "uniform",
    precision: Annotated[str, typer.Option(help="Arithmetic of a network: fp32 or bf16.")] = "fp32",
    engine: Annotated[str, typer.Option(help="Library that computes a network: openvino or mxnet.")] = "openvino",
    seed: SeedOption = 0,
    volumes: Annotated[
        str | None, typer.Option(metavar="SET", help="Volume set to cut raw scans from; the only one if not given.")
    ] = None,
    check_precision: Annotated[
        bool,
        typer.Option("--check-precision", help="Only compare --precision with fp32 over some scans; keep nothing."),
    ] = False,
    scans: Annotated[int, typer.Option(help="How many scans --check-precision takes.")] = 8,
    scheduler: SchedulerOption = None,
    workers: WorkersOption = None,
    threads: Annotated[
        int | None, typer.Option(help="Scans under way at once in each process; 1 if not given.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Turn scans into 400 numbers per modality. Run again, it computes only what is missing."""
    from gliolake.features.backbones.registry import BackboneOptions
    from gliolake.features.clips import ClipSettings

    backbones = backbone or ["random_conv"]
    asked: dict[str, Any] = {
        "cohorts": cohort,
        "settings": ClipSettings(box, slices, delta=delta),
        "options": BackboneOptions(seed, weights, sampling, precision, engine),
        "volumes": volumes,
        "scheduler": scheduler,
        "workers": workers,
        "threads": threads,
    }
    if check_precision:
        from gliolake.features.extraction.precision import check_precision as check

        _print(check(_lake(lake), backbones, scans=scans, **asked), as_json)
    else:
        from gliolake.features.extraction.command import extract as run

        _print(run(_lake(lake), backbones, **asked), as_json)


@weights_app.command("list")
def weights_list(as_json: JsonOption = False) -> None:
    """Show what each network needs, where it comes from, and whether it is here."""
    from gliolake.features.weights.folder import list_weights

    _print_weights(list_weights(), as_json)


@weights_app.command("verify")
def weights_verify(
    name: Annotated[str | None, typer.Argument(help="A network; all if not given.")] = None, as_json: JsonOption = False
) -> None:
    """Read the files through: bytes against checksum, tensors against network. Exit code 1 if one is damaged."""
    from gliolake.features.weights.folder import verify_weights

    checked = verify_weights(name)
    _print_weights(checked, as_json)
    raise typer.Exit(1 if any(row.state == "damaged" for row in checked) else 0)


@weights_app.command("add")
def weights_add(
    name: Annotated[str, typer.Argument(help="The network.")],
    file: Annotated[Path, typer.Argument(help="Its weights: .pth, .safetensors, or the original flax checkpoint.")],
    any_checksum: Annotated[
        bool, typer.Option("--any-checksum", help="Take a file whose checksum is not the published one.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check a file of weights and keep a copy. Nothing in it is executed."""
    from dataclasses import asdict

    from gliolake.features.weights.folder import add_weights

    added = add_weights(file, name, any_checksum=any_checksum)
    print(json.dumps(asdict(added)) if as_json else f"{name}: {added.bytes:,} bytes kept, {added.origin}.")


@weights_app.command("fetch")
def weights_fetch(name: Annotated[str, typer.Argument(help="The network.")], as_json: JsonOption = False) -> None:
    """Download a network's weights from where they are published, check them, and keep them."""
    from dataclasses import asdict

    from gliolake.features.weights.download import fetch_weights

    added = fetch_weights(name)
    print(json.dumps(asdict(added)) if as_json else f"{name}: {added.bytes:,} bytes kept, {added.origin}.")


def _print_weights(rows: Sequence[WeightsStatus], as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        print(json.dumps([asdict(row) for row in rows], default=str))
        return
    from rich.text import Text

    console = _console()
    for row in rows:
        console.print(Text.assemble((row.name, "bold"), f": {row.state}", f" ({row.origin})" if row.origin else ""))
        source = row.source
        told = {"from": source.url, "licence": source.licence, "size": f"{source.megabytes} MB", "detail": row.detail}
        for name, value in told.items():
            if value:
                console.print(f"  {name}: {value}", highlight=False)


@app.command(rich_help_panel="Compute")
def train(
    lake: LakeOption,
    feature_set: Annotated[str, typer.Option(help="Vectors to train on (gliolake status lists them).")],
    model: Annotated[str, typer.Option(help="snn, snn_released, snn_lowrank, mlp or logistic.")] = "snn",
    label_rule: Annotated[
        str, typer.Option(help="Who is called methylated: brats21 (2 sites on), ucsf (1).")
    ] = "brats21",
    modality: Annotated[list[str] | None, typer.Option(help="Only this branch; may be given again.")] = None,
    repeats: Annotated[int, typer.Option(help="Repeats of the cross-validation.")] = 4,
    folds: Annotated[int, typer.Option(help="Folds of each repeat.")] = 5,
    epochs: Annotated[int, typer.Option(help="Most epochs; early stopping picks the best.")] = 200,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Cross-validate a model on a feature set, test it on the external scans, and write everything back."""
    from gliolake.modeling.train import train as run

    report = run(
        _lake(lake),
        feature_set,
        model,
        label_rule=label_rule,
        modalities=modality,
        repeats=repeats,
        folds=folds,
        epochs=epochs,
        seed=seed,
    )
    _print(report, as_json)


@study_app.command("run")
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
    """Run every experiment of a study, with its statistics. Run again, it computes only what is missing."""
    from gliolake.analysis.study.command import analyse
    from gliolake.errors import InputError
    from gliolake.modeling.study.command import run_study as run

    chosen = dict(one.partition("=")[::2] for one in features or ())
    if "" in chosen.values():
        raise InputError("--features needs a name and a feature set.", hint="Write --features 'ViViT=SET'.")
    report = run(_lake(lake), file, features=chosen, only=only or (), scheduler=scheduler, workers=workers)
    analyse(_lake(lake), report.study)
    _print(report, as_json)


@study_app.command("show")
def study_show(
    lake: LakeOption,
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="WHAT", help="table_1 … figure_7, comparisons, correlations, subgroups; an overview if not given."
        ),
    ] = None,
    study: Annotated[str | None, typer.Option(help="The study; the only one of the lake if not given.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print a table or figure of a study as published, and beside it as reproduced, with what it rests on."""
    from gliolake.analysis.study.published import show

    _print(show(_lake(lake), what, study), as_json)


@app.command(rich_help_panel="Compute")
def ccc(
    lake: LakeOption,
    feature_sets: Annotated[
        list[str] | None,
        typer.Argument(metavar="FIRST SECOND", help="Two feature sets; every pair that shares scans if not given."),
    ] = None,
    rescans: Annotated[
        bool,
        typer.Option("--rescans", help="Within a feature set: compare two examinations of each patient who has two."),
    ] = False,
    published: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Only bring in the study's Table S4, for the views of agreement."),
    ] = None,
    scheduler: SchedulerOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lin's concordance of feature sets, feature by feature, with 95 % intervals over patients.

    Networks are compared with each other; just so one network in fp32 with itself in bf16, or one sampling of slices
    with another, for each recipe is a feature set. Run again, it computes only what has changed.
    """
    from gliolake.analysis.agreement.command import compare
    from gliolake.analysis.agreement.published import ingest_published

    if published is not None:
        _print(ingest_published(_lake(lake), published), as_json)
    else:
        report = compare(_lake(lake), feature_sets or (), rescans=rescans, scheduler=scheduler, workers=workers)
        _print(report, as_json)


@app.command(rich_help_panel="Compute")
def suspects(
    lake: LakeOption,
    feature_set: Annotated[
        str | None, typer.Option(help="Vectors to compare; the best founded of the lake if not given.")
    ] = None,
    false_pairs: Annotated[
        float, typer.Option(help="Pairs of different people to expect among those found in the whole search.")
    ] = 0.1,
    as_json: JsonOption = False,
) -> None:
    """List pairs of scans too alike to be two people, for review. Nothing is joined until a label file says so."""
    from gliolake.analysis.duplicates.command import find_suspects as run

    _print(run(_lake(lake), feature_set, false_pairs=false_pairs), as_json)


@app.command("map", rich_help_panel="Compute")
def map_scans(
    lake: LakeOption,
    feature_set: Annotated[
        str | None, typer.Option(help="Only this feature set; all if not given (gliolake status lists them).")
    ] = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Lay scans out on a plane by their vectors, like ones near each other. What is mapped and unchanged is left."""
    from gliolake.analysis.embedding import map_feature_sets as run

    _print(run(_lake(lake), feature_set, seed=seed), as_json)


@app.command(rich_help_panel="Compute")
def search(
    lake: LakeOption,
    feature_set: Annotated[str, typer.Option(help="Vectors to train on (gliolake status lists them).")],
    candidate: Annotated[list[str] | None, typer.Option(help="Only this candidate; may be given again.")] = None,
    label_rule: Annotated[
        str, typer.Option(help="Who is called methylated: brats21 (2 sites on), ucsf (1).")
    ] = "brats21",
    repeats: Annotated[int, typer.Option(help="Repeats of the outer cross-validation.")] = 4,
    folds: Annotated[int, typer.Option(help="Outer folds of each repeat.")] = 5,
    inner_folds: Annotated[int, typer.Option(help="Folds inside each training part, by which is chosen.")] = 5,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Choose among models by an inner cross-validation in every training part, and report what that honestly gives."""
    from gliolake.modeling.nested_cv.candidates import named_candidates
    from gliolake.modeling.nested_cv.command import search as run

    report = run(
        _lake(lake),
        feature_set,
        label_rule=label_rule,
        candidates=named_candidates(candidate) if candidate else None,
        repeats=repeats,
        folds=folds,
        inner_folds=inner_folds,
        seed=seed,
    )
    _print(report, as_json)


@model_app.command("export")
def model_export(
    experiment: Annotated[str, typer.Argument(help="An experiment (gliolake status lists them).")],
    lake: LakeOption,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The folder; named as the experiment if not given.")
    ] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train an experiment's fits again, prove that they are the lake's, and write them as a folder."""
    from gliolake.modeling.export.command import export_model as run

    _print(run(_lake(lake), experiment, output, overwrite=overwrite), as_json)


@model_app.command("show")
def model_show(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of an exported model.")],
    as_json: JsonOption = False,
) -> None:
    """Show what a model is, what it rests on and how good it is. All its checksums are checked first."""
    from gliolake.modeling.export.model import load_model

    _print(load_model(folder), as_json)


@app.command(rich_help_panel="Predict one case")
def predict(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="One patient's images, as NIfTI or DICOM series.")],
    model: Annotated[Path, typer.Option(metavar="DIR", help="The folder of an exported model.")],
    mask: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The tumour's mask, in place of the one in the folder.")
    ] = None,
    box: Annotated[
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
    """Ask an exported model about one case: probability, interval, what it looked at, and who is like it."""
    from gliolake.analysis.case.predict import predict as run
    from gliolake.paths import absolute

    target = output or Path(absolute(folder).name)
    asked = run(
        folder, model, mask=mask, box=box, cohort=cohort, linked=linked_images, output=target, overwrite=overwrite
    )
    _print(asked, as_json)


def _list_examples(wanted: bool) -> None:
    """List the example queries and end, whatever else was given."""
    if wanted:
        from gliolake.sql.questions import questions

        print("\n".join(f"{one.name}: {one.question}" for one in questions().values()))
        raise typer.Exit


@app.command(rich_help_panel="Ask the lake")
def sql(
    lake: LakeOption,
    statement: Annotated[
        str | None, typer.Argument(metavar="SQL", help="One statement; - reads it from standard input.")
    ] = None,
    example: Annotated[str | None, typer.Option(metavar="NAME", help="Ask this example instead.")] = None,
    examples: Annotated[
        bool, typer.Option("--examples", help="Only list the examples.", is_eager=True, callback=_list_examples)
    ] = False,
    form: Annotated[str, typer.Option("--format", help="table, csv, json or parquet.")] = "table",
    output: Annotated[Path | None, typer.Option(help="Write to this file instead of printing.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
) -> None:
    """Ask a question in SQL, over all tables and views. Nothing can be written."""
    from gliolake.atomic import check_target, replaced
    from gliolake.errors import InputError, known_name
    from gliolake.log.progress import note
    from gliolake.sql import query
    from gliolake.sql.questions import question

    known_name("format", form, query.FORMATS)
    if (statement is None) == (example is None):
        raise InputError("Give one statement, or --example NAME.", hint="--examples lists the examples.")
    if example is not None:
        asked = question(example).sql
        if form == "table" and output is None:
            note(asked)
    else:
        asked = query.typed() if statement == "-" else statement or ""
    if output is not None:
        check_target(output, overwrite=overwrite, inputs=[Path("/dev/stdin")] if statement == "-" else [])
    opened = _lake(lake)
    answer = query.query(opened, asked)
    if output is not None:
        with replaced(output, overwrite=overwrite) as file:
            query.write(answer, "csv" if form == "table" else form, file)
    elif form == "table":
        query.show(answer, _console())
    else:
        query.print_as(answer, form)
    if not answer.num_rows and (missing := query.nothing_found(opened, asked)):
        note(missing)


@app.command(rich_help_panel="Ask the lake")
def preview(
    scan: Annotated[str, typer.Argument(help="A scan id, e.g. BraTS2021_00000.")],
    lake: LakeOption,
    output: Annotated[Path | None, typer.Option(metavar="FILE.png", help="The picture; SCAN.png if not given.")] = None,
    cohort: Annotated[str | None, typer.Option(help="Where two cohorts have a scan of this id.")] = None,
    box: Annotated[
        tuple[int, int] | None,
        typer.Option(metavar="X Y", help="Corner of the box, in voxels; the tumour's if not given."),
    ] = None,
    volumes: Annotated[
        str, typer.Option(help="Images before preprocessing, after it, or both where there are: before, after, both.")
    ] = "both",
    overwrite: OverwriteOption = False,
) -> None:
    """Draw a scan: all modalities over the tumour's slices, with the mask and the box that networks see."""
    from gliolake.features.preview.command import preview as run

    target = output or Path(f"{scan}.png")
    print(run(_lake(lake), scan, target, cohort=cohort, box=box, volumes=volumes, overwrite=overwrite))


@app.command(rich_help_panel="Ask the lake")
def figure(
    lake: LakeOption,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]…", help="flowchart, roc, forest …; all if none is given.")
    ] = None,
    study: Annotated[str | None, typer.Option(help="The study; the only one of the lake if not given.")] = None,
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the files.")] = Path("figures"),
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Draw figures of a study as PNG and SVG, each from a view that gives its numbers. Exit code 1 if none could be."""
    from gliolake.analysis.figures.command import write_figures

    gallery = write_figures(_lake(lake), names or (), study=study, output=output, overwrite=overwrite)
    _print(gallery, as_json)
    raise typer.Exit(0 if gallery.any_drawn else 1)


@app.command(rich_help_panel="Ask the lake")
def report(
    lake: LakeOption,
    study: Annotated[str | None, typer.Option(help="The study; the only one of the lake if not given.")] = None,
    output: Annotated[Path, typer.Option(metavar="FILE.html", help="The page.")] = Path("report.html"),
    overwrite: OverwriteOption = False,
    force: Annotated[
        bool, typer.Option("--force", help="Report a study that is still being computed; the page says so.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a study on one page for a browser: answer, tables, figures, provenance. The page needs no network."""
    from gliolake.analysis.report.report import report as run

    _print(run(_lake(lake), output, study, overwrite=overwrite, force=force), as_json)


@app.command(rich_help_panel="Ask the lake")
def status(
    lake: LakeOption,
    check: Annotated[
        bool,
        typer.Option("--check", help="Exit with 1 if there is a problem: a failed audit or run, or newly lost scans."),
    ] = False,
    prometheus: Annotated[
        Path | None, typer.Option(metavar="FILE.prom", help="Also write it for node_exporter's textfile collector.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the lake holds and lacks: cohorts, splits, feature sets, experiments, the latest runs."""
    from gliolake.sql.status import status as run

    found = run(_lake(lake))
    if prometheus is not None:
        from gliolake.sql.metrics import write_metrics

        write_metrics(found, prometheus)
    _print(found, as_json)
    raise typer.Exit(1 if check and found.problems else 0)


@app.command(rich_help_panel="Ask the lake")
def tables(as_json: JsonOption = False) -> None:
    """Describe every table, column by column."""
    from gliolake.schema.registry import TABLES

    if as_json:
        described = {
            table.name: {
                "doc": table.doc,
                "key": table.key,
                "columns": {c.name: [str(c.type), c.doc] for c in table.columns},
            }
            for table in TABLES.values()
        }
        print(json.dumps(described))
        return
    from rich.text import Text

    console = _console()
    for table in TABLES.values():
        console.print(Text.assemble((table.name, "bold"), f": {table.doc} (key: {', '.join(table.key)})"))
        for column in table.columns:
            console.print(Text.assemble(f"  {column.name}  ", (column.doc, "dim")), highlight=False)


@app.command(rich_help_panel="Ask the lake")
def dictionary(
    name: Annotated[str | None, typer.Argument(help="A table or view; a list of all if not given.")] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE.md", help="Write all of it as a document.")] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say what tables and views hold, column by column."""
    from gliolake.errors import known_name
    from gliolake.sql import dictionary as room

    relations = room.dictionary()
    if output is not None:
        room.write(relations.values(), output, overwrite=overwrite)
    elif name is not None:
        _print(relations[known_name("table or view", name, relations)], as_json)
    else:
        _print(room.Overview(relations), as_json)


@app.command(rich_help_panel="Ask the lake")
def export(
    lake: LakeOption,
    name: Annotated[
        str | None, typer.Argument(metavar="VIEW", help="A table or view; `gliolake dictionary` lists all.")
    ] = None,
    form: Annotated[
        str | None, typer.Option("--to", help="csv, parquet, tsv or xlsx; by the file's ending if not given.")
    ] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="The file; VIEW.FORMAT if not given.")] = None,
    bids: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Instead of a view: the patients, as a BIDS derivative dataset.")
    ] = None,
    cohort: Annotated[str | None, typer.Option(help="With --bids: only this cohort's scans.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file if it is there, or a BIDS dataset of gliolake's.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a table or view into a file for other programs, or the patients as a BIDS dataset."""
    from gliolake.errors import InputError
    from gliolake.sql.export.bids import export_bids
    from gliolake.sql.export.table import export as run

    if (name is None) == (bids is None):
        raise InputError("Export takes one thing.", hint="Name a table or view, or give --bids DIR.")
    if bids is not None:
        _print(export_bids(_lake(lake), bids, cohort=cohort, overwrite=overwrite), as_json)
    elif name is not None:
        _print(run(_lake(lake), name, output, form=form, overwrite=overwrite), as_json)


@app.command(rich_help_panel="Ask the lake")
def catalog(
    file: Annotated[Path, typer.Argument(metavar="FILE.duckdb", help="The file to write.")],
    lake: LakeOption,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a DuckDB file with all tables and views, which any DuckDB client opens without the lake."""
    from gliolake.sql.catalog import write_catalog

    rows = write_catalog(_lake(lake), file, overwrite=overwrite)
    if as_json:
        print(json.dumps({"file": str(file), "rows": rows}))
    else:
        print(f"{file}: {len(rows)} tables and views, {file.stat().st_size / 1e6:.1f} MB. Open it with: duckdb {file}")


@app.command(rich_help_panel="Keep the lake")
def verify(
    lake: LakeOption,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Take damaged files out, to be made again; move left-over ones into _quarantine."
        ),
    ] = False,
    grace: Annotated[float, typer.Option(help="Seconds for which left-over files stay where they are.")] = 86_400.0,
    as_json: JsonOption = False,
) -> None:
    """Check every committed file against the log; find lost, altered and leftover files. Exit code 1 if any."""
    from gliolake.ingest.pipeline import commit_links
    from gliolake.maintenance.verify import verify as run

    report = run(lake, repair=repair, grace=grace, made_anew={"links": commit_links})
    _print(report, as_json)
    raise typer.Exit(0 if report.sound else 1)


@app.command(rich_help_panel="Keep the lake")
def purge(lake: LakeOption, as_json: JsonOption = False) -> None:
    """Remove for good what repairs moved into _quarantine more than a day ago. Only this command ever deletes files."""
    from gliolake.maintenance.purge import purge as run

    _print(run(_lake(lake)), as_json)


@app.command(rich_help_panel="Keep the lake")
def audit(
    lake: LakeOption,
    phi: Annotated[
        bool, typer.Option("--phi", help="Look for what may identify a patient, or who handled the data.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Look through every text of the lake and the headers of its volumes. Exit code 1 if anything is found."""
    from gliolake.errors import InputError
    from gliolake.sql.audit import audit as run

    if not phi:
        raise InputError("Nothing says what to look for.", hint="Give --phi.")
    report = run(_lake(lake))
    _print(report, as_json)
    raise typer.Exit(1 if report.findings else 0)


@app.command(rich_help_panel="Keep the lake")
def compact(lake: LakeOption, as_json: JsonOption = False) -> None:
    """Merge small files, so that queries open fewer."""
    from gliolake.maintenance.compaction import compact as run

    merged = run(_lake(lake))
    if as_json:
        print(json.dumps(merged))
    else:
        print(
            "\n".join(f"{table}: {files} files merged away" for table, files in merged.items()) or "Nothing to merge."
        )


@app.command(rich_help_panel="See it work")
def demo(
    folder: Annotated[Path, typer.Argument(help="Where the synthetic cohorts and the lake are written.")] = Path(
        "demo-lake"
    ),
    seed: SeedOption = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Clear what an earlier demo left there.")] = False,
) -> None:
    """Write two synthetic cohorts and take them through every step, from files to a table of metrics."""
    from gliolake.analysis.demo import demo as run

    raise typer.Exit(run(folder, seed=seed, overwrite=overwrite))


def _lake(root: str | Path, create: bool = False, linked: bool | None = None) -> Lake:
    from gliolake.storage.lake import Lake

    return Lake(root, create=create, linked=linked)


def _console() -> Console:
    from gliolake.log.console import output

    return output(width=160)


def _print(report: Any, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report.as_dict(), default=str))
    else:
        from gliolake.log.plain_text import shown_within

        _console().print(shown_within(report))


def main() -> None:
    """Run the command line; whatever ends a command is said in words and told by its exit code."""
    from gliolake.process.isolation import leave_current_folder

    leave_current_folder()
    import logging

    from gliolake.log.journal import tell
    from gliolake.process import signals as stopping

    begun = time.monotonic()
    try:
        with guarded():
            code = _run()
    except stopping.Stopped as stopped:  # while it was ending
        code = ending.explained(stopped) or 0
    stopping.command_is_over()
    level = logging.ERROR if code else logging.INFO
    tell("command ended", level, exit_code=code, seconds=round(time.monotonic() - begun, 3))
    sys.exit(code)


def _run() -> int:
    from gliolake.log.journal import begin_journal
    from gliolake.paths import check_text

    try:
        for argument in (*sys.argv[1:], os.environ.get("GLIOLAKE_LAKE", "")):
            check_text(argument)
        begin_journal(_command())
        ending.choose_temporary_folder()
        app()
    except BaseException as error:
        code = ending.explained(error)
        if code is None:
            raise
        return code or ending.flushed()
    return 0


def _command() -> str:
    """The command's name. What stands before and behind it may hold secrets."""
    named = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    named |= {group.name or "" for group in app.registered_groups}
    return next((word for word in sys.argv[1:] if word in named), "")
