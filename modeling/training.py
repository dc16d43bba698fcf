"""Training all fits of a cross-validation as one batched network, with early stopping fit by fit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from lake.threads import one_torch_thread
from modeling.batched import BatchedModel, initialiser
from modeling.branch import Inputs
from modeling.networks import NETWORKS
from modeling.problem import Advance, Answer, Problem, standardisation

WATCHED = ("validation", "test", "external")
"""Parts by which a run may stop: the first is the honest one, the others show what peeking would have brought."""


def fit_networks(model: str, problem: Problem, advance: Advance) -> Answer:
    """Train network ``model`` on every fold at once; ``advance`` is called once per epoch."""
    settings, folds = problem.settings, problem.folds
    shift, scale = standardisation(problem.values, problem.present, problem.parts("fitting"))
    inputs = Inputs(problem.values, problem.present, shift, scale)
    # Streams are named by repeat and fold, so that a fit is the same whatever else is trained beside it.
    streams = [np.random.default_rng([problem.seed, fold.repeat, fold.fold, 1]) for fold in folds]
    with one_torch_thread():
        network = NETWORKS[model](initialiser(streams), settings, problem.values.shape[1], problem.threads)
        keepers = _train(network, inputs, problem, streams, advance)
        return _answer(network, inputs, problem, keepers)


def _train(
    network: BatchedModel, inputs: Inputs, problem: Problem, streams: list[np.random.Generator], advance: Advance
) -> dict[str, Keeper]:
    settings = problem.settings
    labels = torch.from_numpy(problem.labels.astype(np.float32))
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    fitting = _padded([fold.fitting for fold in problem.folds])
    parts = {name: _padded([np.flatnonzero(part) for part in problem.parts(name)]) for name in WATCHED}
    parts = {name: rows for name, rows in parts.items() if rows.shape[1]}
    keepers = {name: Keeper(len(problem.folds), settings.patience) for name in parts}
    watched = np.concatenate(list(parts.values()), 1)
    edges = np.cumsum([0] + [rows.shape[1] for rows in parts.values()])
    for epoch in range(settings.epochs):
        if any(keeper.following.any() for keeper in keepers.values()):
            network.train()
            for rows, masks in _batches(fitting, settings.batch, network.noise, settings.dropout, streams):
                output = network(inputs, rows, masks)
                loss = _mean(network.loss(output, labels[np.maximum(rows, 0)]), rows).sum()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            losses = _losses(network, inputs, watched, labels)
            for which, (name, rows) in enumerate(parts.items()):
                part = slice(edges[which], edges[which + 1])
                keepers[name].look(epoch, _mean(losses[:, part], rows), network)
        advance()
    return keepers


class Keeper:
    """Keeps, for each fit, the parameters of the epoch at which a loss was least."""

    def __init__(self, fits: int, patience: int) -> None:
        self.best = torch.full((fits,), float("inf"))
        self.epoch = torch.full((fits,), -1)
        self.following = torch.ones(fits, dtype=torch.bool)
        self.patience = patience
        self.state: dict[str, Tensor] = {}

    def look(self, epoch: int, loss: Tensor, network: BatchedModel) -> None:
        """Note the losses (F,) after an epoch. A fit whose best is ``patience`` epochs old is followed no more."""
        better = self.following & (loss < self.best)
        self.best = torch.where(better, loss, self.best)
        self.epoch[better] = epoch
        now = network.state_dict()
        if not self.state:
            self.state = {name: value.clone() for name, value in now.items()}
        for name, value in now.items():
            self.state[name][better] = value[better]
        self.following &= epoch - self.epoch < self.patience


@torch.no_grad()
def _answer(network: BatchedModel, inputs: Inputs, problem: Problem, keepers: dict[str, Keeper]) -> Answer:
    shape = (len(problem.folds), len(problem.labels))
    probability, careless = np.full(shape, np.nan), np.full(shape, np.nan)
    attention = None
    network.eval()
    for name, keeper in keepers.items():
        rows = _padded([np.flatnonzero(part) for part in problem.parts(name)])
        fit, column = np.nonzero(rows >= 0)
        place = fit, rows[fit, column]
        if name != "validation":
            network.load_state_dict(keeper.state)
            careless[place] = network(inputs, rows).probability.numpy()[fit, column]
            network.load_state_dict(keepers["validation"].state)
            output = network(inputs, rows)
            probability[place] = output.probability.numpy()[fit, column]
            if output.attention is not None:
                attention = np.full((*shape, problem.values.shape[1]), np.nan) if attention is None else attention
                attention[place] = output.attention.numpy()[fit, column]
    return Answer(probability, careless, attention, {"epoch": (keepers["validation"].epoch + 1).tolist()})


@torch.no_grad()
def _losses(network: BatchedModel, inputs: Inputs, rows: np.ndarray, labels: Tensor, at_once: int = 512) -> Tensor:
    network.eval()
    found = [
        network.loss(network(inputs, some), labels[np.maximum(some, 0)])
        for some in (np.ascontiguousarray(rows[:, i : i + at_once]) for i in range(0, rows.shape[1], at_once))
    ]
    return torch.cat(found, 1)


def _mean(losses: Tensor, rows: np.ndarray) -> Tensor:
    """Mean over the rows (F, B) that are not padding."""
    real = torch.from_numpy(rows >= 0)
    return (losses * real).sum(1) / real.sum(1).clamp_min(1)


def _padded(rows: list[np.ndarray]) -> np.ndarray:
    """(F, longest) int64, -1 where a fit has fewer rows."""
    out = np.full((len(rows), max(map(len, rows))), -1, np.int64)
    for f, some in enumerate(rows):
        out[f, : len(some)] = some
    return out


def _batches(
    rows: np.ndarray, batch: int, noise: tuple[int, ...], dropout: float, streams: list[np.random.Generator]
) -> Iterator[tuple[np.ndarray, list[Tensor] | None]]:
    """One epoch: rows (F, at most batch) of each step, shuffled fit by fit, and the dropout masks of the step.

    A fit's rows are spread evenly over the steps; a fit with fewer rows than another pads with -1.
    """
    count = (rows >= 0).sum(1)
    steps = -(-int(count.max()) // batch)
    order = np.stack([_shuffled(own, n, stream) for own, n, stream in zip(rows, count, streams, strict=True)])
    edge = count[:, None] * np.arange(steps + 1) // steps
    column = edge[:, :-1, None] + np.arange(int(np.diff(edge).max()))
    padding = column >= edge[:, 1:, None]
    taken = np.take_along_axis(order, np.minimum(column, order.shape[1] - 1).reshape(len(rows), -1), 1)
    taken = np.where(padding, -1, taken.reshape(column.shape))
    keep = np.float32(1 / (1 - dropout))
    width = sum(noise) if dropout else 0
    size = (*column.shape[1:], width)
    drawn = torch.from_numpy(np.stack([stream.random(size, np.float32) >= dropout for stream in streams]) * keep)
    for step in range(steps):
        masks = list(drawn[:, step].split(noise, -1)) if width else None
        yield np.ascontiguousarray(taken[:, step]), masks


def _shuffled(rows: np.ndarray, count: int, stream: np.random.Generator) -> np.ndarray:
    return np.concatenate((stream.permutation(rows[:count]), rows[count:]))
