"""Help of the commands: examples that can be typed, closed sets of values, and completion by a shell."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, get_args

import pytest
import typer

from gliolake.cli import options
from gliolake.cli.app import app
from gliolake.features.backbones.registry import ENGINES
from gliolake.features.clips import DELTA_KINDS
from gliolake.features.networks.frames import SAMPLINGS
from gliolake.features.networks.registry import PRECISIONS
from gliolake.features.preview.command import VOLUMES
from gliolake.ingest.cohorts.description import STEPS
from gliolake.modeling.data.inputs import LABEL_COLUMNS
from gliolake.modeling.models.settings import MODELS, Model
from gliolake.sql import query
from gliolake.sql.export import table


def commands(command: Any) -> Iterator[Any]:
    """All commands that do something, made to do nothing."""
    below = getattr(command, "commands", {})
    for each in below.values():
        yield from commands(each)
    if not below:
        command.callback = lambda **_: None
        yield command


def test_the_help_of_every_command_ends_with_an_example_that_can_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLIOLAKE_LAKE", raising=False)
    program = typer.main.get_command(app)
    every = list(commands(program))
    assert len(every) > 30
    for command in every:
        name, *words = shlex.split(command.help.splitlines()[-1].removeprefix("Example: "))
        assert (name, command.name in words[:2]) == ("gliolake", True), command.name
        for typed, code in ((words, 0), ([*words, "--no-such-option"], 2)):
            with pytest.raises(SystemExit) as ended:
                program.main(typed, "gliolake")
            assert ended.value.code == code, typed


@pytest.mark.parametrize(
    ("offered", "taken"),
    [
        (options.Delta, DELTA_KINDS),
        (options.Engine, ENGINES),
        (options.ExportFormat, table.FORMATS),
        (options.LabelRule, LABEL_COLUMNS),
        (Model, MODELS),
        (options.Precision, PRECISIONS),
        (options.QueryFormat, query.FORMATS),
        (options.Sampling, SAMPLINGS),
        (options.Stage, VOLUMES),
    ],
)
def test_an_option_offers_the_values_that_its_command_takes(offered: Any, taken: Any) -> None:
    assert set(get_args(offered)) == set(taken)


def test_every_step_that_is_done_unasked_can_be_skipped() -> None:
    assert [*options.Step] == [step for step in STEPS if step != "coregister"]


def test_a_shell_completes_values_and_commands() -> None:
    def completed(*words: str) -> list[str]:
        environment = {
            **os.environ,
            "_GLIOLAKE_COMPLETE": "complete_bash",
            "COMP_WORDS": " ".join(("gliolake", *words)),
            "COMP_CWORD": str(len(words)),
        }
        command = [sys.executable, "-m", "gliolake"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()

    assert completed("extract", "--sampling", "") == ["uniform", "tumour", "released"]
    assert completed("weights", "") == ["list", "verify", "add", "fetch"]


def test_the_short_option_asks_for_help_everywhere() -> None:
    for words in ([], ["extract"], ["weights", "add"]):
        with pytest.raises(SystemExit) as ended:
            typer.main.get_command(app).main([*words, "-h"], "gliolake")
        assert ended.value.code == 0
