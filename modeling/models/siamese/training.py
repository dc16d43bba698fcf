"""Training all fits of a cross-validation as one batched network, with early stopping fit by fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from gliolake.modeling.models.problem import Advance, CVPredictions, FitInputs, of_columns, standardisation
from gliolake.modeling.models.settings import Settings
from gliolake.modeling.models.siamese.branch import Inputs
from gliolake.modeling.models.siamese.layers import BatchedModel, initialiser, take_fits
from gliolake.modeling.models.siamese.networks import NETWORKS
from gliolake.modeling.models.siamese.optimiser import EarlyStopping, Optimiser
from gliolake.process.threads import one_torch_thread

WATCHED = ("validation", "test", "external")
"""Parts by which a run may stop: the first is the honest one, the others show what peeking would have brought."""


def fit_networks(
    model: str, problem: FitInputs, branch_masks: Sequence[np.ndarray], advance: Advance
) -> list[CVPredictions]:
    """Train network ``model`` on every fold at once, and answer once for each of ``branch_masks``.

    Args:
        model: A name of ``gliolake.modeling.models.siamese.networks.NETWORKS``.
        problem: What to train on.
        branch_masks: (C,) bool each: branches that are not shown to the trained networks.
        advance: Called once per epoch.
    """
    settings, ensemble_size = problem.settings, problem.settings.ensemble_size
    folds = [fold for fold in problem.folds for _ in range(ensemble_size)]
    columns = problem.columns.repeat(ensemble_size, 0)
    crowd = replace(problem, folds=folds, columns=columns)
    shift, scale = (
        of_columns(each.repeat(ensemble_size, 0), columns)
        for each in standardisation(problem.values, problem.present, problem.parts("fitting"))
    )
    present = np.ascontiguousarray(problem.present[:, columns].transpose(1, 0, 2))
    inputs = Inputs(problem.values, columns, present, shift, scale)
    # Streams are named by repeat, fold and member, so that a fit is the same whatever else is trained beside it.
    names = [(fold.repeat, fold.fold, 1, *filter(None, [i % ensemble_size])) for i, fold in enumerate(folds)]
    streams = [np.random.default_rng([problem.seed, *name]) for name in names]
    with one_torch_thread():
        network = NETWORKS[model](initialiser(streams), settings, columns.shape[1], problem.threads)
        stopping = _train(network, inputs, crowd, streams, advance)
        answers = [
            _answer(network, inputs._replace(present=present & ~masked_branches[columns][:, None]), crowd, stopping)
            for masked_branches in branch_masks
        ]
    state = {name: value.numpy() for name, value in stopping["validation"].state.items()}
    learned = {"shift": shift, "scale": scale} | state
    of_fits = {name: values.reshape(-1, ensemble_size, *values.shape[1:]) for name, values in learned.items()}
    return [replace(_averaged(answer, ensemble_size), learned=of_fits) for answer in answers]


def _averaged(answer: CVPredictions, ensemble_size: int) -> CVPredictions:
    """The mean over the networks of each fit, which follow one another."""
    if ensemble_size == 1:
        return answer
    mean = answer.each(lambda array: array.reshape(-1, ensemble_size, *array.shape[1:]).mean(1))
    chosen = answer.selection
    return replace(
        mean,
        selection={
            name: [of[i : i + ensemble_size] for i in range(0, len(of), ensemble_size)] for name, of in chosen.items()
        },
    )


def _train(
    network: BatchedModel, inputs: Inputs, problem: FitInputs, streams: list[np.random.Generator], advance: Advance
) -> dict[str, EarlyStopping]:
    """Train until nobody follows any fit; a fit that nobody follows any more is trained no further."""
    settings = problem.settings
    labels = torch.from_numpy(problem.labels.astype(np.float32))
    parts = {name: _padded([np.flatnonzero(part) for part in problem.parts(name)]) for name in WATCHED}
    parts = {name: rows for name, rows in parts.items() if rows.shape[1]}
    stopping = {name: EarlyStopping(len(problem.folds), settings.patience) for name in parts}
    edges = np.cumsum([0] + [rows.shape[1] for rows in parts.values()])
    work = _Work(
        network, Optimiser(network, settings), inputs, streams, _padded([fold.fitting for fold in problem.folds]),
        np.concatenate(list(parts.values()), 1), torch.from_numpy(_class_weights(problem)),
        torch.arange(len(problem.folds)),
    )  # fmt: skip
    for epoch in range(settings.epochs):
        if len(work.fits):
            _epoch(work, problem, labels)
            following = np.stack([rule.following[work.fits].numpy() for rule in stopping.values()], 1)
            watched = np.where(following.repeat(np.diff(edges), 1), work.watched, -1)
            losses = _losses(network, work.inputs, watched, labels)
            for which, rule in enumerate(stopping.values()):
                part = slice(edges[which], edges[which + 1])
                rule.update(epoch, work.fits, _mean(losses[:, part].double(), watched[:, part]), network)
            work.keep(torch.stack([rule.following for rule in stopping.values()]).any(0))
        advance()
    return stopping


def _epoch(work: _Work, problem: FitInputs, labels: Tensor) -> None:
    settings, network = problem.settings, work.network
    network.train()
    shown = _without_some(work.inputs, settings.modality_dropout, work.streams)
    for rows, masks in _batches(work.fitting, problem.widest, settings, network.noise, work.streams):
        index = torch.from_numpy(np.maximum(rows, 0))
        losses = network.loss(network(shown, rows, masks), labels[index]) * work.weight.gather(1, index)
        _mean(losses, rows).sum().backward()
        work.optimiser.step()


@dataclass
class _Work:
    """The fits that are still trained, and what is theirs. ``fits`` are their numbers among all."""

    network: BatchedModel
    optimiser: Optimiser
    inputs: Inputs
    streams: list[np.random.Generator]
    fitting: np.ndarray
    watched: np.ndarray
    weight: Tensor
    fits: Tensor

    def keep(self, wanted: Tensor) -> None:
        """Go on with those of all fits (F,) that are wanted."""
        here = torch.nonzero(wanted[self.fits])[:, 0]
        if len(here) == len(self.fits):
            return
        chosen = here.numpy()
        self.fits = self.fits[here]
        take_fits(self.network, {name: value[here] for name, value in self.network.state_dict().items()})
        self.optimiser.keep(self.network, here)
        self.inputs = self.inputs.of(chosen)
        self.streams = [self.streams[i] for i in chosen]
        self.fitting, self.watched, self.weight = self.fitting[chosen], self.watched[chosen], self.weight[here]


def _class_weights(problem: FitInputs) -> np.ndarray:
    """What scans (F, n) count in the loss; both classes of a fitting part the same in sum where that is asked."""
    weights = np.ones((len(problem.folds), len(problem.labels)), np.float32)
    if problem.settings.balanced:
        for own, fold in zip(weights, problem.folds, strict=True):
            share = problem.labels[fold.fitting].mean()
            own[:] = np.where(problem.labels, 0.5 / share, 0.5 / (1 - share))
    return weights


def _without_some(inputs: Inputs, share: float, streams: list[np.random.Generator]) -> Inputs:
    """The inputs with a share of each scan's branches masked, fit by fit, and never all of them."""
    if not share:
        return inputs
    drawn = np.stack([stream.random(inputs.present.shape[1:], np.float32) for stream in streams])
    drawn = np.where(inputs.present, drawn, -1)
    last = drawn.max(-1, keepdims=True)
    return inputs._replace(present=inputs.present & ((drawn >= share) | (drawn == last)))


@torch.no_grad()
def _answer(
    network: BatchedModel, inputs: Inputs, problem: FitInputs, stopping: dict[str, EarlyStopping]
) -> CVPredictions:
    shape = (len(problem.folds), len(problem.labels))
    probability, test_selected, validation_probability = (np.full(shape, np.nan) for _ in range(3))
    attention = None
    network.eval()
    for name, rule in stopping.items():
        rows = _padded([np.flatnonzero(part) for part in problem.parts(name)])
        fit, column = np.nonzero(rows >= 0)
        place = fit, rows[fit, column]
        if name != "validation":
            take_fits(network, rule.state)
            test_selected[place] = network(inputs, rows).probability.numpy()[fit, column]
        take_fits(network, stopping["validation"].state)
        output = network(inputs, rows)
        (validation_probability if name == "validation" else probability)[place] = output.probability.numpy()[
            fit, column
        ]
        if name != "validation" and output.attention is not None:
            attention = np.full((*shape, inputs.columns.shape[1]), np.nan) if attention is None else attention
            attention[place] = output.attention.numpy()[fit, column]
    return CVPredictions(
        probability,
        test_selected,
        validation_probability,
        attention,
        {"epoch": (stopping["validation"].epoch + 1).tolist()},
    )


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
    rows: np.ndarray, widest: int, settings: Settings, noise: tuple[int, ...], streams: list[np.random.Generator]
) -> Iterator[tuple[np.ndarray, list[Tensor] | None]]:
    """One epoch: rows (F, at most batch) of each step, shuffled fit by fit, and the dropout masks of the step.

    A fit's rows are spread evenly over the steps; a fit with fewer rows than another pads with -1. Steps are as many,
    and as wide, as those of the ``widest`` fit of the cross-validation, which may be none of these.
    """
    count = (rows >= 0).sum(1)
    dropout = settings.dropout
    steps = -(-widest // settings.batch)
    order = np.stack([_shuffled(own, n, stream) for own, n, stream in zip(rows, count, streams, strict=True)])
    edge = count[:, None] * np.arange(steps + 1) // steps
    column = edge[:, :-1, None] + np.arange(-(-widest // steps))
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
