"""Storms: three loops of real commands at once on a lake in a folder and on a lake in S3, killed at random moments.

Afterwards no row is lost that a command had reported, none is there twice, nobody else's file was touched, and the same
commands, run again undisturbed, leave the lake row for row as one that nothing happened to.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import obstore
import obstore.store
import psutil
import pytest

from gliolake.maintenance.log_history import read_history
from gliolake.maintenance.verify import DAMAGE, LOG_DAMAGE, verify
from gliolake.schema.registry import TABLES
from gliolake.storage.lake import Lake
from gliolake.storage.quarantine import DAY
from tests.support.full import FULL
from tests.support.scans import ScanWriter
from tests.support.tfrecords import TfRecords

LOOPS = 3
COMMANDS, KILLS = (300, 125) if FULL else (20, 8)
"""Of each of the two lakes. Stops are not among the kills: a command that was stopped goes on and ends."""

PARTS, SEEDS = (3, 2) if FULL else (1, 1)
ENDS_WITHIN = 300
"""Seconds that a command may need on a busy machine; far from what it does need."""

TOO_MANY = 12
"""Commands that went wrong, after which a storm is given up."""

MARK = "GLIOLAKE_STORM"
UCSF_SUFFIXES = {"FLAIR": "FLAIR", "T1": "T1", "T1wCE": "T1c", "T2": "T2", "mask": "tumor_segmentation"}
STUDY = """study = "storm"
[defaults]
model = "logistic"
features = "ViViT"
label_rule = "brats21"
repeats = 1
folds = 2
seed = 0
[features]
ViViT = ["random_conv"]
[[experiment]]
name = "all"
table = "table_1"
"""

DERIVED = ("runs", "links", "exclusions")
"""Tables that a command may take rows out of, or fills with what only this run knows."""

KEPT = ("labels", "scans", "features", "feature_sets", "experiments", "cv_folds", "predictions", "metrics")
"""Tables that none of these commands ever takes a row out of: no commit has fewer of their rows than the one before."""

Key: TypeAlias = tuple[object, ...]


@dataclass(frozen=True)
class Step:
    """A command that fills the lake; ``after`` are the steps that it builds on, without which it finds too little."""

    name: str
    arguments: tuple[str, ...]
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Undisturbed:
    """A lake that nothing happened to: the steps that made it, and the keys that each of them added."""

    lake: Lake
    inputs: Path
    steps: tuple[Step, ...]
    added: Mapping[str, frozenset[Key]]


@dataclass
class Ended:
    """How a command ended: its exit code, and what it said."""

    code: int
    out: str
    said: str


# ---------------------------------------------------------------------------------------------------------- commands


def begin(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own. It writes into files: an orphan would keep a pipe open."""
    with (folder / "out").open("wb") as out, (folder / "said").open("wb") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "gliolake", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=said,
            env=dict(environment),
            cwd=Path(__file__).parents[2],
            start_new_session=True,
        )


def end(process: subprocess.Popen[bytes], folder: Path) -> Ended:
    """Wait for a command that nothing, or the worst, has happened to."""
    code = process.wait(timeout=ENDS_WITHIN)
    out, said = ((folder / name).read_text("utf-8", "replace") for name in ("out", "said"))
    return Ended(code, out, said)


def undisturbed_command(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    ended = end(begin(arguments, folder, environment), folder)
    assert ended.code == 0, f"{arguments} ended with {ended.code}: {ended.said}"


def environment_of(lake: str, folder: Path) -> dict[str, str]:
    """The variables of all commands on a lake, with a mark by which processes that outlive them are known."""
    (folder / "tmp").mkdir()
    places = {"GLIOLAKE_LAKE": lake, "TMPDIR": str(folder / "tmp"), MARK: uuid.uuid4().hex}
    return os.environ | places


def orphans(environment: Mapping[str, str]) -> list[list[str]]:
    """Command lines of processes that commands on this lake started and that are still there."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == environment[MARK]:
                found.append(process.cmdline())
        except psutil.Error:
            continue
    return found


# ------------------------------------------------------------------------------------------------------------ inputs


def write_inputs(folder: Path) -> tuple[Step, ...]:
    """The files of two cohorts in parts, released vectors and a study; and the commands that bring them in."""
    writer, records, steps = ScanWriter(), TfRecords(), list[Step]()
    per_part = 4
    for part in range(PARTS):
        images, labels = folder / f"brats21-{part}", folder / f"labels-{part}.csv"
        numbers = range(part * per_part, (part + 1) * per_part)
        for number in numbers:
            writer.scan(images, f"BraTS2021_{number:05d}", number)
        labels.write_text("BraTS21ID,MGMT_value\n" + "".join(f"{number:05d},{number % 2}\n" for number in numbers))
        steps += [
            Step(f"labels {part}", ("ingest", "--cohort", "brats21", "--labels", str(labels))),
            Step(f"images {part}", ("ingest", "--cohort", "brats21", "--images", str(images), "--workers", "1")),
        ]
    other = folder / "ucsf"
    for number in (901, 902, 903):
        name = "{scan_id}_nifti/{scan_id}_{suffix}.nii.gz"
        writer.scan(other, f"UCSF-PDGM-0{number}", number, pattern=name, suffixes=UCSF_SUFFIXES)
    calls = folder / "metadata.csv"
    calls.write_text(
        "ID,MGMT status,MGMT index\nUCSF-PDGM-901,positive,9\nUCSF-PDGM-902,negative,0\nUCSF-PDGM-903,positive,4\n"
    )
    steps += [
        Step("other labels", ("ingest", "--cohort", "ucsf_pdgm", "--labels", str(calls))),
        Step("other images", ("ingest", "--cohort", "ucsf_pdgm", "--images", str(other), "--workers", "1")),
        Step(
            "released",
            (
                "ingest-features",
                str(records.file(folder / "train.tfrecords", *map(records.vectors, range(4), (0, 1) * 2))),
            ),
        ),
    ]
    steps = [step for step in steps if FULL or not step.name.startswith("other")]
    filled = tuple(step.name for step in steps)
    cut = ("--crop-size", "40", "--slices", "40", "--workers", "1")
    steps += [Step(f"extract {seed}", ("extract", *cut, "--seed", str(seed)), filled) for seed in range(SEEDS)]
    filled = tuple(step.name for step in steps)
    fit = ("train", "--model", "logistic", "--modality", "T1", "--repeats", "1", "--folds", "2")
    steps += [
        Step(f"train {seed}", (*fit, "--feature-set", "SET 0", "--seed", str(seed)), filled) for seed in range(SEEDS)
    ]
    (folder / "study.toml").write_text(STUDY)
    study = ("study", "run", str(folder / "study.toml"), "--features", "ViViT=SET 0", "--workers", "1")
    steps.append(Step("study", study, filled))
    return tuple(step for step in steps if FULL or step.name.split()[0] not in ("train", "study"))


@pytest.fixture(scope="module")
def heeded() -> Iterator[None]:
    """Ctrl-C is not ignored, as it is by all that a shell starts in the background: commands would inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def undisturbed(heeded: None, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """The lake that the steps make in turn, in peace."""
    folder = tmp_path_factory.mktemp("undisturbed")
    inputs = folder / "inputs"
    inputs.mkdir()
    steps, added, before = list[Step](), dict[str, frozenset[Key]](), frozenset[Key]()
    environment = environment_of(str(folder / "lake"), folder)
    feature_set = ""
    for step in write_inputs(inputs):
        arguments = tuple(argument.replace("SET 0", feature_set) for argument in step.arguments)
        undisturbed_command(arguments, folder, environment)
        now = frozenset(keys(Lake(str(folder / "lake"))))
        added[step.name], before = now - before, now
        steps.append(Step(step.name, arguments, step.after))
        if step.name == "extract 0":
            (feature_set,) = (str(key[1]) for key in added[step.name] if key[0] == "feature_sets")
    assert all(added.values()), added
    return Undisturbed(Lake(str(folder / "lake")), inputs, tuple(steps), added)


# -------------------------------------------------------------------------------------------------------------- rows


def keys(lake: Lake) -> list[Key]:
    """Table and key of every row; of one that is there twice, twice."""
    return [
        (name, *row.values())
        for name, table in TABLES.items()
        if name not in DERIVED
        for row in lake.read(name).select(table.key).to_pylist()
    ]


def rows(lake: Lake) -> Counter[str]:
    """Every row but for which run made it, as text, and how often it is there."""
    return Counter(
        name + json.dumps({c: v for c, v in row.items() if c != "run_id"}, sort_keys=True, default=str)
        for name in TABLES
        if name != "runs"
        for row in lake.read(name).to_pylist()
    )


# ----------------------------------------------------------------------------------------- what is somebody else's

FOREIGN = (
    "README.txt", "labels/notes.txt", "labels/cohort=brats21/part-0.parquet", "labels/cohort=brats21/.DS_Store",
    f"labels/cohort=brats21/{'A' * 32}.parquet", "scans/cohort=brats21/masks/private.key", "features/thesis.docx",
    "_tmp/letters.txt", "_log/backup of 2024.json", "_quarantine/labels/cohort=brats21/mine.parquet",
    "_quarantine/letters/keys.pem", "studies/labels/table.parquet", "empty",
)  # fmt: skip

OUTPUTS = {"mine.html": "<h1>mine</h1>", "mine.prom": "mine 1\n", "notes.txt": "mine", ".gliolake-notes": "mine"}


def plant_outputs(folder: Path) -> None:
    """What somebody keeps where commands write, some of it under names that they are asked to write to."""
    (folder / "dataset").mkdir(parents=True)
    (folder / "dataset" / "dataset_description.json").write_text('{"Name": "mine"}')
    for name, text in OUTPUTS.items():
        (folder / name).write_text(text)


def seen(*folders: Path) -> dict[str, tuple[object, ...]]:
    """Kind, time and content of everything below some folders."""
    found: dict[str, tuple[object, ...]] = {}
    for path in (path for folder in folders for path in [folder, *folder.rglob("*")]):
        state = path.lstat()
        if path.is_symlink():
            found[str(path)] = (state.st_mode, state.st_mtime_ns, path.readlink())
        elif path.is_dir():
            found[str(path)] = (state.st_mode,)
        else:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[str(path)] = (state.st_mode, state.st_mtime_ns, state.st_ino, digest)
    return found


class FolderLake:
    """A lake in a folder, among other people's files."""

    def __init__(self, root: str, beside: Path) -> None:
        self.root, self.mine = Path(root), beside / "of the user"
        (self.mine / "brain scans").mkdir(parents=True)
        (self.mine / "brain scans" / "scan.nii.gz").write_bytes(b"voxels")
        for name in FOREIGN:
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text("" if name == "empty" else f"mine: {name}")
        (self.root / "nothing in it").mkdir()
        (self.root / "labels" / "archive").symlink_to(self.mine)
        (self.root / "scans" / "one scan.parquet").symlink_to(self.mine / "brain scans" / "scan.nii.gz")
        self.paths = [
            self.root / name for name in (*FOREIGN, "nothing in it", "labels/archive", "scans/one scan.parquet")
        ]
        for path in [*self.paths, *self.mine.rglob("*")]:  # so old that no grace keeps them
            os.utime(path, (time.time() - 9 * DAY,) * 2, follow_symlinks=False)

    def foreign(self) -> dict[str, tuple[object, ...]]:
        return {name: state for path in [*self.paths, self.mine] if path.exists() for name, state in _one(path)}

    def two_days_pass(self) -> None:
        """What lies in the quarantine has been there for so long."""
        for path in (self.root / "_quarantine").rglob("*"):
            if path.is_file() and path not in self.paths:
                os.utime(path, (time.time() - 2 * DAY,) * 2)


def _one(path: Path) -> Iterator[tuple[str, tuple[object, ...]]]:
    if path.is_symlink() or path.is_file():
        whole = seen(path.parent)
        yield str(path), whole[str(path)]
    else:
        yield from seen(path).items()


class S3Lake:
    """A lake in a bucket, among other people's objects."""

    def __init__(self, root: str, beside: Path) -> None:
        self.store = obstore.store.from_url(root)
        for name in FOREIGN:
            obstore.put(self.store, name, f"mine: {name}".encode())

    def foreign(self) -> dict[str, tuple[object, ...]]:
        found: dict[str, tuple[object, ...]] = {}
        for name in FOREIGN:
            try:
                answer = obstore.get(self.store, name)
            except FileNotFoundError:
                continue
            found[name] = (answer.meta["last_modified"], answer.bytes().to_bytes())
        return found

    def two_days_pass(self) -> None:
        """An object's time cannot be set."""


# --------------------------------------------------------------------------------------------------------- the storm


def kill(process: subprocess.Popen[bytes], choice: random.Random) -> None:
    process.kill()


def kill_family(process: subprocess.Popen[bytes], choice: random.Random) -> None:
    for member in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
        with suppress(psutil.NoSuchProcess):
            member.kill()


def terminate(process: subprocess.Popen[bytes], choice: random.Random) -> None:
    process.terminate()


def interrupt(process: subprocess.Popen[bytes], choice: random.Random) -> None:
    """As Ctrl-C in a terminal: it reaches all that the command started in its group; sometimes twice."""
    for _ in range(choice.choice((1, 1, 2))):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.01)


def stop(process: subprocess.Popen[bytes], choice: random.Random) -> None:
    os.killpg(process.pid, signal.SIGSTOP)
    time.sleep(choice.uniform(0.1, 2))
    os.killpg(process.pid, signal.SIGCONT)


Harm: TypeAlias = Callable[[subprocess.Popen[bytes], random.Random], None]
HARMS: dict[Harm, str] = {
    kill: "SIGKILL of a command", kill_family: "SIGKILL of a command and its workers",
    terminate: "SIGTERM of a command",
    interrupt: "SIGINT of a command", stop: "SIGSTOP and SIGCONT of a command",
}  # fmt: skip
ENDS: dict[Harm, tuple[int, ...]] = {
    kill: (-signal.SIGKILL,), kill_family: (-signal.SIGKILL,), terminate: (143, -signal.SIGTERM),
    interrupt: (130, -signal.SIGINT), stop: (),
}  # fmt: skip
"""Exit codes of harmed commands, besides those of a command that was at its end."""

UPKEEP = (
    ("compact",), ("verify", "--json"), ("verify", "--repair", "--json"),
    ("verify", "--repair", "--grace", "0", "--json"), ("purge",),
)  # fmt: skip
DOUBLED = "SELECT count(*) - count(DISTINCT (cohort, scan_id, source)) AS doubled FROM labels"
LOOKS = (
    ("status",), ("status", "--json"), ("sql", "--format", "csv", DOUBLED), ("sql", "--format", "json", "FROM scans"),
    ("status", "--prometheus", "OUT/lake.prom"), ("export", "labels", "--output", "OUT/labels.csv", "--overwrite"),
    ("export", "features", "--output", "OUT/features.parquet", "--overwrite"),
    ("sql", "FROM labels", "--output", "OUT/answer.csv", "--overwrite"),
    ("export", "--bids", "OUT/bids", "--overwrite"),
)  # fmt: skip
REFUSED = (
    ("export", "--bids", "OUT/dataset", "--overwrite"), ("status", "--prometheus", "OUT/mine.prom"),
    ("export", "labels", "--output", "LAKE/labels/rows.csv", "--overwrite"),
)  # fmt: skip
"""What would replace somebody else's files, or write among those of a lake."""

REPORT = ("report", "--study", "storm", "--output", "OUT/report.html", "--overwrite")
DEAR = ("train", "study")
"""Steps that are not drawn again once they have ended well: they cost many times what others do."""

CODES = {"verify": (0, 1)}


@dataclass
class Storm:
    """What all loops know: which steps have ended well, how long commands take, and what was done."""

    made: Undisturbed
    folder: Path
    environment: Mapping[str, str]
    moments: random.Random = field(default_factory=lambda: random.Random(17))
    done: set[str] = field(default_factory=set)
    took: dict[str, list[float]] = field(default_factory=lambda: defaultdict(lambda: [2.0]))
    commands: Counter[str] = field(default_factory=Counter)
    harms: Counter[Harm] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def kills(self) -> int:
        return self.harms.total() - self.harms[stop]

    def blow(self) -> None:
        """Run all loops to their end."""
        loops = [threading.Thread(target=self._loop, args=(number,)) for number in range(LOOPS)]
        for loop in loops:
            loop.start()
        for loop in loops:
            loop.join()

    def _loop(self, number: int) -> None:
        folder, choice = self.folder / f"loop {number}", random.Random(number)
        plant_outputs(folder / "out files")
        while len(self.failures) < TOO_MANY and (self.commands.total() < COMMANDS or self.kills < KILLS):
            with self.lock:
                step, arguments = self._drawn(choice, str(folder / "out files"))
                harm = self._harm(choice)
                builds_on_all = step is not None and self.done.issuperset(step.after)
                self.commands[arguments[0]] += 1
            try:
                ended, harmed = self._run(arguments, folder, harm, choice)
            except (AssertionError, subprocess.TimeoutExpired) as failure:
                self.failures.append(f"{arguments}: {failure!r}")
                return
            with self.lock:
                self._judge(arguments, ended, harmed)
                if harmed:
                    self.harms[harmed] += 1
                if step and builds_on_all and ended.code == 0:
                    self.done.add(step.name)
                if self.commands.total() % 25 == 0:
                    print(f"{self.commands.total()} commands, {self.kills} kills, done {sorted(self.done)}", flush=True)

    def _drawn(self, choice: random.Random, out: str) -> tuple[Step | None, tuple[str, ...]]:
        """A step more often than not, those more often that are not done; or something that looks after the lake."""
        progress = self.commands.total() / COMMANDS
        open_steps = [step for step in self.made.steps if self.done.issuperset(step.after)]
        early = [step for step in self.made.steps if step.name.startswith("extract") and "images 0" in self.done]
        due = open_steps[: 2 + round(progress * 1.3 * len(self.made.steps))] + early[: round(progress * SEEDS)]
        undone = [step for step in due if step.name not in self.done]
        if self.done and choice.random() < 0.6:
            root = self.environment["GLIOLAKE_LAKE"]
            others = [*UPKEEP, *UPKEEP, *LOOKS, choice.choice(REFUSED[: 2 if root.startswith("s3:") else None])]
            if "study" in self.done and choice.random() < 0.1:
                others = [REPORT]
            arguments = choice.choice(others)
            return None, tuple(part.replace("OUT", out).replace("LAKE", root) for part in arguments)
        usual = [step for step in due if step.name.split()[0] not in DEAR]
        step = choice.choice(undone if undone and choice.random() < 0.7 else usual)
        return step, step.arguments

    def _harm(self, choice: random.Random) -> Harm | None:
        """Whether and how to harm the next command, so that the kills come out as wanted by the end."""
        if choice.random() < 0.05:
            return stop
        left = max(1, COMMANDS - self.commands.total())
        wanted = (KILLS - self.kills) / left * 1.3
        return choice.choice([harm for harm in HARMS if harm is not stop]) if choice.random() < wanted else None

    def _run(
        self, arguments: tuple[str, ...], folder: Path, harm: Harm | None, choice: random.Random
    ) -> tuple[Ended, Harm | None]:
        kind = " ".join(arguments[:2]) if arguments[0] != "ingest" else f"ingest {arguments[3]}"
        began, usual = time.monotonic(), self.took[kind]
        process = begin(arguments, folder, self.environment)
        harmed = None
        try:
            if harm:
                wait = choice.uniform(0, sum(usual) / len(usual))
                while process.poll() is None and time.monotonic() < began + wait:
                    time.sleep(0.01)
                if process.poll() is None:
                    harm(process, choice)
                    harmed = harm
            ended = end(process, folder)
        finally:
            process.kill()
        if not harmed and ended.code == 0:
            usual.append(time.monotonic() - began)
        return ended, harmed

    def _judge(self, arguments: tuple[str, ...], ended: Ended, harmed: Harm | None) -> None:
        """A command ends as it should, says why in a sentence, and what it says of the rows is true."""
        usual = CODES.get(arguments[0], (0,))
        if any(part.endswith(("/dataset", "/mine.prom", "/rows.csv")) for part in arguments):  # ``REFUSED``
            usual = (2,)
        early = harmed is interrupt and ended.code == -signal.SIGINT  # Python had not come to our first line
        if harmed is interrupt and ended.code == 1 and ended.said.startswith("Fatal Python error: init_"):
            early, usual = True, (1,)  # nor to its own: its answer while it starts
        wrong = []
        if ended.code not in (*usual, *(ENDS[harmed] if harmed else ())):
            wrong.append(f"ended with {ended.code}")
        if "Traceback" in ended.said and not early:
            wrong.append("has no words for it")
        if arguments[0] == "verify" and ended.code in (0, 1):
            found = [
                finding for finding in json.loads(ended.out)["findings"] if finding["kind"] in (*DAMAGE, *LOG_DAMAGE)
            ]
            wrong += [f"found {found}"] if found else []
        if arguments[-1] == DOUBLED and ended.code == 0 and ended.out.split()[-1].strip('"') != "0":
            wrong.append(f"says that so many rows are doubled: {ended.out}")
        if wrong:
            after = HARMS[harmed] if harmed else "nothing"
            self.failures.append(f"gliolake {arguments} after {after}: {wrong}\n{ended.said[-3000:]}")


def rows_let_go(lake: Lake) -> int:
    """How many rows commits took out of tables from which nothing is ever taken."""
    lost = 0
    for record in read_history(lake.files).records.values():
        balance: Counter[str] = Counter()
        for file in record.added:
            balance[file.table] += file.rows
        for file in record.removed:
            balance[file.table] -= file.rows
        lost -= sum(min(0, balance[table]) for table in KEPT)
    return lost


def leftovers(folder: Path) -> list[str]:
    """Temporary files of commands, and halves of their outputs."""
    temporary = [str(path) for path in (folder / "tmp").rglob("*") if path.is_file() and path.suffix != ".lock"]
    return temporary + [half for out in folder.glob("loop */out files") for half in halves(out)]


def write_again(out: Path, folder: Path, environment: Mapping[str, str]) -> None:
    """What a killed command left beside its target goes as a command writes the same target again."""
    looks = [*LOOKS, *([REPORT] if FULL else [])]
    for arguments in looks if halves(out) else []:
        if any("OUT" in part for part in arguments):
            undisturbed_command([part.replace("OUT", str(out)) for part in arguments], folder, environment)


def halves(out: Path) -> list[str]:
    return [str(path) for path in out.glob(".gliolake-*") if path.name not in OUTPUTS]


def outputs_touched(folder: Path) -> list[str]:
    """What was somebody's where commands write, and is not as it was."""
    touched = []
    for out in folder.glob("loop */out files"):
        touched += [str(out / name) for name, text in OUTPUTS.items() if (out / name).read_text() != text]
        touched += [str(out)] if len([*(out / "dataset").iterdir()]) != 1 else []
    return touched


def outlived(environment: Mapping[str, str]) -> list[list[str]]:
    """Processes that are still there after a minute."""
    deadline = time.monotonic() + 60
    while (left := orphans(environment)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return left


@pytest.mark.long
@pytest.mark.faults
def test_a_storm_of_killed_commands_loses_no_row_doubles_none_and_touches_nobody_elses_file(
    root: str, undisturbed: Undisturbed, tmp_path: Path, record_property: Any
) -> None:
    folder = tmp_path / "storm"
    folder.mkdir()
    for number in range(LOOPS):
        (folder / f"loop {number}").mkdir()
    environment = environment_of(root, folder)
    undisturbed_command(undisturbed.steps[0].arguments, folder, environment)  # a lake begins in an empty folder
    place = S3Lake(root, folder) if root.startswith("s3:") else FolderLake(root, folder)
    foreign, inputs = place.foreign(), seen(undisturbed.inputs)
    storm = Storm(undisturbed, folder, environment)
    storm.blow()

    lake = Lake(root)
    there = Counter(keys(lake))
    promised = frozenset[Key]().union(*(undisturbed.added[name] for name in storm.done))
    lost, doubled = len(promised - there.keys()) + rows_let_go(lake), there.total() - len(there)
    damage = [finding for finding in verify(lake, grace=0).findings if finding.is_damage]

    for step in undisturbed.steps:  # the same commands again, in peace
        undisturbed_command(step.arguments, folder, environment)
    expected, found = rows(undisturbed.lake), rows(Lake(root))
    missing, too_many = expected - found, found - expected
    undisturbed_command(("verify", "--repair", "--grace", "0"), folder, environment)
    place.two_days_pass()
    undisturbed_command(("purge",), folder, environment)
    undisturbed_command(("verify",), folder, environment)
    gone = expected - rows(Lake(root))
    for out in folder.glob("loop */out files"):
        write_again(out, folder, environment)

    now = place.foreign() | seen(undisturbed.inputs)
    touched = [name for name, state in (foreign | inputs).items() if now.get(name) != state] + outputs_touched(folder)
    sums = {
        "commands": storm.commands.total(), "kills": storm.kills, "stops": storm.harms[stop],
        "rows compared": expected.total(), "rows lost": lost + (missing | gone).total(),
        "rows doubled": doubled + too_many.total(),
        "foreign files watched": len(foreign) + len(inputs) + LOOPS * len(OUTPUTS),
        "foreign files touched": len(touched),
    }  # fmt: skip
    print(sums, storm.commands, {HARMS[harm]: number for harm, number in storm.harms.items()})
    assert not storm.failures, "\n\n".join(storm.failures)
    assert (lost, doubled, damage, sorted(missing), sorted(too_many), sorted(gone)) == (0, 0, [], [], [], [])
    assert touched == []
    assert outlived(environment) == []
    assert leftovers(folder) == []
    for harm, number in storm.harms.items():
        record_property(f"faults: {HARMS[harm]} in a storm", number)
    for name, number in sums.items():
        record_property(f"storms: {name}", number)
