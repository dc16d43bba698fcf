"""The compiled branches against the same network in plain torch modules: numbers and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from gliolake.modeling.models.settings import defaults
from gliolake.modeling.models.siamese.branch import Inputs
from gliolake.modeling.models.siamese.layers import initialiser
from gliolake.modeling.models.siamese.networks import SNN
from gliolake.modeling.models.siamese.residual import ResidualBranches
from tests.support.plain_siamese import PlainSNN

FITS, SCANS, BRANCHES, BATCH = 3, 12, 5, 8


@pytest.fixture
def inputs() -> Inputs:
    """Random scans in double precision, some branches missing, each fit with a standardisation of its own."""
    stream = np.random.default_rng(0)
    present = stream.random((SCANS, BRANCHES)) > 0.2
    present[:, 0] = True
    values = stream.standard_normal((SCANS, BRANCHES, 400)) * present[..., None]
    shift, scale = stream.standard_normal((2, FITS, BRANCHES, 400))
    return Inputs(values, np.stack([np.arange(BRANCHES)] * FITS), np.stack([present] * FITS), shift, 1 + np.abs(scale))


@pytest.fixture
def rows() -> np.ndarray:
    """A batch per fit; the second fit's is shorter and padded."""
    stream = np.random.default_rng(1)
    rows = np.stack([stream.permutation(SCANS)[:BATCH] for _ in range(FITS)])
    rows[1, 5:] = -1
    return rows


def network() -> SNN:
    """A batched network in double precision, no parameter at a special value."""
    streams = [np.random.default_rng(fit) for fit in range(FITS)]
    model = SNN(initialiser(streams), defaults("snn"), BRANCHES, threads=2).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.from_numpy(np.random.default_rng(7).standard_normal(parameter.shape)))
    return model


@pytest.mark.parametrize("training", [True, False])
def test_the_batched_network_agrees_with_plain_torch_modules(inputs: Inputs, rows: np.ndarray, training: bool) -> None:
    model = network()
    if not training:
        model(inputs, rows)  # so that the running statistics are somebody's
    plains = [PlainSNN.like(model, fit) for fit in range(FITS)]
    model.train(training)
    output = model(inputs, rows)
    values, present = inputs.gather(torch.from_numpy(rows))
    for fit, plain in enumerate(plains):
        real = torch.from_numpy(rows[fit] >= 0)
        logit, attention = plain.train(training)(values[fit][real], present[fit][real])
        torch.testing.assert_close(output.score[fit][real], logit, rtol=1e-9, atol=1e-11)
        assert output.attention is not None
        torch.testing.assert_close(output.attention[fit][real], attention, rtol=1e-9, atol=1e-11)


def test_gradients_of_every_parameter_agree_with_plain_torch_modules(inputs: Inputs, rows: np.ndarray) -> None:
    model = network()
    plains = [PlainSNN.like(model, fit) for fit in range(FITS)]
    label = (torch.arange(BATCH) % 2).double().expand(FITS, -1)
    real = torch.from_numpy(rows >= 0)
    (model.loss(model(inputs, rows), label) * real).sum().backward()
    values, present = inputs.gather(torch.from_numpy(rows))
    for fit, plain in enumerate(plains):
        logit, _ = plain.train()(values[fit][real[fit]], present[fit][real[fit]])
        functional.binary_cross_entropy_with_logits(logit, label[fit][real[fit]], reduction="sum").backward()
        for k, block in enumerate((plain.first, plain.second, plain.third)):
            close(model.branch.weight, fit, block.conv.weight[:, 0], k)
            close(model.branch.gamma, fit, block.norm.weight, k)
            close(model.branch.beta, fit, block.norm.bias, k)
        close(model.norm.gain, fit, plain.norm.weight)
        close(model.norm.offset, fit, plain.norm.bias)
        attention = model.attention
        layers = {plain.query: attention.query, plain.value: attention.value, plain.out: model.out}
        for plainly, batched in (layers | {plain.key: attention.key, plain.hidden: model.hidden}).items():
            close(batched.weight, fit, plainly.weight, transpose=True)
            close(batched.bias, fit, plainly.bias)


def close(
    batched: torch.Tensor, fit: int, plain: torch.Tensor, block: int | None = None, transpose: bool = False
) -> None:
    """Gradients agree; ``plain`` may be a view of the parameter that has the gradient."""
    base = plain if plain.is_leaf else plain._base
    assert base is not None
    assert base.grad is not None
    assert batched.grad is not None
    wanted = base.grad.reshape(plain.shape)
    found = batched.grad[fit] if block is None else batched.grad[fit, block]
    torch.testing.assert_close(found.reshape(-1), (wanted.T if transpose else wanted).reshape(-1), rtol=1e-7, atol=1e-9)


def test_single_precision_differs_from_double_by_rounding_alone(inputs: Inputs, rows: np.ndarray) -> None:
    model = network()
    wide = model(inputs, rows).score
    arrays = (inputs.values, inputs.shift, inputs.scale)
    values, shift, scale = (a.astype(np.float32) for a in arrays)
    narrow = model.float()(Inputs(values, inputs.columns, inputs.present, shift, scale), rows).score
    real = torch.from_numpy(rows >= 0)
    torch.testing.assert_close(narrow[real].double(), wide[real], rtol=1e-3, atol=1e-4)


def test_running_statistics_are_the_average_of_the_first_batches(inputs: Inputs, rows: np.ndarray) -> None:
    model = network()
    values, present = inputs.gather(torch.from_numpy(rows))
    means = []
    for part in (slice(0, 4), slice(4, 8)):
        model(inputs, np.ascontiguousarray(rows[:, part]))
        conv = functional.conv1d(values[0, part][present[0, part]][:, None], model.branch.weight[0, 0][:, None])
        means.append(conv.mean((0, 2)))
    torch.testing.assert_close(model.branch.running_mean[0, 0], torch.stack(means).mean(0), rtol=1e-9, atol=1e-11)


def test_a_missing_branch_cannot_change_anything_and_gets_no_attention(inputs: Inputs, rows: np.ndarray) -> None:
    model = network()
    before = model(inputs, rows)
    filled = np.where(inputs.present[0, ..., None], inputs.values, 1e3)
    after = model(Inputs(filled, inputs.columns, inputs.present, inputs.shift, inputs.scale), rows)
    real = rows >= 0
    assert torch.equal(before.score[real], after.score[real])
    assert before.attention is not None
    attention = before.attention.detach().numpy()[real]
    present = inputs.present[0][rows[real]]
    assert (attention[~present] == 0).all()
    np.testing.assert_allclose(attention.sum(1), 1)


def test_a_backward_pass_that_comes_too_late_is_refused(inputs: Inputs, rows: np.ndarray) -> None:
    model = network()
    early = model(inputs, rows).score.sum()
    model(inputs, rows)
    with pytest.raises(RuntimeError, match="backward after another forward"):
        early.backward()


def test_the_released_branches_agree_with_grouped_convolutions(inputs: Inputs, rows: np.ndarray) -> None:
    stream = np.random.default_rng(3)
    weight = torch.from_numpy(stream.standard_normal((FITS, 3, 2, BRANCHES, 5)))
    bias = torch.from_numpy(stream.standard_normal((FITS, 3, 2, BRANCHES)))
    module = ResidualBranches(weight.clone(), bias.clone(), threads=2)
    direction = torch.from_numpy(stream.standard_normal((FITS, BATCH, BRANCHES, 50)))
    tokens = module(inputs, rows)
    (tokens * direction).sum().backward()
    with torch.no_grad():
        assert torch.equal(module(inputs, rows), tokens)

    weight.requires_grad_()
    bias.requires_grad_()
    values, present = inputs.gather(torch.from_numpy(rows))
    x = values.transpose(0, 1).reshape(BATCH, FITS * BRANCHES, 400)

    def convolve(x: torch.Tensor, block: int, which: int) -> torch.Tensor:
        kernel = weight[:, block, which].reshape(-1, 1, 5)
        return functional.conv1d(x, kernel, bias[:, block, which].reshape(-1), padding=2, groups=len(kernel))

    for block in range(3):
        inner = functional.leaky_relu(convolve(x, block, 0), 0.01)
        x = functional.max_pool1d(functional.leaky_relu(x + convolve(inner, block, 1), 0.01), 2)
    plain = x.reshape(BATCH, FITS, BRANCHES, 50).transpose(0, 1) * present[..., None]
    (plain * direction).sum().backward()
    torch.testing.assert_close(tokens, plain)
    torch.testing.assert_close(module.weight.grad, weight.grad)
    torch.testing.assert_close(module.bias.grad, bias.grad)
