"""Bytes that a forward pass keeps for its backward pass, worked out from the shape alone; needs no torch.

Shapes: M model width, H query heads, D head width, K key-value heads, F feed-forward width, T tokens in a row.
"""

from __future__ import annotations

from typing import Literal

from duologue.training.config import CHUNK
from duologue.transformer.config import TransformerConfig

# How packed rows attend: by PyTorch's kernel under a mask, as two matrix products, or in blocks by C++.
AttentionName = Literal["masked", "products", "blocked"]
MASTER = 4  # bytes of a float32 number, in which masters, optimiser state and norms are kept


def layer_bytes(
    config: TransformerConfig,
    size: int,
    sequence_length: int,
    *,
    attention: AttentionName,
    norms_learn: bool = True,
    is_compiled: bool = False,
) -> int:
    """Kept for one place of one layer: inputs of norms in float32, and of what multiplies in the compute format.

    Compiled layers keep the inputs of norms as they come, and work out norms and gates once more.

    Args:
        size: bytes of a number in the compute format.
        norms_learn: a frozen norm keeps nothing for its weight's gradient.
    """
    queries, keys = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    scaled = size * norms_learn  # kept for the gradient of a norm's weight
    norms = 2 * config.hidden_size * (2 * size if is_compiled else MASTER + size + scaled)
    if config.qk_norm:
        norms += (queries + keys) * (size if is_compiled else MASTER + scaled)
    narrowed = size if size < MASTER else 0  # a copy in the compute format of what is float32
    kept = {
        "masked": 4 * queries * size + sequence_length * narrowed,  # its mask
        "products": 4 * queries * size + config.num_attention_heads * sequence_length * (MASTER + narrowed),  # weights
        "blocked": 2 * (queries + keys) * size + config.num_attention_heads * MASTER,  # the sum of a query's weights
    }
    return norms + kept[attention] + (3 if is_compiled else 4) * config.intermediate_size * size


def head_bytes(
    config: TransformerConfig,
    size: int,
    places: int,
    vocab_size: int,
    *,
    learns: bool = True,
    is_native: bool = False,
    vocabulary_share: float = 1.0,
) -> int:
    """The last norm, the gradient of the hidden states, one chunk of logits with its errors, the head's gradient.

    Args:
        is_native: errors take the place of the logits; one copy is turned for the product.
        vocabulary_share: that labels are compared with.
    """
    hidden = places * config.hidden_size * (MASTER + 4 * size)
    logits = min(CHUNK, places) * round(vocabulary_share * vocab_size) * (2 * size if is_native else 2 * MASTER + size)
    return hidden + logits + learns * vocab_size * config.hidden_size * (MASTER + size)
