"""The shape of a model of a wanted size, and of its tensors; needs no torch.

Shapes: M model width, H query heads, D head width, K key-value heads, F feed-forward width, L layers, V vocabulary.
"""

from __future__ import annotations

import math

from duologue.transformer.config import TransformerConfig

Shape = tuple[int, ...]
# Width per layer, between nanochat's 64 and Llama 3's 128; the loss is flat there: Kaplan et al. 2020, section 3.1.
ASPECT = 96
TIED_BELOW = 50_000_000  # parameters; under it the embedding is most of the model
# The vocabulary up to so many parameters: a small model cannot afford a large table.
VOCABULARIES = ((5_000_000, 4096), (100_000_000, 8192), (math.inf, 32_768))
CLOSE = 0.03  # sizes that miss the wanted one by less are all the same good: the better proportion wins


def usual_vocabulary(num_parameters: int) -> int:
    """The vocabulary of a model of that size."""
    return next(size for most, size in VOCABULARIES if num_parameters < most)


def shape_for(num_parameters: int, *, vocab_size: int, sequence_length: int) -> TransformerConfig:
    """The Qwen3-like shape whose parameters come nearest, in good proportion.

    Heads are 128 wide from a width of 768 on and 64 below; there are up to 8 key-value heads, half as many as query
    heads or fewer; the feed-forward layer is 8/3 as wide as the model: SwiGLU is as large then as the classic one.

    Source: Qwen3, arXiv:2505.09388, table 1; Shazeer 2020, arXiv:2002.05202 (8/3).
    """
    is_tied = num_parameters < TIED_BELOW
    shapes = [_shape(width, num_parameters, vocab_size, sequence_length, is_tied) for width in _widths()]

    def badness(shape: TransformerConfig) -> tuple[float, float]:
        miss = abs(math.log(count_parameters(shape, vocab_size) / num_parameters))
        proportion = abs(math.log(shape.hidden_size / shape.num_hidden_layers / ASPECT))
        return max(miss, CLOSE) + proportion / 10, miss

    return min(shapes, key=badness)


def block_shapes(config: TransformerConfig) -> dict[str, Shape]:
    """Name inside its block and shape of every parameter of a block."""
    width, dim = config.hidden_size, config.head_dim
    queries, keys = config.num_attention_heads * dim, config.num_key_value_heads * dim
    norms: dict[str, Shape] = {"self_attn.q_norm": (dim,), "self_attn.k_norm": (dim,)} if config.qk_norm else {}
    shapes: dict[str, Shape] = {
        "input_layernorm": (width,), "self_attn.q_proj": (queries, width), "self_attn.k_proj": (keys, width),
        "self_attn.v_proj": (keys, width), "self_attn.o_proj": (width, queries), **norms,
        "post_attention_layernorm": (width,), "mlp.gate_proj": (config.intermediate_size, width),
        "mlp.up_proj": (config.intermediate_size, width), "mlp.down_proj": (width, config.intermediate_size),
    }  # fmt: skip
    return {f"{name}.weight": shape for name, shape in shapes.items()}


def outer_shapes(config: TransformerConfig, vocab_size: int) -> dict[str, Shape]:
    """Name and shape of every parameter outside the blocks."""
    table = (vocab_size, config.hidden_size)
    shapes: dict[str, Shape] = {"model.embed_tokens.weight": table, "model.norm.weight": (config.hidden_size,)}
    return shapes if config.tie_word_embeddings else shapes | {"lm_head.weight": table}


def parameter_shapes(config: TransformerConfig, vocab_size: int) -> dict[str, Shape]:
    """Name and shape of every parameter of the model."""
    block, layers = block_shapes(config), range(config.num_hidden_layers)
    inner = {f"model.layers.{layer}.{name}": shape for layer in layers for name, shape in block.items()}
    return outer_shapes(config, vocab_size) | inner


def count_parameters(config: TransformerConfig, vocab_size: int) -> int:
    """All parameters, tied ones once."""
    norms = 2 * config.hidden_size + 2 * config.head_dim * config.qk_norm
    embeddings = (1 if config.tie_word_embeddings else 2) * vocab_size * config.hidden_size
    return config.num_matrix_parameters + config.num_hidden_layers * norms + config.hidden_size + embeddings


def _widths() -> list[int]:
    """Widths whose heads divide well, up to that of some 200 G parameters."""
    return [*range(64, 512, 64), *range(512, 1024, 128), *range(1024, 16_385, 512)]


def _shape(width: int, wanted: int, vocab_size: int, sequence_length: int, is_tied: bool) -> TransformerConfig:
    """As many layers of that width as come nearest to the wanted size."""
    head_dim = 128 if width >= 768 else 64
    heads = width // head_dim
    kv_heads = max(number for number in range(1, 9) if heads % number == 0 and (number <= heads // 2 or number == 1))

    def with_layers(number: int) -> TransformerConfig:
        return TransformerConfig(
            hidden_size=width, num_hidden_layers=number, num_attention_heads=heads, num_key_value_heads=kv_heads,
            head_dim=head_dim, intermediate_size=64 * math.ceil(width * 8 / 3 / 64),
            max_position_embeddings=sequence_length, tie_word_embeddings=is_tied,
        )  # fmt: skip

    one, two = (count_parameters(with_layers(number), vocab_size) for number in (1, 2))
    return with_layers(max(1, round((wanted - one) / (two - one)) + 1))
