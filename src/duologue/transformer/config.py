"""The recipe's table ``[transformer]``: the shape of the model, in Hugging Face's names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from duologue.config import require


@dataclass(frozen=True)
class TransformerConfig:
    """The shape of a decoder of the Llama/Qwen3 family."""

    hidden_size: Annotated[int, "width of the residual stream"] = 256
    num_hidden_layers: Annotated[int, "number of blocks"] = 4
    num_attention_heads: Annotated[int, "query heads"] = 4
    num_key_value_heads: Annotated[int, "key and value heads; each serves a group of query heads"] = 2
    head_dim: Annotated[int, "width of a head"] = 64
    intermediate_size: Annotated[int, "width of the feed-forward layer"] = 704
    max_position_embeddings: Annotated[int, "context: the most tokens that the model sees at once"] = 512
    rope_theta: Annotated[float, "base of the rotary position embedding"] = 10_000.0
    rms_norm_eps: Annotated[float, "what keeps the norm from dividing by zero"] = 1e-6
    qk_norm: Annotated[bool, "norm of queries and keys (Qwen3); without it the model is a Llama"] = True
    tie_word_embeddings: Annotated[bool, "one matrix for input and output embedding"] = True

    def __post_init__(self) -> None:
        for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
                     "intermediate_size", "max_position_embeddings"):  # fmt: skip
            require(getattr(self, name) > 0, name, getattr(self, name), "more than 0")
        shares = self.num_attention_heads % self.num_key_value_heads == 0
        expected = f"a divisor of num_attention_heads = {self.num_attention_heads}"
        require(shares, "num_key_value_heads", self.num_key_value_heads, expected)
        require(self.head_dim % 2 == 0, "head_dim", self.head_dim, "an even number, since RoPE turns pairs")
        require(self.rope_theta > 0, "rope_theta", self.rope_theta, "more than 0")

    @property
    def num_matrix_parameters(self) -> int:
        """Parameters of the matrices in the blocks: those that multiply every token."""
        heads = (2 * self.num_attention_heads + 2 * self.num_key_value_heads) * self.head_dim
        return self.num_hidden_layers * self.hidden_size * (heads + 3 * self.intermediate_size)

    def flops_per_token(self, *, vocab_size: int, sequence_length: int) -> int:
        """Floating-point operations to train on one token: forward and backward, causal attention, output head.

        Source: Kaplan et al. 2020, section 2.1, arXiv:2001.08361, with attention counted.
        """
        matrices = self.num_matrix_parameters + vocab_size * self.hidden_size
        attention = self.num_hidden_layers * self.num_attention_heads * self.head_dim * sequence_length
        return 6 * (matrices + attention)
