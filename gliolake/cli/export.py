"""Commands that write tables into files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gliolake.cli.options import ExportFormat, JsonOption, LakeOption, OverwriteOption, open_lake
from gliolake.cli.output import print_json, print_report


def export(
    lake: LakeOption,
    name: Annotated[
        str | None, typer.Argument(metavar="VIEW", help="A table or view; `gliolake dictionary` lists all.")
    ] = None,
    form: Annotated[
        ExportFormat | None, typer.Option("--format", help="The file's format; by its ending if not given.")
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
    """Write a table or view into a file for other programs, or the patients as a BIDS dataset.

    Example: gliolake export training --lake lake --format csv
    """
    from gliolake.errors import InputError
    from gliolake.sql.export.bids import export_bids
    from gliolake.sql.export.table import export as run

    if (name is None) == (bids is None):
        raise InputError("Export takes one thing.", hint="Name a table or view, or give --bids DIR.")
    if bids is not None:
        print_report(export_bids(open_lake(lake), bids, cohort=cohort, overwrite=overwrite), as_json)
    elif name is not None:
        print_report(run(open_lake(lake), name, output, form=form, overwrite=overwrite), as_json)


def catalog(
    file: Annotated[Path, typer.Argument(metavar="FILE.duckdb", help="The file to write.")],
    lake: LakeOption,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a DuckDB file with all tables and views, which any DuckDB client opens without the lake.

    Example: gliolake catalog lake.duckdb --lake lake
    """
    from gliolake.sql.catalog import write_catalog

    rows = write_catalog(open_lake(lake), file, overwrite=overwrite)
    if as_json:
        print_json({"file": str(file), "rows": rows})
    else:
        print(f"{file}: {len(rows)} tables and views, {file.stat().st_size / 1e6:.1f} MB. Open it with: duckdb {file}")
