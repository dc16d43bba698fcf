"""README.md's commands, typed as a newcomer types them: all of its blocks and of its text, in order.

`bare_machine.sh` runs this in the project's folder, before there is an environment. Scans, labels and
weights that the commands name are made by `readme_files.py` once the environment is there. It ends with a table of exit
codes, seconds and the longest silence, and with 1 if a command ended otherwise than README.md says.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shlex
import subprocess
import sys
import termios
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

README = Path("README.md")
OURS = ("gliolake ", "make ", "import ")
"""Begins what is a command in the text; other words set as code are names and paths."""

SETTINGS = ("export ", ". ")
"""Begins a line that those after it rest on."""

ADDED = {
    "--backbone vivit": ("--cohort clinic", "two of the scans"),
    "--check-precision": ("--scans 2", "for time"),
    "--engine mxnet": ("--cohort clinic --weights untrained:0", "two of the scans, without the published weights"),
}
"""To a command that has the one, the other is added, to end in minutes and without a download; and what it means."""

NOT_TRIED = {"gliolake weights fetch": "downloads from the weights' publisher"}
NOTEBOOK = "docs/notebooks/first_plot.ipynb"
FOUR_COLUMNS = " {:>9} {:>8} {:>8}  {}"


@dataclass(frozen=True)
class Outcome:
    """What became of a command: its exit code (None where it was not tried), and seconds as a whole and of silence.

    promised: the exit code that README.md says it has.
    """

    command: str
    note: str
    code: int | None = None
    seconds: float = 0.0
    silence: float = 0.0
    promised: int = 0

    def __str__(self) -> str:
        told = f"{self.command}   [{self.note}]" if self.note else self.command
        if self.code is None:
            return FOUR_COLUMNS.format("not tried", "", "", told)
        return FOUR_COLUMNS.format(self.code, f"{self.seconds:.1f}", f"{self.silence:.1f}", told)


def commands(text: str) -> list[str]:
    """Every command of a document, in order and once: lines of its blocks, and what it sets as code and can be run."""
    found: list[str] = []
    fenced = False
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced:
            found += [line] if line.strip() else []
        else:
            found += [code for code in re.findall(r"`([^`]+)`", line) if code.startswith(OURS)]
    return list(dict.fromkeys(found))


@dataclass
class Newcomer:
    """Somebody who types one command after the other in the project's folder."""

    before: list[str] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    def type(self, line: str) -> None:
        """Type a line, and keep what becomes of it."""
        command = line.partition(" #")[0].strip()
        untried = [why for start, why in NOT_TRIED.items() if f"{command} ".startswith(f"{start} ")]
        if untried:
            self.outcomes.append(Outcome(command, untried[0]))
            return
        typed, note = self.substituted(command)
        print(f"\n\033[1m$ {line}\033[0m" + (f"\n  typed: {typed}   [{note}]" if note else ""), flush=True)
        if command.startswith("import "):
            typed = "python -c " + shlex.quote(f'{command}; print(con.sql("FROM training").df())')
        ended = self.run(typed)
        promised, why = self.promised(command)
        self.outcomes.append(Outcome(command, ", ".join(filter(None, (note, why))), *ended, promised))
        if command.startswith(SETTINGS) and not self.outcomes[-1].code:
            self.before.append(typed)

    def promised(self, command: str) -> tuple[int, str]:
        """The exit code that README.md says a command has here, and why where it is not 0."""
        if command == "gliolake status --check" and self.ask("status", "--json")["problems"]:
            return 1, "1 is right: manual action is needed"
        if "--precision bf16" in command and "bf16" not in Path("/proc/cpuinfo").read_text(encoding="utf-8"):
            return 2, "2 is right: this processor has no bf16"
        return 0, ""

    def run(self, typed: str) -> tuple[int, float, float]:
        """Run a line in a terminal: its exit code, seconds, and the longest time for which nothing was printed."""
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (40, 130))
        began = heard = time.monotonic()
        silence = 0.0
        shell = subprocess.Popen(
            ["sh", "-c", "\n".join([*self.before, typed])], stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        while shell.poll() is None or select.select([ours], [], [], 0)[0]:
            ready = select.select([ours], [], [], 0.5)[0]
            silence = max(silence, time.monotonic() - heard)
            if ready:
                try:
                    os.write(sys.stdout.fileno(), os.read(ours, 65536))
                except OSError:  # how Linux says that nobody writes there any more
                    break
                heard = time.monotonic()
        os.close(ours)
        return shell.wait(), time.monotonic() - began, silence

    def ask(self, *arguments: str) -> Any:
        """What gliolake answers in JSON."""
        line = "\n".join([*self.before, shlex.join(["gliolake", *arguments])])
        return json.loads(subprocess.run(["sh", "-c", line], stdout=subprocess.PIPE, check=True).stdout)

    def substituted(self, command: str) -> tuple[str, str]:
        """The command with what has another name here, and why; no reason where it is as it was printed."""
        added = [both for part, both in ADDED.items() if part in command]
        if added:
            return " ".join([command, *(more for more, _ in added)]), ", ".join(why for _, why in added)
        if "preview SCAN" in command:
            query = "SELECT min(scan_id) AS scan FROM scans WHERE cohort = 'clinic'"
            return command.replace("SCAN", self.ask("sql", query, "--format", "json")[0]["scan"]), "a scan of this lake"
        if command == "gliolake study run":
            return f"{command} --features ViViT={self.names('random_conv')[0]}", "no vectors of all scans by ViViT"
        printed = re.search(r"\b(\w+)-[0-9a-f]{10}\b", command)
        if printed and printed[0] not in (here := self.names(printed[1])) and here:
            return command.replace(printed[0], here[0]), "its name in this lake, from gliolake status"
        return command, ""

    def names(self, kind: str) -> list[str]:
        """The lake's feature sets by a backbone, or experiments with a model."""
        status = self.ask("status", "--json")
        there = [row[key] for key in ("feature_set", "experiment") for row in status[f"{key}s"]]
        return [name for name in there if name.startswith(f"{kind}-")]

    def verdict(self) -> int:
        """Print the table; 1 if a command ended otherwise than it should."""
        tried = [one for one in self.outcomes if one.code is not None]
        failed = [one for one in tried if one.code != one.promised]
        print("\n" + FOUR_COLUMNS.format("exit code", "seconds", "silence", "command"))
        print(*self.outcomes, sep="\n")
        print(f"\n{len(tried)} commands tried, {len(failed)} failed; {len(self.outcomes) - len(tried)} not tried.")
        return 1 if failed else 0


def main() -> int:
    """Type all of it, then run the notebook."""
    newcomer = Newcomer()
    waiting = True
    for line in commands(README.read_text(encoding="utf-8")):
        if waiting and line.startswith("export "):
            subprocess.run([".venv/bin/python", "-m", "tests.deploy.readme_files"], check=True)
            waiting = False
        newcomer.type(line)
    newcomer.type(f"jupyter execute {NOTEBOOK}")
    return newcomer.verdict()


if __name__ == "__main__":
    sys.exit(main())
