"""The program `gliolake`: its commands, in the order and under the headings of its help, and how it runs.

Nothing heavy is imported before a command runs, so that ``gliolake --help`` answers at once.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from gliolake.cli import analysis, ending, export, features, ingest, maintain, modeling, query
from gliolake.log.plain_text import guarded, shown, without_passwords


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
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

FILL, COMPUTE, PREDICT, ASK, KEEP, SEE = (
    "Fill the lake", "Compute", "Predict one case", "Ask the lake", "Keep the lake", "See it work",
)  # fmt: skip

COMMANDS: dict[str, tuple[str, Callable[..., None]]] = {
    "ingest": (FILL, ingest.ingest),
    "ingest-features": (FILL, ingest.ingest_features),
    "ingest-list": (FILL, ingest.ingest_list),
    "preprocess": (COMPUTE, features.preprocess),
    "extract": (COMPUTE, features.extract),
    "train": (COMPUTE, modeling.train),
    "ccc": (COMPUTE, analysis.ccc),
    "suspects": (COMPUTE, analysis.suspects),
    "map": (COMPUTE, analysis.map_scans),
    "search": (COMPUTE, modeling.search),
    "predict": (PREDICT, analysis.predict),
    "sql": (ASK, query.sql),
    "preview": (ASK, features.preview),
    "figure": (ASK, analysis.figure),
    "report": (ASK, analysis.report),
    "status": (ASK, query.status),
    "tables": (ASK, query.tables),
    "dictionary": (ASK, query.dictionary),
    "export": (ASK, export.export),
    "catalog": (ASK, export.catalog),
    "verify": (KEEP, maintain.verify),
    "purge": (KEEP, maintain.purge),
    "audit": (KEEP, maintain.audit),
    "compact": (KEEP, maintain.compact),
    "demo": (SEE, analysis.demo),
}
"""The heading and the function of each command."""

GROUPS: dict[str, tuple[str, str, dict[str, Callable[..., None]]]] = {
    "weights": (
        COMPUTE, "Weights of the pretrained networks.",
        {"list": features.weights_list, "verify": features.weights_verify, "add": features.weights_add,
         "fetch": features.weights_fetch},
    ),
    "study": (
        COMPUTE, "A published study beside what becomes of it here.",
        {"run": analysis.study_run, "show": analysis.study_show},
    ),
    "model": (
        PREDICT, "Trained models as folders of their own.",
        {"export": modeling.model_export, "show": modeling.model_show},
    ),
}  # fmt: skip
"""The heading, the help and the commands of each group of commands."""

for _name, (_heading, _function) in COMMANDS.items():
    app.command(_name, rich_help_panel=_heading)(_function)
for _name, (_heading, _help, _members) in GROUPS.items():
    _group = typer.Typer(help=_help, no_args_is_help=True, rich_markup_mode="rich")
    for _member, _function in _members.items():
        _group.command(_member)(_function)
    app.add_typer(_group, name=_name, rich_help_panel=_heading)


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


def main() -> None:
    """Run the command line; whatever ends a command is said in words and told by its exit code."""
    from gliolake.process.isolation import leave_current_folder

    leave_current_folder()
    import logging

    from gliolake.log.journal import logger
    from gliolake.process import signals as stopping

    begun = time.monotonic()
    try:
        with guarded():
            code = _run()
    except stopping.Stopped as stopped:  # while it was ending
        code = ending.explained(stopped) or 0
    stopping.command_is_over()
    level = logging.ERROR if code else logging.INFO
    fields = {"exit_code": code, "seconds": round(time.monotonic() - begun, 3)}
    logger.log(level, "command ended", extra={"fields": fields})
    sys.exit(code)


def _run() -> int:
    from gliolake.cli.logs import begin_logging
    from gliolake.paths import check_text

    try:
        begin_logging(_command())
        for argument in (*sys.argv[1:], os.environ.get("GLIOLAKE_LAKE", "")):
            check_text(argument)
        ending.choose_temporary_folder()
        app(prog_name="gliolake")
    except BaseException as error:
        code = ending.explained(error)
        if code is None:
            raise
        return code or ending.flushed()
    return 0


def _command() -> str:
    """The command's name. What stands before and behind it may hold secrets."""
    return next((word for word in sys.argv[1:] if word in COMMANDS or word in GROUPS), "")
