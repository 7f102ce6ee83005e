"""Multi-head self-attention: who looks at whom is handed in, so one model serves training and generation.

Shapes: B batch, T query places, C key places, M model width, H query heads, K key-value heads, G = H/K, D head width.

Source: Vaswani et al. 2017, section 3.2, arXiv:1706.03762; grouped queries: Ainslie et al. 2023, arXiv:2305.13245.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from duologue.transformer.config import TransformerConfig
from duologue.transformer.layers import RMSNorm
from duologue.transformer.rope import rotate

# (q [B, H, T, D], k [B, K, T, D], v [B, K, T, D]) -> what each query found [B, H, T, D]
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
# How each layer attends, by its number: a layer of a cache has keys of its own.
AttendIn = Callable[[int], Attend]


class Attention(nn.Module):
    """Projects to queries, keys and values, lets ``attend`` mix them, and projects back."""

    def __init__(self, config: TransformerConfig) -> None:
        """Four matrices, and two norms where the model has QK-norm."""
        super().__init__()
        self.head_dim = config.head_dim
        width, kv_width = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, width, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, kv_width, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, kv_width, bias=False)
        self.o_proj = nn.Linear(width, config.hidden_size, bias=False)
        self.q_norm = RMSNorm(config.head_dim, eps=config.rms_norm_eps) if config.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(config.head_dim, eps=config.rms_norm_eps) if config.qk_norm else nn.Identity()

    def forward(self, x_BTM: Tensor, angles: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
        """[B, T, M] -> [B, T, M]."""
        q = rotate(self.q_norm(self._heads(self.q_proj(x_BTM))), *angles)
        k = rotate(self.k_norm(self._heads(self.k_proj(x_BTM))), *angles)
        found_BHTD = attend(q, k, self._heads(self.v_proj(x_BTM)))
        return self.o_proj(found_BHTD.transpose(1, 2).flatten(2))

    def _heads(self, x_BTW: Tensor) -> Tensor:
        return x_BTW.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)


def document_mask(document_ids_BT: Tensor, dtype: torch.dtype) -> Tensor:
    """Added to the scores of packed rows: 0 where a place may look (same document, not ahead), -inf elsewhere.

    Returns:
        [B, 1, T, T]. Every place sees at least itself.
    """
    length = document_ids_BT.shape[1]
    same = document_ids_BT[:, :, None] == document_ids_BT[:, None, :]
    causal = torch.ones(length, length, dtype=torch.bool, device=document_ids_BT.device).tril()
    closed = torch.zeros((), dtype=dtype, device=same.device).masked_fill(~(same & causal), float("-inf"))
    return closed[:, None]


def masked_attention(mask_B1TC: Tensor) -> AttendIn:
    """Attention by PyTorch's kernel under an additive mask, the same in all layers."""

    def attend(q_BHTD: Tensor, k_BKCD: Tensor, v_BKCD: Tensor) -> Tensor:
        groups = q_BHTD.shape[1] // k_BKCD.shape[1]
        k, v = k_BKCD.repeat_interleave(groups, dim=1), v_BKCD.repeat_interleave(groups, dim=1)
        return F.scaled_dot_product_attention(q_BHTD, k, v, attn_mask=mask_B1TC.to(q_BHTD.dtype))

    return lambda layer: attend


def document_attention(document_ids_BT: Tensor) -> AttendIn:
    """Attention within the documents of packed rows, as two batched matrix products.

    Compiled it is the faster on CPUs: who sees whom is worked out inside the softmax, and no mask is read. The query
    heads of a group are laid side by side, so that each key-value head is multiplied once.
    """
    places_T = torch.arange(document_ids_BT.shape[1], device=document_ids_BT.device)

    def attend(q_BHTD: Tensor, k_BKCD: Tensor, v_BKCD: Tensor) -> Tensor:
        B, H, T, D = q_BHTD.shape
        K, C = k_BKCD.shape[1:3]
        same_BTC = document_ids_BT[:, :, None] == document_ids_BT[:, None, :]
        is_seen_B1TC = (same_BTC & (places_T[:, None] >= places_T[None, :]))[:, None]
        q = q_BHTD.reshape(B * K, (H // K) * T, D) * D**-0.5
        scores = torch.bmm(q, k_BKCD.reshape(B * K, C, D).transpose(1, 2)).view(B, H, T, C)
        weights = torch.softmax(scores.float().masked_fill(~is_seen_B1TC, float("-inf")), dim=-1).to(q_BHTD.dtype)
        return torch.bmm(weights.view(B * K, (H // K) * T, C), v_BKCD.reshape(B * K, C, D)).view(B, H, T, D)

    return lambda layer: attend
