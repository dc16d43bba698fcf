"""The Siamese network in plain torch modules, one fit: the yardstick for the compiled one's numbers and its speed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gliolake.modeling.models.siamese.kernels import CHANNELS, SLOPE, TAPS
from gliolake.modeling.models.siamese.networks import SNN


class PlainBlock(nn.Module):
    """Conv1d -> BatchNorm1d -> LeakyReLU -> MaxPool1d -> mean over channels: (n, 1, L) to (n, 1, (L - 4) // 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, CHANNELS, TAPS, bias=False)
        self.norm = nn.BatchNorm1d(CHANNELS)
        self.activate = nn.LeakyReLU(SLOPE)
        self.pool = nn.MaxPool1d(2)

    def forward(self, x: Tensor) -> Tensor:
        """One block."""
        return self.pool(self.activate(self.norm(self.conv(x)))).mean(1, keepdim=True)


class PlainSNN(nn.Module):
    """Figure S1 for one fit: standardised inputs (B, K, 400), present (B, K), to logits (B,) and attention (B, K)."""

    def __init__(self, token: int = 46, hidden: int = 16, dropout: float = 0.3) -> None:
        super().__init__()
        self.first, self.second, self.third = PlainBlock(), PlainBlock(), PlainBlock()
        self.norm = nn.BatchNorm1d(1)
        self.query, self.key, self.value = (nn.Linear(token, token) for _ in range(3))
        self.hidden, self.out = nn.Linear(token, hidden), nn.Linear(hidden, 1)
        self.activate, self.drop = nn.LeakyReLU(SLOPE), nn.Dropout(dropout)

    def forward(self, x: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and the attention each branch receives."""
        token = x.new_zeros(*present.shape, self.query.in_features)
        token[present] = self.norm(self.third(self.second(self.first(x[present][:, None]))))[:, 0]
        score = self.query(token) @ self.key(token).transpose(1, 2) / token.shape[-1] ** 0.5
        weight = score.masked_fill(~present[:, None], float("-inf")).softmax(-1)
        attended = weight @ self.value(token)
        share = present.to(x.dtype) / present.sum(1, keepdim=True)
        pooled = (share[..., None] * attended).sum(1)
        logit = self.out(self.drop(self.activate(self.hidden(self.drop(pooled)))))[:, 0]
        return logit, torch.einsum("bq,bqk->bk", share, weight)

    @classmethod
    def like(cls, network: SNN, fit: int) -> PlainSNN:
        """The same network as fit ``fit`` of a batched one, parameters and running statistics copied."""
        plain = cls(dropout=0.0).to(network.branch.weight.dtype)
        with torch.no_grad():
            for k, block in enumerate((plain.first, plain.second, plain.third)):
                block.conv.weight.copy_(network.branch.weight[fit, k][:, None])
                block.norm.weight.copy_(network.branch.gamma[fit, k])
                block.norm.bias.copy_(network.branch.beta[fit, k])
                _copy_running(block.norm, network.branch.running_mean[fit, k], network.branch.running_variance[fit, k])
            plain.norm.weight.copy_(network.norm.gain[fit].flatten())
            plain.norm.bias.copy_(network.norm.offset[fit].flatten())
            _copy_running(plain.norm, network.norm.running_mean[fit], network.norm.running_variance[fit])
            attention = network.attention
            for ours, batched in (
                (plain.query, attention.query), (plain.key, attention.key), (plain.value, attention.value),
                (plain.hidden, network.hidden), (plain.out, network.out),
            ):  # fmt: skip
                ours.weight.copy_(batched.weight[fit].T)
                ours.bias.copy_(batched.bias[fit, 0])
        return plain


def _copy_running(norm: nn.BatchNorm1d, mean: Tensor, variance: Tensor) -> None:
    norm.load_state_dict({"running_mean": mean.flatten(), "running_var": variance.flatten()}, strict=False)
