"""Commands that query the lake."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from gliolake.cli.options import JsonOption, LakeOption, OverwriteOption, QueryFormat, open_lake
from gliolake.cli.output import console, print_json, print_report


def _list_examples(wanted: bool) -> None:
    """List the example queries and end, whatever else was given."""
    if wanted:
        from gliolake.sql.questions import questions

        print("\n".join(f"{one.name}: {one.question}" for one in questions().values()))
        raise typer.Exit


def sql(
    lake: LakeOption,
    statement: Annotated[
        str | None, typer.Argument(metavar="SQL", help="One statement; - reads it from standard input.")
    ] = None,
    example: Annotated[str | None, typer.Option(metavar="NAME", help="Ask this example instead.")] = None,
    examples: Annotated[
        bool, typer.Option("--examples", help="Only list the examples.", is_eager=True, callback=_list_examples)
    ] = False,
    form: Annotated[QueryFormat, typer.Option("--format", help="What the answer is written as.")] = "table",
    output: Annotated[Path | None, typer.Option(help="Write to this file instead of printing.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
) -> None:
    """Ask a question in SQL, over all tables and views. Nothing can be written.

    Example: gliolake sql "FROM flowchart" --lake lake --format csv
    """
    from gliolake.atomic import replaced
    from gliolake.cli.output.sql import print_answer
    from gliolake.errors import InputError
    from gliolake.log.journal import logger
    from gliolake.sql import query
    from gliolake.sql.questions import question
    from gliolake.target import check_target

    if (statement is None) == (example is None):
        raise InputError("Give one statement, or --example NAME.", hint="--examples lists the examples.")
    if example is not None:
        asked = question(example).sql
        if form == "table" and output is None:
            logger.info(asked)
    else:
        asked = typed() if statement == "-" else statement or ""
    if output is not None:
        check_target(output, overwrite=overwrite, inputs=[Path("/dev/stdin")] if statement == "-" else [])
    opened = open_lake(lake)
    answer = query.query(opened, asked)
    if output is not None:
        with replaced(output, overwrite=overwrite) as file:
            query.write(answer, "csv" if form == "table" else form, file)
    else:
        print_answer(answer, form)
    if not answer.num_rows and (missing := query.nothing_found(opened, asked)):
        logger.info(missing)


def typed() -> str:
    """The statement that comes on standard input.

    Raises:
        InputError: it is no UTF-8.
    """
    from gliolake.errors import InputError

    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"The statement on standard input is no UTF-8: {error}.", hint="Convert it first.") from None


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
    """Show what the lake holds and lacks: cohorts, splits, feature sets, experiments, the latest runs.

    Example: gliolake status --lake lake
    """
    from gliolake.sql.status import status as run

    found = run(open_lake(lake))
    if prometheus is not None:
        from gliolake.sql.metrics import write_metrics

        write_metrics(found, prometheus)
    print_report(found, as_json)
    raise typer.Exit(1 if check and found.problems else 0)


def tables(as_json: JsonOption = False) -> None:
    """Describe every table, column by column.

    Example: gliolake tables
    """
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
        print_json(described)
        return
    from rich.text import Text

    terminal = console()
    for table in TABLES.values():
        terminal.print(Text.assemble((table.name, "bold"), f": {table.doc} (key: {', '.join(table.key)})"))
        for column in table.columns:
            terminal.print(Text.assemble(f"  {column.name}  ", (column.doc, "dim")), highlight=False)


def dictionary(
    name: Annotated[str | None, typer.Argument(help="A table or view; a list of all if not given.")] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE.md", help="Write all of it as a document.")] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say what tables and views hold, column by column.

    Example: gliolake dictionary training
    """
    from gliolake.errors import check_choice
    from gliolake.sql import dictionary as room

    relations = room.dictionary()
    if output is not None:
        room.write(relations.values(), output, overwrite=overwrite)
    elif name is not None:
        print_report(relations[check_choice("table or view", name, relations)], as_json)
    else:
        print_report(room.Overview(relations), as_json)
