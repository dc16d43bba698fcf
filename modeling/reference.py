"""The Siamese network in plain torch modules, one fit: the yardstick for the compiled one's numbers and its speed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modeling.kernels import CHANNELS, SLOPE, TAPS


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
        return self.pool(self.activate(self.norm(self.conv(x)))).mean(1, keepdim=True)  # type: ignore[no-any-return]


class PlainSNN(nn.Module):
    """Figure S1 for one fit: standardised inputs (B, K, 400), present (B, K), to logits (B,) and attention (B, K)."""

    def __init__(self, token: int = 46, hidden: int = 16, dropout: float = 0.3) -> None:
        super().__init__()
        self.branch = nn.Sequential(PlainBlock(), PlainBlock(), PlainBlock())
        self.norm = nn.LayerNorm(token)
        self.query, self.key, self.value = (nn.Linear(token, token) for _ in range(3))
        self.hidden, self.out = nn.Linear(token, hidden), nn.Linear(hidden, 1)
        self.activate, self.drop = nn.LeakyReLU(SLOPE), nn.Dropout(dropout)

    def forward(self, x: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and the attention each branch receives."""
        token = x.new_zeros(*present.shape, self.query.in_features)
        token[present] = self.branch(x[present][:, None])[:, 0]
        token = self.norm(token)
        score = self.query(token) @ self.key(token).transpose(1, 2) / token.shape[-1] ** 0.5
        weight = score.masked_fill(~present[:, None], float("-inf")).softmax(-1)
        attended = weight @ self.value(token)
        share = present / present.sum(1, keepdim=True)
        pooled = (share[..., None] * attended).sum(1)
        logit = self.out(self.drop(self.activate(self.hidden(self.drop(pooled)))))[:, 0]
        return logit, torch.einsum("bq,bqk->bk", share, weight)
