"""What README.md prints can be typed: commands, options and arguments are there. `bare_machine.sh` types all of it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from gliolake.cli.app import app
from tests.deploy.readme_commands import commands

PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize("file", ["README.md", "deploy/README.md"])
def test_every_command_is_one_that_gliolake_understands(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIOLAKE_LAKE", "/data/lake")
    typed = [
        words[1:]
        for line in commands((PROJECT / file).read_text("utf-8"))
        for words in map(shlex.split, line.partition(" #")[0].split(" && "))
        if words[:1] == ["gliolake"]
    ]
    assert len(typed) > 3
    program = idle(typer.main.get_command(app))
    for words in typed:
        for given, code in ((words, 0), ([*words, "--no-such-option"], 2)):
            with pytest.raises(SystemExit) as ended:
                program.main(given, "gliolake")
            assert ended.value.code == code, given


def idle(command: Any) -> Any:
    """The command, and those below it, that parses what it is given and then does nothing."""
    for below in getattr(command, "commands", {}).values():
        idle(below).callback = lambda **_: None
    return command


def test_every_test_that_the_page_on_security_names_is_there() -> None:
    page = (PROJECT / "docs/security.md").read_text("utf-8")
    named = set(re.findall(r"`(?:tests/[\w/]*?)?(test_\w+\.py)`", page))
    there = {path.name for path in (PROJECT / "tests").rglob("test_*.py")}
    assert len(named) > 30
    assert named <= there
