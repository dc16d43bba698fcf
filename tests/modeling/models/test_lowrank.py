"""The low-rank Siamese network against its formula written out scan by scan, and on a planted signal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gliolake.modeling.data.scans import Scans
from gliolake.modeling.evaluation.crossval import cross_validate
from gliolake.modeling.models.settings import defaults
from gliolake.modeling.models.siamese.branch import Inputs
from gliolake.modeling.models.siamese.layers import initialiser
from gliolake.modeling.models.siamese.lowrank import LowRankSNN

HIDDEN = (3, 4)
ROWS = np.array([[0, 5, 2], [4, 1, -1]])


def made() -> tuple[LowRankSNN, Inputs]:
    """Two fits that read three of four branches, other ones in another order, of six scans that lack some."""
    stream = np.random.default_rng(3)
    columns = np.array([[0, 1, 3], [3, 2, 0]])
    there = stream.random((6, 4)) < 0.7
    there[:, 0] = True
    values = stream.random((6, 4, 400), np.float32) * there[..., None]
    shift, scale = stream.random((2, 3, 400), np.float32), 1 + stream.random((2, 3, 400), np.float32)
    present = np.ascontiguousarray(there[:, columns].transpose(1, 0, 2))
    network = LowRankSNN(
        initialiser([np.random.default_rng(i) for i in range(2)]),
        replace(defaults("snn_lowrank"), hidden=HIDDEN), 3, 1,
    )  # fmt: skip
    with torch.no_grad():
        network.gain += torch.from_numpy(stream.random(network.gain.shape, np.float32))
    return network, Inputs(values, columns, present, shift, scale)


def written_out(network: LowRankSNN, inputs: Inputs, fit: int, scan: int) -> tuple[Tensor, Tensor]:
    """The logit of a scan, and its attention over the branches that it has."""
    seen = np.flatnonzero(inputs.present[fit, scan])
    x = torch.from_numpy(
        (inputs.values[scan, inputs.columns[fit, seen]] - inputs.shift[fit, seen]) * inputs.scale[fit, seen]
    )
    tokens = (x @ network.encoder[fit]) * network.gain[fit, seen, 0] + network.offset[fit, seen, 0]
    attention = (tokens @ network.score[fit, 0, 0]).softmax(0)
    hidden: Any = attention @ tokens
    for which, layer in enumerate(network.head):
        hidden = torch.nn.functional.leaky_relu(hidden, 0.01) if which else hidden
        hidden = hidden @ layer.weight[fit] + layer.bias[fit, 0]
    return hidden[0], attention


def test_logits_attention_and_gradients_are_those_of_the_formula_over_the_branches_that_a_scan_has() -> None:
    network, inputs = made()
    output = network(inputs, ROWS)
    places = list(zip(*np.nonzero(ROWS >= 0), strict=True))
    logits = []
    for fit, b in places:
        logit, attention = written_out(network, inputs, fit, ROWS[fit, b])
        logits.append(logit)
        given = output.attention[fit, b]
        seen = inputs.present[fit, ROWS[fit, b]]
        torch.testing.assert_close(given[seen], attention, rtol=1e-4, atol=1e-5)
        assert (given[~seen] == 0).all()
    written = torch.stack(logits)
    told = torch.stack([output.score[place] for place in places])
    torch.testing.assert_close(told, written, rtol=1e-4, atol=1e-5)
    weights = torch.arange(1.0, 1 + len(places))
    expected = torch.autograd.grad((written * weights).sum(), list(network.parameters()))
    for own, right in zip(
        torch.autograd.grad((told * weights).sum(), list(network.parameters())), expected, strict=True
    ):
        torch.testing.assert_close(own, right, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("hidden", [(16,), (2, 8)])
def test_it_finds_a_planted_signal_in_sixty_patients(hidden: tuple[int, ...]) -> None:
    stream = np.random.default_rng(0)
    labels = np.arange(60) % 2 == 0
    values = stream.standard_normal((60, 5, 400)) + 0.3 * np.where(labels, 1, -1)[:, None, None]
    values[stream.random((60, 5)) < 0.1] = np.nan
    scans = Scans(values.astype(np.float32), labels, np.array([f"patient {i}" for i in range(60)]))
    settings = replace(defaults("snn_lowrank"), hidden=hidden, ensemble_size=1, epochs=30)
    result = cross_validate(scans, "snn_lowrank", settings=settings, repeats=1)
    found = [figure.value or 0 for figure in result.figures if figure.metric == "auc"]
    assert np.mean(found) > 0.9


def test_modality_dropout_and_members_change_what_is_learned() -> None:
    stream = np.random.default_rng(1)
    labels = np.arange(30) % 2 == 0
    scans = Scans(stream.random((30, 5, 400), np.float32), labels, np.arange(30).astype(str))
    plain = replace(defaults("snn_lowrank"), epochs=3, ensemble_size=1, modality_dropout=0.0, dropout=0.0)
    told = [
        cross_validate(scans, "snn_lowrank", settings=replace(plain, **some), repeats=1).answer.probability
        for some in ({}, {"modality_dropout": 0.5}, {"ensemble_size": 2}, {"dropout": 0.5})
    ]
    for other in told[1:]:
        assert not np.array_equal(told[0], other, equal_nan=True)
