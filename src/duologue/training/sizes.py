"""The sizes from which a model for the minutes is chosen, each twice or three times the one before; needs no torch."""

from __future__ import annotations

from dataclasses import replace

from duologue.transformer.config import TransformerConfig

# Width, layers, query heads, key-value heads, width of a head, of the feed-forward layer.
SIZES = (
    (64, 2, 2, 1, 32, 192),
    (128, 3, 2, 1, 64, 352),
    (160, 4, 2, 1, 64, 448),
    (192, 4, 3, 1, 64, 512),
    (256, 4, 4, 2, 64, 704),
    (320, 5, 5, 1, 64, 864),
    (384, 6, 6, 2, 64, 1024),
    (512, 8, 8, 2, 64, 1376),
    (640, 10, 10, 2, 64, 1728),
    (768, 12, 12, 4, 64, 2048),
    (1024, 16, 8, 4, 128, 2752),
    (1280, 20, 10, 2, 128, 3456),
    (1536, 24, 12, 4, 128, 4096),
    (2048, 24, 16, 8, 128, 5504),
)


def shapes_like(config: TransformerConfig, *, sequence_length: int) -> list[TransformerConfig]:
    """All sizes, smallest first, with a context of that length; what is no matter of size is as in ``config``."""
    return [
        replace(
            config,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            head_dim=head_dim,
            intermediate_size=intermediate,
            max_position_embeddings=sequence_length,
        )
        for width, layers, heads, kv_heads, head_dim, intermediate in SIZES
    ]
