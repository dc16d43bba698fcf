"""Options that several commands share, and closed sets of values for help and shell completion."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from gliolake.storage.lake import Lake

LakeOption = Annotated[
    str, typer.Option("--lake", envvar="GLIOLAKE_LAKE", metavar="DIR", help="The lake: a folder or s3://bucket/prefix.")
]
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
CohortsOption = Annotated[list[str] | None, typer.Option("--cohort", help="Only this cohort; may be given again.")]
FeatureSetOption = Annotated[
    str, typer.Option("--feature-set", help="Vectors to train on (gliolake status lists them).")
]
StudyOption = Annotated[str | None, typer.Option("--study", help="The study; the only one of the lake if not given.")]

Delta = Literal["image", "feature"]
Engine = Literal["openvino", "mxnet"]
ExportFormat = Literal["csv", "parquet", "tsv", "xlsx"]
LabelRule = Literal["brats21", "ucsf"]
Precision = Literal["fp32", "bf16"]
QueryFormat = Literal["table", "csv", "json", "parquet"]
Sampling = Literal["uniform", "tumour", "released"]
Stage = Literal["before", "after", "both"]


class Step(StrEnum):
    """Steps of preprocessing that may be left out; an enum, since typer takes a list of no Literal."""

    BIAS = "bias"
    DENOISE = "denoise"
    ALIGN = "align"
    RESAMPLE = "resample"
    FIT = "fit"
    NORMALISE = "normalise"


LabelRuleOption = Annotated[
    LabelRule,
    typer.Option("--label-rule", help="Which patients are methylated: at two sites or more (brats21), or at one."),
]


def open_lake(root: str, create: bool = False) -> Lake:
    """The lake that ``--lake`` names."""
    from gliolake.storage.lake import Lake

    return Lake(root, create=create)
