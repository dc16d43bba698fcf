"""Tasks of a study on a worker: inspect an experiment's rows, fit a block of folds, summarise the folds.

What travels between processes names its rows and does not carry them: a worker reads them from the lake itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gliolake.errors import GliolakeError, InputError
from gliolake.modeling.data.inputs import Cohorts, read_cohorts, refuse_bad_lists
from gliolake.modeling.evaluation.crossval import SPLITS, Figure
from gliolake.modeling.evaluation.scores import METRICS
from gliolake.modeling.evaluation.summaries import Predictions, as_row, summarise
from gliolake.modeling.experiment import Experiment, Rows, experiment_row, external_scans, result_rows, run_experiments
from gliolake.storage.lake import Lake
from gliolake.storage.snapshot import DataFile


@dataclass(frozen=True)
class Data:
    """The rows that experiments read: of which lake and feature sets, called by which rule, with which DeltaT1."""

    root: str
    feature_sets: tuple[str, ...]
    label_rule: str
    delta: str


@dataclass(frozen=True)
class Look:
    """A look at rows, for experiments that are to run on them, by the names they have in the study.

    ``run_id`` is that of the study's run; ``external`` has the names of those that are about external scans.
    """

    run_id: str
    data: Data
    experiments: Mapping[str, Experiment]
    external: frozenset[str]


@dataclass(frozen=True)
class Seen:
    """The digest of the rows, scans that lack one of the feature sets, and why experiments cannot run on them."""

    digest: str
    incomplete: tuple[str, ...]
    refused: Mapping[str, str]


@dataclass(frozen=True)
class Block:
    """Some repeats of experiments that can be trained as one batch of fits, under the names they have in the lake.

    ``run_id`` is that of the run whose rows these will be.
    """

    run_id: str
    data: Data
    digest: str
    experiments: Mapping[str, Experiment]
    repeats: tuple[int, ...]
    threads: int = 1


@dataclass(frozen=True)
class Fitted:
    """What a block came to.

    Attributes:
        rows: Of each experiment its row of table experiments, and the files of the lake, not visible yet, that hold
            its rows for these repeats.
        failed: Why there is nothing of an experiment.
        seconds: Taken.
    """

    rows: Mapping[str, tuple[dict[str, Any], list[DataFile]]]
    failed: Mapping[str, str]
    seconds: float


@dataclass(frozen=True)
class Finished:
    """An experiment of which every fold is in the lake."""

    root: str
    name: str
    seed: int


def look(task: Look) -> Seen:
    """Read the rows once.

    Raises:
        InputError: they cannot be had; see ``gliolake.modeling.data.inputs.read_cohorts``.
    """
    cohorts = _read(task.data, task.run_id)
    listed = [name for name, one in task.experiments.items() if one.external == "external_listed"]
    refused: dict[str, str] = {}
    try:
        if listed:
            refuse_bad_lists(Lake(task.data.root))
    except GliolakeError as error:
        refused |= dict.fromkeys(listed, told(error))
    for name, experiment in task.experiments.items():
        if name in refused:
            continue
        try:
            external_scans(cohorts, experiment, needed=name in task.external)
        except GliolakeError as error:
            refused[name] = told(error)
    return Seen(cohorts.digest, cohorts.incomplete, refused)


@lru_cache(maxsize=1)
def _read(data: Data, run_id: str) -> Cohorts:
    """Once for a run: a worker of a running cluster outlives it, and the next one may find other rows."""
    return read_cohorts(Lake(data.root), data.feature_sets, data.label_rule, data.delta)


def fit_block(block: Block) -> Fitted:
    """Train and test the block's folds.

    Raises:
        InputError: the rows were changed meanwhile, or cannot be used; see
            ``gliolake.modeling.experiment.run_experiments``.
    """
    started = time.monotonic()
    cohorts = _read(block.data, block.run_id)
    if cohorts.digest != block.digest:
        _read.cache_clear()
        cohorts = _read(block.data, block.run_id)
    if cohorts.digest != block.digest:
        raise InputError("The lake's rows were changed while the study ran.", hint="Run the study again.")
    rows: dict[str, tuple[dict[str, Any], list[DataFile]]] = {}
    failed: dict[str, str] = {}
    for some in _one_by_one_if_need_be(block.experiments):
        try:
            results = run_experiments(cohorts, list(some.values()), only=block.repeats, threads=block.threads)
        except GliolakeError as error:
            failed |= dict.fromkeys(some, told(error))
            continue
        for (name, experiment), result in zip(some.items(), results, strict=True):
            failed.pop(name, None)
            staged = _stage(block, result_rows(name, cohorts, result))
            rows[name] = experiment_row(name, experiment, cohorts, result), staged
        if len(rows) == len(block.experiments):
            break
    return Fitted(rows, failed, time.monotonic() - started)


def _stage(block: Block, rows: Rows) -> list[DataFile]:
    """Files of the rows, each of one repeat and split: so no two files of a table span the same keys."""
    lake = Lake(block.data.root)
    files = []
    for table, content in rows.items():
        given = content if isinstance(content, pa.Table) else pa.Table.from_pylist(content)
        for repeat in block.repeats if given.num_rows else ():
            of_repeat = given.filter(pc.equal(given["repeat"], repeat))
            splits = SPLITS if "split" in given.column_names else (None,)
            for split in splits:
                part = of_repeat if split is None else of_repeat.filter(pc.equal(of_repeat["split"], split))
                if part.num_rows:
                    files += lake.stage(table, part, run_id=block.run_id)
    return files


def _one_by_one_if_need_be(experiments: Mapping[str, Experiment]) -> Iterator[Mapping[str, Experiment]]:
    """All together; then, if that failed, one at a time, so that the one at fault costs no other."""
    yield experiments
    if len(experiments) > 1:
        yield from ({name: experiment} for name, experiment in experiments.items())


def told(error: BaseException) -> str:
    """An error as a row tells it."""
    if isinstance(error, GliolakeError):
        return f"{error} {error.hint}".strip()
    return f"{type(error).__name__}: {error}"[:500]


def sum_up(finished: Finished) -> list[dict[str, Any]]:
    """Rows of table summaries for an experiment, from its rows in the lake."""
    lake, where = Lake(finished.root), {"experiment": finished.name}
    figures = [
        Figure(*(row[name] for name in ("split", "repeat", "fold", "metric", "value", "optimism")))
        for row in lake.read("metrics", where).to_pylist()
    ]
    figures.sort(key=lambda one: (one.split, one.repeat, one.fold, METRICS.index(one.metric)))
    fits = lake.read("cv_folds", where, ["n_train", "n_validation"]).to_pylist()
    trained = float(np.mean([fit["n_train"] + fit["n_validation"] for fit in fits]))
    given = {split: _predictions(lake, finished.name, split, trained) for split in SPLITS}
    return [as_row(finished.name, summary) for summary in summarise(figures, given, seed=finished.seed)]


def _predictions(lake: Lake, experiment: str, split: str, trained: float) -> Predictions:
    columns = ["repeat", "fold", "cohort", "scan_id", "patient_id", "methylated", "probability"]
    rows = lake.read("predictions", {"experiment": experiment, "split": split}, columns).to_pandas()
    rows["scan"] = rows["cohort"] + "/" + rows["scan_id"]
    table = rows.pivot(index=["repeat", "fold"], columns="scan", values="probability").sort_index()
    scans = rows.drop_duplicates("scan").set_index("scan").loc[table.columns]
    return Predictions(
        scans["methylated"].to_numpy(np.bool_), scans["patient_id"].to_numpy(str), table.to_numpy(np.float64), trained
    )
