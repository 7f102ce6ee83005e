"""What GGUF calls a model's settings and tensors, and what the model folder calls them; used in both directions."""

from __future__ import annotations

import re

import torch

from duologue.errors import ModelFolderError
from duologue.transformer.config import TransformerConfig

ARCHITECTURES = {"llama": False, "qwen3": True}  # to qk_norm

# Settings that are numbers of the shape, below the architecture's name.
SHAPE_KEYS = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "rope.freq_base": "rope_theta",
}
OUTER = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_OUTER_BACK = {theirs: ours for ours, theirs in OUTER.items()}
_BLOCK_BACK = {theirs: ours for ours, theirs in BLOCK.items()}


def folder_name(gguf_name: str) -> str:
    """The model folder's name of a GGUF tensor.

    Raises:
        ModelFolderError: a model of this architecture has no such tensor.
    """
    found = re.fullmatch(r"blk\.(0|[1-9][0-9]*)\.(\w+)\.weight", gguf_name)
    if gguf_name in OUTER:
        return OUTER[gguf_name]
    if not found or found[2] not in BLOCK:
        raise ModelFolderError(f"tensor {gguf_name}: this architecture has none; the model would not be the same")
    return f"model.layers.{found[1]}.{BLOCK[found[2]]}.weight"


def gguf_name(name: str) -> str:
    """GGUF's name of a tensor of the model folder."""
    if name in _OUTER_BACK:
        return _OUTER_BACK[name]
    _, _, layer, part = name.removesuffix(".weight").split(".", 3)
    return f"blk.{layer}.{_BLOCK_BACK[part]}.weight"


def num_heads_interleaved(name: str, config: TransformerConfig) -> int:
    """Of a tensor that GGUF keeps with the two halves of each head interleaved, its heads; of all others 0.

    That is how Llama's queries and keys are kept, for a rotary embedding that turns neighbours.
    """
    if config.qk_norm:
        return 0
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    return next((count for part, count in heads.items() if name.endswith(f"self_attn.{part}.weight")), 0)


def interleave(weight: torch.Tensor, num_heads: int) -> torch.Tensor:
    """Rows of each head from halves to pairs: 0, n/2, 1, n/2 + 1, ..."""
    rows, columns = weight.shape
    return weight.reshape(num_heads, 2, rows // num_heads // 2, columns).transpose(1, 2).reshape(rows, columns)


def deinterleave(weight: torch.Tensor, num_heads: int) -> torch.Tensor:
    """Rows of each head from pairs back to halves."""
    rows, columns = weight.shape
    return weight.reshape(num_heads, rows // num_heads // 2, 2, columns).transpose(1, 2).reshape(rows, columns)
