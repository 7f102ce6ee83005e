"""Noise should not change what the model says: how far its reply to a noisy question is from that to the clean one.

Replies are the same tokens in both, so that their places match one to one. Only the noisy side learns.

Shapes: N places that carry loss, M model width, V vocabulary.

Source: Zhuang and Zuccon 2022, arXiv:2204.00716 (self-teaching from clean to noisy); Liang et al. 2021,
arXiv:2106.14448 (R-Drop).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from duologue.training.config import CHUNK


def divergence(noisy_NM: Tensor, clean_NM: Tensor, weight_VM: Tensor) -> Tensor:
    """KL(clean || noisy) of the next token in nats, summed over places; gradients go to the noisy side and the head."""
    total = noisy_NM.new_zeros((), dtype=torch.float32)
    for noisy, clean in zip(noisy_NM.split(CHUNK), clean_NM.detach().split(CHUNK), strict=True):
        total = total + checkpoint(_chunk, noisy, clean, weight_VM, use_reentrant=False)
    return total


def _chunk(noisy: Tensor, clean: Tensor, weight_VM: Tensor) -> Tensor:
    expected = F.log_softmax((clean @ weight_VM.detach().T).float(), dim=-1)
    found = F.log_softmax((noisy @ weight_VM.T).float(), dim=-1)
    return F.kl_div(found, expected, reduction="sum", log_target=True)
