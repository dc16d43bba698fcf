"""`gliolake demo`: runs the real commands on two synthetic cohorts, once with a signal and once without.

Every step is the command that a user would type, run as a process of its own. The demo promises three things and ends
with an error if one does not hold: the splits are those that the cohorts were made to have, the SNN finds the planted
signal, and it finds nothing where nothing was planted.
"""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from gliolake.cli.output import rendered
from gliolake.errors import GliolakeError
from gliolake.ingest.scans.images import SYNTHETIC
from gliolake.ingest.synthetic.cohort import SyntheticCohorts, write_cohorts
from gliolake.ingest.synthetic.files import is_of_cohorts
from gliolake.modeling.report import Line, Report
from gliolake.storage.lake import Lake
from gliolake.storage.layout import kind
from gliolake.target import Own, check_target

MARKER = "DEMO.txt"
MARKER_TEXT = "Made by `gliolake demo`, which clears this folder when asked by --overwrite. All scans are SYNTHETIC.\n"
COHORTS, LAKES = ("cohorts", "control-cohorts"), ("lake", "control-lake")
PARTS = (*COHORTS, *LAKES)

LEAST_AUC = 0.8
"""Internal AUC that the SNN must reach on the planted signal."""

SPLITS = ("training_scans", "training", "overlap", "external", "external_strict", "label_conflicts", "leaks_avoided")


class StepFailed(GliolakeError):
    """A command of the demo ended with an error, which it has printed itself."""


@dataclass(frozen=True)
class Size:
    """How much is made and trained, and how plain the signal is.

    The small one is for tests, which are after the whole way and not its length; fewer patients need a plainer signal.
    """

    patients: int = 96
    external: int = 40
    signal: float = 1.0
    training: tuple[str, ...] = ()


FULL, QUICK = Size(), Size(patients=64, external=12, signal=2.0, training=("--repeats", "2"))


def demo(folder: str | Path, *, seed: int = 0, quick: bool = False, overwrite: bool = False) -> int:
    """Run the demo in ``folder``.

    Args:
        folder: New or empty.
        seed: Of the synthetic cohorts and the training.
        quick: Fewer patients and a shorter training.
        overwrite: The folder may be that of an earlier demo, which is cleared.

    Returns:
        The exit code: 0 if the promises hold, 1 if one does not.

    Raises:
        InputError: the folder holds something else.
        StepFailed: a command failed.
    """
    began = time.monotonic()
    root = _prepare(Path(folder), overwrite)
    return Demo(root, seed, QUICK if quick else FULL).run(began)


class Demo:
    """The steps, and what they print."""

    def __init__(self, root: Path, seed: int, size: Size) -> None:
        from gliolake.cli.console import output

        self.root, self.seed, self.size = root, seed, size
        self.console = output(width=120)

    def run(self, began: float) -> int:
        """All steps, then the verdict."""
        self.console.print("gliolake demo: every scan, label and result below is SYNTHETIC.", style="bold yellow")
        with self.step("writing two synthetic cohorts with an MGMT signal, and one without for the control"):
            cohorts = self.write("cohorts", signal=self.size.signal, external=self.size.external)
            control = self.write("control-cohorts", signal=0.0, external=4)

        lake = self.root / "lake"
        self.ingest(lake, "brats21", cohorts.brats21_images, cohorts.brats21_labels)
        self.ingest(lake, "ucsf_pdgm", cohorts.ucsf_images, cohorts.ucsf_labels)
        self.command("extract", "--lake", lake, "--backbone", "random_conv")
        found = self.splits(lake)
        self.command("sql", "--lake", lake, "from flowchart")
        planted = self.train(lake)

        self.console.rule("The control: the same with the signal switched off")
        empty = self.root / "control-lake"
        self.ingest(empty, "brats21", control.brats21_images, control.brats21_labels)
        # Its labels alone: they tell which training scans are one patient.
        self.command("ingest", "--lake", empty, "--cohort", "ucsf_pdgm", "--labels", control.ucsf_labels)
        self.command("extract", "--lake", empty, "--backbone", "random_conv")
        nothing = self.train(empty)
        held = self.verdict(expected_splits(cohorts), found, planted, nothing)
        self.farewell(lake, planted, time.monotonic() - began)
        return 0 if held else 1

    def write(self, name: str, *, signal: float, external: int) -> SyntheticCohorts:
        """Cohorts in the folder of this name."""
        workers = len(os.sched_getaffinity(0))
        return write_cohorts(
            self.root / name, patients=self.size.patients, external=external, signal=signal, seed=self.seed,
            workers=workers, progress=True,
        )  # fmt: skip

    def ingest(self, lake: Path, cohort: str, images: Path, labels: Path) -> None:
        """`gliolake ingest` of a cohort's images and labels."""
        self.command("ingest", "--lake", lake, "--cohort", cohort, "--images", images, "--labels", labels)

    def splits(self, lake: Path) -> dict[str, int]:
        """`gliolake sql` for the number of rows of every split."""
        query = " union all ".join(f"select '{view}' as split, count(*) as rows from {view}" for view in SPLITS)  # noqa: S608
        answer = self.command("sql", "--lake", lake, query, "--format", "csv", show=True)
        return {row["split"]: int(row["rows"]) for row in rows_of(answer)}

    def train(self, lake: Path) -> Report:
        """`gliolake train` of an SNN on the lake's one feature set."""
        query = "select feature_set from feature_sets"
        (row,) = rows_of(self.command("sql", "--lake", lake, query, "--format", "csv", show=True))
        options = ["--feature-set", row["feature_set"], "--model", "snn", "--seed", str(self.seed), *self.size.training]
        told: dict[str, Any] = json.loads(self.command("train", "--lake", lake, *options, "--json", show=False))
        report = Report(**{**told, "lines": tuple(Line(**line) for line in told["lines"])})
        self.console.print(rendered(report))
        return report

    def command(self, *arguments: str | Path, show: bool | None = None) -> str:
        """Run gliolake, its progress on our standard error.

        Args:
            arguments: What a user types after ``gliolake``.
            show: None lets the output through; else it is returned, and shown as well if true.

        Raises:
            StepFailed: it ended with an error.
        """
        typed = [str(argument) for argument in arguments]
        with self.step("gliolake " + " ".join(map(quoted, typed))):
            sys.stdout.flush()
            # Without -P, a folder named lake where the user stands would be taken for our package of that name.
            code, said = _run(
                [sys.executable, "-P", "-m", "gliolake", *typed], None if show is None else subprocess.PIPE
            )
            if code:
                raise StepFailed(
                    f"`gliolake {typed[0]}` ended with exit code {code}.",
                    hint="What it printed above says why. The folder is left as it is.",
                )
            if show:
                self.console.print(said.rstrip(), highlight=False)
            return said

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Announce a step, and say afterwards how long it took."""
        title = f"\n$ {what}" if what.startswith("gliolake") else f"\n{what}"
        self.console.print(title, style="bold", highlight=False, soft_wrap=True)
        started = time.monotonic()
        yield
        self.console.print(f"({time.monotonic() - started:.1f} s)", style="dim", highlight=False)

    def verdict(self, expected: dict[str, int], found: dict[str, int], planted: Report, nothing: Report) -> bool:
        """Print what came out beside what was promised, and say whether all of it holds."""
        internal, external, control = line(planted, "internal"), line(planted, "external"), line(nothing, "internal")
        promises = [
            ("splits are as made", found == expected, f"{sum(found.values())} rows in {len(found)} views"),
            (f"planted signal found: internal AUC at least {LEAST_AUC}", finds(internal), shown(internal)),
            ("and on external patients (no promise)", True, shown(external)),
            ("no signal, none found: 0.5 in the interval", finds_nothing(control), shown(control)),
        ]
        self.console.rule(f"SYNTHETIC scans, {planted.weights} weights: nothing here is about real patients")
        for promise, held, figure in promises:
            mark = ("yes", "green") if held else ("NO ", "bold red")
            self.console.print(Text.assemble(mark, f"  {promise}: {figure}"), highlight=False)
        for view in SPLITS:
            if found.get(view) != expected[view]:
                self.console.print(f"     {view} has {found.get(view)} rows, made were {expected[view]}", style="red")
        return all(held for _, held, _ in promises)

    def farewell(self, lake: Path, planted: Report, seconds: float) -> None:
        """Where the tables are, and two questions to ask them."""
        where = quoted(str(lake))
        wrong = (
            "select scan_id, methylated, round(avg(probability), 2) as p from predictions "  # noqa: S608 - our own text
            f"where experiment = '{planted.experiment}' group by all order by abs(p - methylated::int) desc limit 5"
        )
        why = "select scan_id, training_scan_id, path from leaks_avoided"
        self.console.print(f"\nThe tables are Parquet files below {lake}. Two questions to try:", highlight=False)
        for query in (wrong, why):
            self.console.print(f"  gliolake sql --lake {where} {quoted(query)}", soft_wrap=True, highlight=False)
        self.console.print(f"\n{seconds:.0f} s in all.", highlight=False)


def _run(command: list[str], stdout: int | None) -> tuple[int, str]:
    """Run a command to its end: exit code and standard output. If we are stopped, so is it, and it may clean up."""
    with subprocess.Popen(command, stdout=stdout, encoding="utf-8") as process:
        try:
            said, _ = process.communicate()
        except BaseException:
            process.terminate()
            raise
        return process.returncode, said or ""


def expected_splits(cohorts: SyntheticCohorts) -> dict[str, int]:
    """Rows that each view must have, from what the cohorts were made to be."""
    truth = cohorts.truth
    counted = {view: len(truth[view]) for view in SPLITS if view in truth}
    return counted | {"training": truth["training_patients"], "leaks_avoided": len(truth["kept_out_by_follow_up"])}


def rows_of(answer: str) -> list[dict[str, str]]:
    """The rows of an answer in CSV."""
    return list(csv.DictReader(answer.splitlines()))


def quoted(argument: str) -> str:
    """An argument as one would type it in a shell: SQL's own quotes are kept readable."""
    plain = not set(argument) & set('"$`\\!')
    return f'"{argument}"' if "'" in argument and plain else shlex.quote(argument)


def line(report: Report, split: str) -> Line | None:
    """The report's AUC on a split."""
    return next((entry for entry in report.lines if (entry.split, entry.metric) == (split, "auc")), None)


def finds(auc: Line | None) -> bool:
    """Whether an AUC is as high as promised."""
    return auc is not None and auc.mean is not None and auc.mean >= LEAST_AUC


def finds_nothing(auc: Line | None) -> bool:
    """Whether 0.5 lies within an AUC's interval."""
    return auc is not None and auc.ci_low is not None and auc.ci_high is not None and auc.ci_low <= 0.5 <= auc.ci_high


def shown(auc: Line | None) -> str:
    """An AUC and its interval."""
    if auc is None or auc.mean is None:
        return "there is none"
    interval = "" if auc.ci_low is None else f" (95 % interval {auc.ci_low:.2f} to {auc.ci_high:.2f})"
    return f"AUC {auc.mean:.2f}{interval}"


def _prepare(root: Path, overwrite: bool) -> Path:
    """A folder with nothing in it but the marker."""
    root = check_target(root, overwrite=overwrite, own=DEMO, folder=True, new_parent=True)
    root.mkdir(parents=True, exist_ok=True)
    (root / MARKER).write_text(MARKER_TEXT, encoding="utf-8")
    for part in PARTS:
        if (root / part).is_dir():
            shutil.rmtree(root / part)
    return root


def _is_ours(root: Path) -> bool:
    """Whether the folder holds what a demo made, and nothing else: no other file, link, or scan of a real person."""
    lakes = [Lake(root / part) for part in LAKES if (root / part / "_log").is_dir()]
    return (
        {path.name for path in root.iterdir()} <= {MARKER, *PARTS}
        and not any(path.is_symlink() for path in root.iterdir())
        and (root / MARKER).read_text("utf-8") == MARKER_TEXT
        and all(is_of_cohorts(root / part, name) for part in COHORTS for name in _names(root / part))
        and all(kind(name) not in ("foreign", "quarantined") for part in LAKES for name in _names(root / part))
        and all(SYNTHETIC in row["warnings"] for lake in lakes for row in lake.read("scans").to_pylist())
    )


def _names(folder: Path) -> Iterator[str]:
    """What lies below a folder and is none itself, or is a link."""
    return (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())


DEMO = Own(kind="the folder of a demo", recognises=_is_ours)
