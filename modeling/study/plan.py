"""The plan of a study: its experiments, their rows in the lake, and the blocks of missing folds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gliolake.modeling.experiment import Experiment
from gliolake.modeling.study.task import Block, Data
from gliolake.storage.lake import Lake

TOGETHER = 5
"""Experiments of a block at most: more would gain little, and be one worker's while others idle."""


@dataclass
class Plan:
    """What is known of a study's rows on the way.

    Attributes:
        data: Rows that an experiment reads, by row of the study.
        named: The experiment's id, by row of the study.
        experiments: By id.
        digests: Of the data.
        failed: Why there is no experiment, by row of the study.
        notes: What a row should tell though it is done.
    """

    data: dict[str, Data] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)
    experiments: dict[str, Experiment] = field(default_factory=dict)
    digests: dict[Data, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


def missing_repeats(lake: Lake, experiments: Mapping[str, Experiment]) -> dict[str, set[int]]:
    """Repeats of which the lake lacks folds, by experiment; experiments that lack none are left out."""
    fits: dict[tuple[str, int], int] = defaultdict(int)
    for row in lake.read("cv_folds", columns=["experiment", "repeat"]).to_pylist():
        fits[row["experiment"], row["repeat"]] += 1
    known = set(lake.read("experiments", columns=["experiment"])["experiment"].to_pylist())
    missing = {
        name: {repeat for repeat in range(one.repeats) if fits[name, repeat] < one.folds}
        for name, one in experiments.items()
    }
    # Folds that are all there without the experiment's own row: a crash came between; the last repeat is run again.
    for name, repeats in missing.items():
        if not repeats and name not in known:
            repeats.add(experiments[name].repeats - 1)
    return {name: repeats for name, repeats in missing.items() if repeats}


def make_blocks(run_id: str, plan: Plan, missing: Mapping[str, set[int]]) -> list[Block]:
    """One for each repeat of experiments that train alike, the slowest first.

    Networks that learn one scan at a time spend most of a step on what does not grow with the fits: all repeats are
    one block.
    """
    data_of = {name: plan.data[row] for row, name in plan.named.items()}
    groups: dict[Any, dict[str, Experiment]] = defaultdict(dict)
    for name, lacking in missing.items():
        experiment = plan.experiments[name]
        alike = replace(
            experiment, external="external", diagnosis="",
            settings=replace(experiment.settings, branches=(), masked_branches=()),
        )  # fmt: skip
        every = tuple(sorted(lacking))
        for repeats in [every] if experiment.settings.batch == 1 else [(repeat,) for repeat in every]:
            key = (data_of[name], alike, len(experiment.settings.branches), repeats)
            groups[key][name] = experiment
    blocks = [
        Block(run_id, data, plan.digests[data], some, repeats)
        for (data, _, _, repeats), experiments in groups.items()
        for some in _at_most(experiments, TOGETHER)
    ]
    return sorted(blocks, key=_cost, reverse=True)


def _at_most(experiments: Mapping[str, Experiment], most: int) -> Iterator[dict[str, Experiment]]:
    """Parts of at most so many different trainings; those that train on the same branches stay together."""
    by_branches: dict[tuple[str, ...], dict[str, Experiment]] = defaultdict(dict)
    for name, experiment in experiments.items():
        by_branches[experiment.settings.branches][name] = experiment
    trainings = list(by_branches.values())
    for first in range(0, len(trainings), most):
        yield {name: one for some in trainings[first : first + most] for name, one in some.items()}


def _cost(block: Block) -> int:
    """About how long a block takes, in units of its own."""
    one = next(iter(block.experiments.values()))
    trainings = len({each.settings.branches for each in block.experiments.values()})
    weight = {"snn_released": 20, "logistic": 1}.get(one.model, 10)
    branches = trainings * len(one.settings.branches) * len(one.feature_sets)
    return len(block.repeats) * weight * branches * one.settings.ensemble_size
