"""Rotary position embedding: turns queries and keys by an angle that grows with their place.

Source: Su et al. 2021, section 3.4, arXiv:2104.09864, with pairs (i, i + D/2) as in Llama.
Shapes: B batch, H heads, T time, D head width.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rotary_angles(position_ids_BT: Tensor, *, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines for each place, both [B, 1, T, D], in float32."""
    pairs = torch.arange(0, head_dim, 2, dtype=torch.float32, device=position_ids_BT.device)
    frequencies = theta ** -(pairs / head_dim)
    angles = position_ids_BT[:, None, :, None].float() * frequencies
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate(x_BHTD: Tensor, cos_B1TD: Tensor, sin_B1TD: Tensor) -> Tensor:
    """Queries or keys, turned by their angles."""
    first, second = x_BHTD.chunk(2, dim=-1)
    return x_BHTD * cos_B1TD + torch.cat((-second, first), dim=-1) * sin_B1TD
