"""Commands that verify, repair and compact the lake."""

from __future__ import annotations

from typing import Annotated

import typer

from gliolake.cli.options import JsonOption, LakeOption, open_lake
from gliolake.cli.output import print_json, print_report


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
    """Check every committed file against the log; find lost, altered and leftover files. Exit code 1 if any.

    Example: gliolake verify --lake lake --repair
    """
    from gliolake.ingest.pipeline import commit_links
    from gliolake.maintenance.verify import verify as run

    report = run(lake, repair=repair, grace=grace, made_anew={"links": commit_links})
    print_report(report, as_json)
    raise typer.Exit(0 if report.sound else 1)


def purge(lake: LakeOption, as_json: JsonOption = False) -> None:
    """Remove for good what repairs moved into _quarantine more than a day ago. Only this command ever deletes files.

    Example: gliolake purge --lake lake
    """
    from gliolake.maintenance.purge import purge as run

    print_report(run(open_lake(lake)), as_json)


def audit(
    lake: LakeOption,
    phi: Annotated[
        bool, typer.Option("--phi", help="Look for what may identify a patient, or who handled the data.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Look through every text of the lake and the headers of its volumes. Exit code 1 if anything is found.

    Example: gliolake audit --phi --lake lake
    """
    from gliolake.errors import InputError
    from gliolake.sql.audit import audit as run

    if not phi:
        raise InputError("Nothing says what to look for.", hint="Give --phi.")
    report = run(open_lake(lake))
    print_report(report, as_json)
    raise typer.Exit(1 if report.findings else 0)


def compact(lake: LakeOption, as_json: JsonOption = False) -> None:
    """Merge small files, so that queries open fewer.

    Example: gliolake compact --lake lake
    """
    from gliolake.maintenance.compaction import compact as run

    merged = run(open_lake(lake))
    if as_json:
        print_json(merged)
    else:
        print(
            "\n".join(f"{table}: {files} files merged away" for table, files in merged.items()) or "Nothing to merge."
        )
