"""The Transformer: embedding, blocks, norm, output head. The file to read first.

Parameter names are those of LlamaForCausalLM and Qwen3ForCausalLM, so the weights need no translation.

Shapes: B batch, T time, M model width, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from duologue.transformer.attention import Attend, AttendIn, Attention
from duologue.transformer.config import TransformerConfig
from duologue.transformer.layers import FeedForward, RMSNorm
from duologue.transformer.rope import rotary_angles


class Block(nn.Module):
    """One layer: attention, then feed-forward, each added to the residual stream."""

    def __init__(self, config: TransformerConfig) -> None:
        """Norms come before their part (pre-norm)."""
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.mlp = FeedForward(config)

    def forward(self, x_BTM: Tensor, angles: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
        """[B, T, M] -> [B, T, M]."""
        x_BTM = x_BTM + self.self_attn(self.input_layernorm(x_BTM), angles, attend)
        return x_BTM + self.mlp(self.post_attention_layernorm(x_BTM))


class Decoder(nn.Module):
    """Embedding, blocks and the last norm."""

    def __init__(self, config: TransformerConfig, vocab_size: int) -> None:
        """Named ``model`` inside Transformer, as in Hugging Face's classes."""
        super().__init__()
        self.embed_tokens = nn.Embedding(vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)


class Transformer(nn.Module):
    """A decoder-only language model."""

    def __init__(self, config: TransformerConfig, *, vocab_size: int) -> None:
        """A model with freshly drawn weights."""
        super().__init__()
        self.config, self.vocab_size = config, vocab_size
        self.head: nn.Module | None = None  # in the place of the output embedding, where that is in int8
        self.model = Decoder(config, vocab_size)
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.hidden_size, vocab_size, bias=False)
        self.initialise()

    def hidden(self, input_ids_BT: Tensor, position_ids_BT: Tensor, attend_in: AttendIn) -> Tensor:
        """What the last layer says of each place: [B, T, M]."""
        x_BTM = self.model.embed_tokens(input_ids_BT)
        cos, sin = rotary_angles(position_ids_BT, head_dim=self.config.head_dim, theta=self.config.rope_theta)
        angles = (cos.to(x_BTM.dtype), sin.to(x_BTM.dtype))
        for layer, block in enumerate(self.model.layers):
            x_BTM = block(x_BTM, angles, attend_in(layer))
        return self.model.norm(x_BTM)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of the next token, [..., M] -> [..., V]; apart from ``hidden``, so that a loss can chunk it."""
        return nn.functional.linear(hidden, self.output_weight) if self.head is None else self.head(hidden)

    @property
    def output_weight(self) -> Tensor:
        """The output embedding [V, M]: the input embedding itself where the two are tied."""
        return self.model.embed_tokens.weight if self.config.tie_word_embeddings else self.lm_head.weight

    @property
    def num_parameters(self) -> int:
        """All parameters, tied ones once."""
        return sum(parameter.numel() for parameter in self.parameters())

    @torch.no_grad()
    def initialise(self) -> None:
        """Draws fresh weights; each block adds nothing at first, so depth does not blow the residual stream up."""
        for name, weight in self.named_parameters():
            if weight.ndim < 2:
                weight.fill_(1.0)
            elif name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.zero_()
            elif "embed_tokens" in name or "lm_head" in name:
                weight.normal_(std=0.02)
            else:
                weight.uniform_(-1.0, 1.0).mul_((3.0 / weight.shape[1]) ** 0.5)
