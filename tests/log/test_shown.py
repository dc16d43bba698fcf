"""What strangers' text does to a terminal: nothing. It is seen, as it is."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import dask
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gliolake.cli.console import Terminal
from gliolake.log.journal import dask_setup, settings_of_workers
from gliolake.log.plain_text import Guarded, shown, shown_within
from gliolake.storage.lake import Lake

ROOT = Path(__file__).parents[2]

HOSTILE = (
    "\x1b]52;c;aGk=\x07", "\x1b]8;;http://a.b\x1b\\here\x1b]8;;\x1b\\", "\x1b[8m", "\x9b2J", "\x9d0;title\x9c",
    "over\rwritten", "\b\b\b",
    "\x7f", "\x00", "\u202egpj.exe", "\u2066\u2069", "\u200b", "\ufeff", "\u2028", "\u2029", "\x85", "\udce9",
    "\U000e0041", "\u3164", "\ufe0f", "\xad", "\ue000",
    "[red]text[/red]", "[link=http://a.b]here[/link]", ":warning:", "[/]",
)  # fmt: skip
"""Text that would steer, hide, turn around, or be taken for markup."""

steering = st.text(
    st.one_of(st.characters(), st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp"]), st.sampled_from("[]/:=m;\\"))
)


def harmless(printed: str, also: str = "\n") -> bool:
    """Whether a terminal shows every character, and is steered by none."""
    return all(c in also or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for c in printed)


@given(steering)
@example("".join(HOSTILE))
def test_text_is_seen_whole_and_steers_nothing(text: str) -> None:
    found = shown(text)
    assert harmless(found, also="")
    assert shown(found) == found
    assert harmless(text, also="") <= (found == text or "\\" in found)
    assert shown(text, lines=True).split("\n") == [shown(line) for line in text.split("\n")]
    for character in text:
        assert character in found or f"{ord(character):x}" in found


@pytest.mark.parametrize(
    "text", ["BraTS2021_00000", "Zürich", "脳腫瘍 01", "a\\x1b", "12 %", "Łódź – μ", "[a] :b:", "مريض"]
)
def test_names_of_all_languages_stay_as_they_are(text: str) -> None:
    assert shown(text) == text


@settings(deadline=None)
@given(st.lists(steering, min_size=1, max_size=4))
@example(list(HOSTILE))
def test_a_console_shows_what_it_is_given_and_is_not_steered_by_it(texts: list[str]) -> None:
    printed = io.StringIO()
    console = Terminal(file=printed, force_terminal=True, color_system=None, width=400)  # it styles nothing itself
    table = Table(*map(str, range(len(texts))), title=texts[0])
    table.add_row(*texts)
    for each in (*texts, *map(Text, texts), table, Panel(texts[0])):
        console.print(each, highlight=False)
    assert harmless(printed.getvalue())


def test_markup_in_a_name_is_a_part_of_the_name() -> None:
    printed = io.StringIO()
    Terminal(file=printed, force_terminal=True, width=400).print("[link=http://a.b]x[/link] [bold]y :warning:")
    assert "[link=http://a.b]x[/link] [bold]y :warning:" in re.sub(r"\x1b\[[\d;]*m", "", printed.getvalue())
    assert "\x1b]8" not in printed.getvalue()


@dataclass(frozen=True)
class Report:
    """A report with texts in all places."""

    names: tuple[str, ...]
    rows: list[dict[str, str]]
    count: int = 3


def test_a_report_keeps_its_form_and_shows_its_texts() -> None:
    report = Report(("a\x1b", "b\nforged line"), [{"k\r": "\u202e"}])
    assert shown_within(report) == Report(("a\\x1b", "b\\x0aforged line"), [{"k\\x0d": "\\u202e"}])
    assert report.names[0] == "a\x1b"


def test_whatever_else_is_printed_is_seen_too() -> None:
    stream = io.StringIO()
    print("Traceback:\n\tname", *HOSTILE, file=Guarded(stream))
    assert harmless(stream.getvalue(), also="\n\t")
    assert "\\x1b]52;c;aGk=\\x07" in stream.getvalue()


def test_the_traceback_of_a_fault_is_seen_too() -> None:
    code = "from gliolake.log.plain_text import guarded\n"
    code += "with guarded(): raise RuntimeError('\\x1b]52;c;aGk=\\x07 \\u202e')"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert ended.stderr.endswith("RuntimeError: \\x1b]52;c;aGk=\\x07 \\u202e\n")
    assert harmless(ended.stderr)


def test_what_worker_processes_print_is_seen_too(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    with dask.config.set(settings_of_workers()):
        assert "gliolake.log.journal" in dask.config.get("distributed.worker.preload")
        dask_setup(SimpleNamespace(address="tls://host:1"))  # type: ignore[arg-type]
        print("\x1b]52;c;aGk=\x07", file=sys.stderr)
        print("\x9b2J")
    assert [stream.getvalue() for stream in streams] == ["\\x9b2J\n", "\\x1b]52;c;aGk=\\x07\n"]


def in_a_terminal(folder: Path, *arguments: str, **environment: str) -> str:
    """What a command prints in a terminal, standard error included; our own bold and colours taken out."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "gliolake", *arguments],
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder,
        env={**os.environ, "COLUMNS": "300", "TERM": "xterm-256color", **environment},
    ):  # fmt: skip
        os.close(theirs)
        printed = b""
        with os.fdopen(ours, "rb", buffering=0) as terminal:
            try:
                while part := terminal.read(1 << 16):
                    printed += part
            except OSError:  # Linux says so that nobody writes any more
                pass
    text = printed.decode("utf-8", "surrogateescape").replace("\r\n", "\n")
    return re.sub(r"\x1b\[(0|([1-3]|[39][0-7])(;([1-3]|[39][0-7]))*)m", "", text)


def test_commands_show_hostile_names_in_a_terminal_and_are_not_steered(tmp_path: Path) -> None:
    name = "s\x1b]52;c;aGk=\x07\x1b[8m\x9b2J\r\u202e[red]"
    seen = "s\\x1b]52;c;aGk=\\x07\\x1b[8m\\x9b2J\\x0d\\u202e[red]"
    folder = tmp_path / "lake\x1b[8m[bold]"
    labels = tmp_path / f"{name}.csv"
    labels.write_text("BraTS21ID,MGMT_value\n00000,1\n00002,0\n")
    missing = tmp_path / f"no{name}"
    for number, (arguments, said) in enumerate([
        (("ingest", "--lake", str(folder), "--cohort", "brats21", "--labels", str(labels)), "labels"),
        (("sql", "--lake", str(folder), f"SELECT '{name}' AS \"{name}\""), seen),
        (("sql", "--lake", str(folder), f"SELECT '{name}' AS a, repeat('x', 400) AS \"{name}\""), seen),
        (("sql", "--lake", str(folder), f"SELECT '{name}'::INTEGER"), seen),
        (("status", "--lake", str(folder)), "lake\\x1b[8m[bold]"),
        (("ingest", "--lake", str(folder), "--cohort", "brats21", "--labels", str(missing)), f"no{seen}"),
        (("sql", "--lake", str(folder), "SELECT 1", name), seen),
        (("sql", "--lake", str(folder), f"SELECT '{name}' AS \"{name}\"", "--format", "csv"), seen),
        (("sql", "--lake", str(folder), "SELECT 1", "--format", "parquet"), "Parquet is nothing for a terminal"),
    ]):  # fmt: skip
        printed = in_a_terminal(tmp_path, *arguments)
        assert said in printed, (number, printed)
        assert harmless(printed), (number, printed)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_what_an_encoding_lacks_is_written_out(tmp_path: Path, encoding: str) -> None:
    lake = Lake(tmp_path / "läke 脳", create=True)
    row = {"list": "脳", "cohort": "c", "scan_id": "ł", "entries": 1, "source_sha256": "0"}
    lake.transact(lambda tx: tx.append("scan_lists", [row]), run_id="r")
    for arguments in (["sql", "FROM scan_lists"], ["sql", "SELECT 'żółć'::INTEGER"]):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "gliolake", *arguments],
            env={**os.environ, "GLIOLAKE_LAKE": lake.root, "PYTHONIOENCODING": f"{encoding}:strict", "LC_ALL": "C"},
            capture_output=True, check=False,
        )  # fmt: skip
        assert b"Traceback" not in done.stderr
        said = (done.stdout + done.stderr).decode(encoding)
        assert any(text in said for text in ("脳", "\\u8133", "żółć", "\\u017c"))
