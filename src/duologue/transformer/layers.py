"""The two layers beside attention: RMSNorm and the gated feed-forward."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from duologue.transformer.config import TransformerConfig


class RMSNorm(nn.Module):
    """Scales each vector to unit mean square, then by a learned weight.

    Source: Zhang and Sennrich 2019, arXiv:1910.07467. The mean is taken in float32, whatever the input's type.
    """

    def __init__(self, size: int, *, eps: float) -> None:
        """A norm over the last axis, of the given size."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """[..., size] -> [..., size]."""
        wide = x.float()
        scaled = wide * torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + self.eps)
        return self.weight * scaled.to(x.dtype)


class FeedForward(nn.Module):
    """SwiGLU: down(silu(gate(x)) * up(x)).

    Source: Shazeer 2020, arXiv:2002.05202.
    """

    def __init__(self, config: TransformerConfig) -> None:
        """Three matrices, no biases."""
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x_BTM: Tensor) -> Tensor:
        """[B, T, M] -> [B, T, M]."""
        return self.down_proj(F.silu(self.gate_proj(x_BTM)) * self.up_proj(x_BTM))
