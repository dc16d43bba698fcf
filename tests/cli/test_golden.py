"""Every command prints, as a table and as JSON, what lies in tests/cli/golden to the letter.

``GLIOLAKE_GOLDEN=write`` writes the files anew; `git diff` then shows what a change does to what users see. Ids, times,
sizes, figures that a machine computes in its own way and the folder's name are replaced by placeholders of their width.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import typer

from gliolake.cli.app import app, main
from gliolake.ingest.synthetic.cohort import write_cohorts
from gliolake.storage.lake import Lake
from tests.support.standing import standing_cluster
from tests.support.tfrecords import TfRecords

GOLDEN = Path(__file__).parent / "golden"

STUDY = """
study = "small"
[defaults]
features = "ours"
model = "logistic"
repeats = 1
folds = 2
[features]
ours = "random_conv"
[[quoted]]
name = "theirs"
table = "table_1"
published = { auc = 0.6 }
[[experiment]]
name = "ours"
table = "table_1"
published = { auc = 0.666 }
[[experiment]]
name = "t1"
table = "table_1"
modalities = ["T1"]
"""

SCHEDULE = """
[[cohort]]
cohort = "ucsf_pdgm"
labels = "cohorts/ucsf_pdgm/UCSF-PDGM-metadata_v5.csv"
images = "absent"
[[cohort]]
cohort = "brats21"
labels = "cohorts/brats21/train_labels.csv"
"""

AT = "--scheduler SCHEDULER"
COMMANDS = {
    "version": "--version",
    "weights_list": "weights list",
    "weights_list_json": "weights list --json",
    "weights_verify": "weights verify",
    "weights_verify_json": "weights verify --json",
    "ingest_features": "ingest-features train.tfrecords --lake released",
    "ingest_features_json": "ingest-features train.tfrecords --lake released --json",
    "compact": "compact --lake released",
    "compact_json": "compact --json --lake released",
    "verify": "verify --lake released",
    "verify_json": "verify --json --lake released",
    "verify_damage": "verify --lake released",  # of what the test puts there before
    "verify_repair_json": "verify --repair --grace -1 --json --lake released",
    "purge": "purge --lake released",
    "purge_json": "purge --json --lake released",
    "ingest_brats": "ingest --cohort brats21 --images cohorts/brats21/images "
    f"--labels cohorts/brats21/train_labels.csv {AT}",
    "ingest_ucsf": "ingest --cohort ucsf_pdgm --images cohorts/ucsf_pdgm/images "
    f"--labels cohorts/ucsf_pdgm/UCSF-PDGM-metadata_v5.csv --json {AT}",
    "ingest_again": "ingest --cohort brats21 --labels cohorts/brats21/train_labels.csv",
    "ingest_schedule": f"ingest --config schedule.toml {AT}",
    "ingest_schedule_json": f"ingest --config schedule.toml --json {AT}",
    "ingest_list": "ingest-list listed.csv",
    "ingest_list_json": "ingest-list listed.csv --name again --json",
    "preprocess": f"preprocess {AT}",
    "preprocess_json": f"preprocess --json {AT}",
    "extract": f"extract --cohort brats21 --crop-size 36 --slices 36 {AT}",
    "extract_json": f"extract --crop-size 36 --slices 36 --json {AT}",
    "extract_feature": f"extract --delta feature --crop-size 36 --slices 36 {AT}",
    "train": "train --feature-set FIRST_SET --model logistic --repeats 1 --folds 2",
    "train_json": "train --feature-set FIRST_SET --model logistic --repeats 1 --folds 2 --json",
    "search": "search --feature-set FIRST_SET --candidate logistic --repeats 1 --folds 2 --inner-folds 2",
    "search_json": "search --feature-set FIRST_SET --candidate logistic --repeats 1 --folds 2 --inner-folds 2 --json",
    "study_run": f"study run study.toml --features ours=FIRST_SET {AT}",
    "study_run_json": f"study run study.toml --features ours=FIRST_SET --json {AT}",
    "study_show": "study show",
    "study_show_json": "study show --json",
    "study_show_table": "study show table_1",
    "ccc": "ccc",
    "ccc_json": "ccc --json",
    "ccc_test_retest": "ccc FIRST_SET --test-retest",
    "ccc_published": "ccc --published table_s4.csv",
    "ccc_published_json": "ccc --published table_s4.csv --json",
    "suspects": "suspects --feature-set FIRST_SET",
    "suspects_json": "suspects --feature-set FIRST_SET --json",
    "map": "map --feature-set FIRST_SET",
    "map_json": "map --json",
    "model_export": "model export EXPERIMENT --output model",
    "model_export_json": "model export EXPERIMENT --output model --overwrite --json",
    "model_show": "model show model",
    "model_show_json": "model show model --json",
    "predict": "predict case --model model --output answer",
    "predict_json": "predict case --model model --output answer --overwrite --json",
    "sql": "sql 'FROM flowchart ORDER BY ALL'",
    "sql_csv": "sql 'FROM flowchart ORDER BY ALL' --format csv",
    "sql_json": "sql 'FROM flowchart ORDER BY ALL' --format json",
    "sql_examples": "sql --examples",
    "preview": "preview CASE",
    "figure": "figure flowchart forest",
    "figure_json": "figure flowchart forest --json --overwrite",
    "report": "report",
    "report_json": "report --json --overwrite",
    "status": "status",
    "status_json": "status --json",
    "tables": "tables",
    "tables_json": "tables --json",
    "dictionary": "dictionary",
    "dictionary_json": "dictionary --json",
    "dictionary_of": "dictionary training",
    "dictionary_of_json": "dictionary training --json",
    "export": "export training --format csv",
    "export_json": "export training --format tsv --json",
    "export_bids": "export --bids bids",
    "export_bids_json": "export --bids bids --overwrite --json",
    "catalog": "catalog lake.duckdb",
    "catalog_json": "catalog lake.duckdb --overwrite --json",
    "audit": "audit --phi",
    "audit_json": "audit --phi --json",
}
READING = re.compile("audit|catalog|dictionary|export|figure|predict|preview|report|sql|status|tables")
"""Commands that leave the lake as it was: none that comes later needs them."""

PLACEHOLDERS = {
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(\+00:00|Z)?": "<time>",
    r"(?<![\w.])(\d+ min )?[\d,]+(\.\d+)? (s|seconds)\b": "<seconds>",
    r"[\d,]+(\.\d+)? (bytes|kB|MB|GB)\b": "<size>",
    r'"((\w+_)?bytes|seconds|minutes)": [\d.]+': r'"\1": "<number>"',
    # A slow machine's extraction commits more often, and so has more files.
    r"(?<=[Cc]ommit )\d+|[\d,]+(?= files\b)": "<number>",
    r'"(commit|version|files|data_files)": \d+': r'"\1": <number>',
    r"\b[\d.]+ scans/s": "<speed> scans/s",
    r"(?<=<size> of )[\d,]+(?=, )": "<size>",
    r"\d+\.\d{4,}(e[-+]\d+)?|\d+(\.\d+)?e[-+]\d+": "<figure>",
}
"""What differs from run to run, and what is put in its place."""

SAME_WIDTH = {
    r"(?<![0-9A-Za-z])(?=[a-f]*[0-9])[0-9a-f]{8,64}(?![0-9A-Za-z])": lambda found: "#" * len(found[0]),
    r"(?<=\d\.)\d{1,3}(?!\d)": lambda found: "#" * len(found[0]),
    r"\b20\d{6}T\d{6}(?=-)": lambda found: "#" * len(found[0]),
    r"(?<=#)\+(?=\))": lambda _: "",  # code that is not committed
    r"(?<=/gliolake-)\w{8}": lambda found: "#" * 8,
}


def masked(text: str) -> str:
    """The text with placeholders."""
    figures = {r"\b\d+\.\d+(e[-+]\d+)?": "<figure>"} if '{"' in text else {}
    for pattern, mark in (PLACEHOLDERS | figures | SAME_WIDTH).items():
        text = re.sub(pattern, mark, text)
    text = re.sub(r"(\{[^{}]*\})(, \1)+", r"\1, …", text)  # as many as the machine's pace made
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def run(words: list[str]) -> str:
    """What a command of these words prints on standard output, behind its exit code."""
    out, code = io.TextIOWrapper(io.BytesIO(), "utf-8"), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(io.StringIO()):
        patch.setattr(sys, "argv", ["gliolake", *words])
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    out.flush()
    return masked(f"exit code {code}\n{out.buffer.getvalue().decode()}")


@pytest.fixture(scope="module")
def answers(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """What the chosen commands print, run one after the other on one lake, those that they need among them."""
    chosen = {item.callspec.params["name"] for item in request.session.items if COMMAND in item.nodeid}
    last = max(place for place, name in enumerate(COMMANDS) if name in chosen)
    folder = Path(tempfile.mkdtemp(prefix="gliolake-", dir="/tmp"))
    with pytest.MonkeyPatch.context() as patch, standing_cluster() as client:
        patch.chdir(folder)
        patch.setenv("PYTHONSAFEPATH", "")  # for it to be put back
        patch.delenv("PYTHONSAFEPATH")
        for name in ("COLUMNS", "GLIOLAKE_LOG", "GLIOLAKE_CONFIG", "TMPDIR"):
            patch.delenv(name, raising=False)
        patch.setattr(sys, "path", sys.path[:])
        patch.setenv("GLIOLAKE_LAKE", "lake")
        patch.setenv("GLIOLAKE_WEIGHTS", str(folder / "weights"))
        truth = write_cohorts(folder / "cohorts", patients=12, external=4, seed=1).truth
        case = truth["scans"]["brats21"][0]
        shutil.copytree(folder / "cohorts" / "brats21" / "images" / case, folder / "case")
        Path("study.toml").write_text(STUDY)
        Path("schedule.toml").write_text(SCHEDULE)
        Path("listed.csv").write_text("ID\n" + "".join(f"{name}\n" for name in truth["scans"]["ucsf_pdgm"]) + "none\n")
        pairs = ("vivit_slowfast", "vivit_ircsn", "vivit_i3d", "slowfast_ircsn", "slowfast_i3d", "i3d_ircsn")
        table = [["feature", *pairs], *([str(number), *["0.25"] * 6] for number in range(1, 401))]
        Path("table_s4.csv").write_text("".join(f"{','.join(row)}\n" for row in table))
        records = TfRecords()
        records.file(Path("train.tfrecords"), records.vectors(0, 1), records.vectors(1, 0))
        names = {"SCHEDULER": client.scheduler.address, "CASE": case}
        told = {}
        for name, typed in list(COMMANDS.items())[: last + 1]:
            if name not in chosen and READING.match(typed):
                continue
            if name == "verify_damage":
                victim = next(Path("released/labels").rglob("*.parquet"))
                victim.write_bytes(victim.read_bytes()[:-50])
                victim.with_name(f"{'0' * 32}.parquet").write_bytes(b"of a command that was killed")
            words = [names.get(word, word) for word in shlex.split(typed)]
            told[name] = run(words)
            if name == "extract":
                names["FIRST_SET"] = first("SELECT min(feature_set) FROM feature_sets")
            if name == "train":
                names["EXPERIMENT"] = first("SELECT min(experiment) FROM experiments")
        yield told
    shutil.rmtree(folder)


def first(statement: str) -> str:
    """The one cell of an answer."""
    from gliolake.sql.query import query

    return str(query(Lake("lake"), statement).to_pylist()[0].popitem()[1])


def helps(command: Any, name: str = "gliolake") -> Iterator[tuple[str, list[str]]]:
    """Every command and group, by what is typed before --help."""
    words = name.split()[1:]
    yield "_".join(["help", *words]).replace("-", "_"), [*words, "--help"]
    for below, one in getattr(command, "commands", {}).items():
        yield from helps(one, f"{name} {below}")


HELPS = dict(helps(typer.main.get_command(app)))


COMMAND = "test_a_command_prints_what_it_did["


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_prints_what_it_did(answers: dict[str, str], name: str) -> None:
    compare(name, answers[name])


@pytest.mark.parametrize("name", HELPS)
def test_the_help_of_a_command_is_what_it_was(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("GLIOLAKE_LAKE", raising=False)
    compare(name, run(HELPS[name]))


def test_no_golden_text_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == {*COMMANDS, *HELPS}


def compare(name: str, text: str) -> None:
    """With the file of this name, or into it."""
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("GLIOLAKE_GOLDEN") == "write":
        file.write_text(text, "utf-8")
    assert text == file.read_text("utf-8")
