"""Commands about images, feature extraction and networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gliolake.cli.options import (
    CohortsOption,
    Delta,
    Engine,
    JsonOption,
    LakeOption,
    OverwriteOption,
    Precision,
    Sampling,
    SchedulerOption,
    SeedOption,
    Stage,
    Step,
    WorkersOption,
    open_lake,
)  # fmt: skip
from gliolake.cli.output import print_report


def preprocess(
    lake: LakeOption,
    cohort: CohortsOption = None,
    skip: Annotated[list[Step] | None, typer.Option(help="Leave out this step; may be given again.")] = None,
    template: Annotated[
        Path | None, typer.Option(metavar="FILE", help="NIfTI image to co-register every scan to, by deformation.")
    ] = None,
    scheduler: SchedulerOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring raw scans onto one grid and keep the volumes. What a cohort says was done to it is not done again.

    Example: gliolake preprocess --lake lake --skip denoise
    """
    from gliolake.features.preprocessing.command import preprocess_cohorts as run
    from gliolake.features.preprocessing.settings import settings_of

    settings = settings_of(skip or (), str(template.absolute()) if template else "")
    report = run(open_lake(lake), cohorts=cohort, settings=settings, scheduler=scheduler, workers=workers)
    print_report(report, as_json)


def extract(
    lake: LakeOption,
    backbone: Annotated[
        list[str] | None,
        typer.Option(help="A network that makes features; may be given again. [default: random_conv]"),
    ] = None,
    cohort: CohortsOption = None,
    delta: Annotated[Delta, typer.Option(help="DeltaT1 by subtracting images or feature vectors.")] = "image",
    crop_size: Annotated[
        int, typer.Option(help="Side of the square that is cut out around the tumour, in voxels.")
    ] = 128,
    slices: Annotated[int, typer.Option(help="Axial slices of a clip.")] = 150,
    weights: Annotated[
        str | None, typer.Option(help="untrained:SEED; if not given, the file added with gliolake weights add.")
    ] = None,
    sampling: Annotated[Sampling, typer.Option(help="Which slices a network sees.")] = "uniform",
    precision: Annotated[Precision, typer.Option(help="Arithmetic of a network.")] = "fp32",
    engine: Annotated[Engine, typer.Option(help="Library that computes a network.")] = "openvino",
    seed: SeedOption = 0,
    volume_set: Annotated[
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
    """Turn scans into 400 numbers per modality. Run again, it computes only what is missing.

    Example: gliolake extract --lake lake --backbone random_conv
    """
    from gliolake.features.backbones.registry import BackboneOptions
    from gliolake.features.clips import ClipSettings

    backbones = backbone or ["random_conv"]
    asked: dict[str, Any] = {
        "cohorts": cohort,
        "settings": ClipSettings(crop_size, slices, delta=delta),
        "options": BackboneOptions(seed, weights, sampling, precision, engine),
        "volumes": volume_set,
        "scheduler": scheduler,
        "workers": workers,
        "threads": threads,
    }
    if check_precision:
        from gliolake.features.extraction.precision import check_precision as check

        print_report(check(open_lake(lake), backbones, scans=scans, **asked), as_json)
    else:
        from gliolake.features.extraction.command import extract as run

        print_report(run(open_lake(lake), backbones, **asked), as_json)


def preview(
    scan: Annotated[str, typer.Argument(help="A scan id, e.g. BraTS2021_00000.")],
    lake: LakeOption,
    output: Annotated[Path | None, typer.Option(metavar="FILE.png", help="The picture; SCAN.png if not given.")] = None,
    cohort: Annotated[str | None, typer.Option(help="Where two cohorts have a scan of this id.")] = None,
    crop_corner: Annotated[
        tuple[int, int] | None,
        typer.Option(metavar="X Y", help="Corner of the crop, in voxels; around the tumour if not given."),
    ] = None,
    stage: Annotated[
        Stage, typer.Option(help="Images before preprocessing, after it, or both where there are.")
    ] = "both",
    overwrite: OverwriteOption = False,
) -> None:
    """Draw a scan: all modalities over the tumour's slices, with the mask and the box that networks see.

    Example: gliolake preview BraTS2021_00000 --lake lake --output scan.png
    """
    from gliolake.features.preview.command import preview as run

    target = output or Path(f"{scan}.png")
    print(run(open_lake(lake), scan, target, cohort=cohort, box=crop_corner, volumes=stage, overwrite=overwrite))


def weights_list(as_json: JsonOption = False) -> None:
    """Show what each network needs, where it comes from, and whether it is here.

    Example: gliolake weights list
    """
    from gliolake.features.weights.folder import list_weights

    print_report(list_weights(), as_json)


def weights_verify(
    name: Annotated[str | None, typer.Argument(help="A network; all if not given.")] = None, as_json: JsonOption = False
) -> None:
    """Read the files through: bytes against checksum, tensors against network. Exit code 1 if one is damaged.

    Example: gliolake weights verify
    """
    from gliolake.features.weights.folder import verify_weights

    checked = verify_weights(name)
    print_report(checked, as_json)
    raise typer.Exit(1 if any(row.state == "damaged" for row in checked) else 0)


def weights_add(
    name: Annotated[str, typer.Argument(help="The network.")],
    file: Annotated[Path, typer.Argument(help="Its weights: .pth, .safetensors, or the original flax checkpoint.")],
    skip_checksum: Annotated[
        bool, typer.Option("--skip-checksum", help="Take a file whose checksum is not the published one.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check a file of weights and keep a copy. Nothing in it is executed.

    Example: gliolake weights add vivit_b_16x2_kinetics400 weights.safetensors
    """
    from gliolake.features.weights.folder import add_weights

    print_report(add_weights(file, name, any_checksum=skip_checksum), as_json)


def weights_fetch(name: Annotated[str, typer.Argument(help="The network.")], as_json: JsonOption = False) -> None:
    """Download a network's weights from where they are published, check them, and keep them.

    Example: gliolake weights fetch vivit_b_16x2_kinetics400
    """
    from gliolake.features.weights.download import fetch_weights

    print_report(fetch_weights(name), as_json)
