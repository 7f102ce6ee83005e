"""A start from counts: before its first step a model knows which token follows which.

The blocks of a fresh model add nothing, so it says head(norm(embedding)): a table of pairs of tokens, of the rank of
its width. What follows what is counted in seconds, in a corpus that the minutes do not suffice to train on, and the
table is fitted to the counts: a step of the fit shows tokens with all that ever followed them, where a step of training
shows each with one. Training finds the pairs in place, and spends its time on what reaches further.

Shapes: N tokens counted, V vocabulary, M model width, R tokens in a step of the fit.

Source: Levy and Goldberg 2014, "Neural word embedding as implicit matrix factorization", for what embeddings owe to
counts; Witten and Bell 1991 for smoothing by how many different tokens may still come.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam

from duologue.data.shards import Shards
from duologue.transformer.model import Transformer

MAX_TOKENS = 100_000_000  # more of them would change little
CHUNK_TOKENS = 4_000_000
SMOOTHING = 3.0
STEPS, TOKENS_A_STEP = 120, 1024
EMBEDDING_RATE, HEAD_RATE = 0.05, 0.01
CONSTANT = 0.3  # share of a vector's length, about, that is the same for all tokens
SHARE_POWER = 0.25  # frequent successors count more than rare ones, but less than by their share
SPARE_VECTORS = 10  # more than are wanted make those that are exact


@dataclass(frozen=True)
class Pairs:
    """How often each token followed each other one.

    Attributes:
        counts: [V, V], before and after, float32.
        before: [V], how often each token came before another.
        share: [V], of all tokens that came after another; none is zero.
    """

    counts: Tensor
    before: Tensor
    share: Tensor

    def followers(self, tokens_R: Tensor) -> Tensor:
        """What follows each of these tokens, with what share: [R, V]; rare tokens lean on ``share``."""
        before_R1 = self.before[tokens_R, None]
        trust_R1 = SMOOTHING * torch.sqrt(before_R1 + 1)
        return self.counts[tokens_R].addr_(trust_R1[:, 0], self.share).div_(before_R1 + trust_R1)


def count_pairs(shards: Shards, vocab_size: int) -> Pairs:
    """Counts the pairs of neighbours within the documents of a corpus."""
    counts = torch.zeros(vocab_size * vocab_size)
    num_tokens = min(len(shards.tokens), MAX_TOKENS)
    is_last = np.zeros(num_tokens, dtype=bool)
    ends = shards.offsets[1:] - 1
    is_last[ends[ends < num_tokens]] = True
    for start in range(0, num_tokens - 1, CHUNK_TOKENS):
        span = slice(start, min(start + CHUNK_TOKENS, num_tokens - 1))
        before, after = (shards.tokens[span.start + i : span.stop + i].astype(np.int64) for i in (0, 1))
        pairs = torch.from_numpy((before * vocab_size + after)[~is_last[span]])
        counts.scatter_add_(0, pairs, torch.ones(len(pairs)))
    counts_VV = counts.view(vocab_size, vocab_size)
    after_V = counts_VV.sum(0) + 0.5
    return Pairs(counts_VV, counts_VV.sum(1), after_V / after_V.sum())


def counted_start(
    model: Transformer,
    pairs: Pairs,
    *,
    seed: int,
    dtype: torch.dtype,
    on_step: Callable[[int], None] = lambda step: None,
) -> None:
    """Fits embedding and head of a fresh, untied model to pairs, in place.

    Args:
        dtype: in which the fit multiplies.
    """
    generator = torch.Generator().manual_seed(seed)
    embedding_VM = _leading_directions(pairs, model.config.hidden_size, seed=seed).requires_grad_()
    head_VM = torch.zeros_like(embedding_VM, requires_grad=True)
    groups = [{"params": [embedding_VM], "lr": EMBEDDING_RATE}, {"params": [head_VM], "lr": HEAD_RATE}]
    optimizer = Adam(groups, betas=(0.9, 0.95), fused=True)
    peaks = [group["lr"] for group in optimizer.param_groups]
    for step in range(STEPS):
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * (1 - step / STEPS)
        tokens_R = torch.multinomial(pairs.before + 1, TOKENS_A_STEP, replacement=True, generator=generator)
        _leave_gradients(embedding_VM, head_VM, tokens_R, pairs.followers(tokens_R), dtype)
        optimizer.step()
        optimizer.zero_grad()
        on_step(step)
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(_normed(embedding_VM))
        model.output_weight.copy_(head_VM)


def _leading_directions(pairs: Pairs, width: int, *, seed: int) -> Tensor:
    """An embedding [V, M] in which tokens lie near each other that are followed alike, rare ones too.

    The head alone could learn the table from any embedding, one drawn by chance included; but the blocks would find
    nothing in that. These are the singular vectors of how much more often a token follows another than it does at all;
    the first number is the same for all tokens, so that the head can say how frequent each one is.
    """
    vocab_size = len(pairs.before)
    weight_V1 = torch.sqrt((pairs.before + 1) / (pairs.before + 1).sum())[:, None]
    surprise_VV = pairs.followers(torch.arange(vocab_size)).div_(pairs.share).log_()
    surprise_VV.mul_(weight_V1).mul_(pairs.share**SHARE_POWER)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        left, strengths, _ = torch.svd_lowrank(surprise_VV, q=min(width + SPARE_VECTORS, vocab_size))
    directions = (left * strengths.sqrt() / weight_V1)[:, : width - 1]
    missing = width - 1 - directions.shape[1]
    constant_V1 = torch.full((vocab_size, 1), CONSTANT * width**0.5)
    return torch.cat([constant_V1, _normed(nn.functional.pad(directions, (0, missing)))], dim=1)


def _leave_gradients(
    embedding_VM: Tensor, head_VM: Tensor, tokens_R: Tensor, wanted_RV: Tensor, dtype: torch.dtype
) -> None:
    """Those of the cross-entropy between what follows and what the table says."""
    hidden_RM = _normed(embedding_VM[tokens_R])
    narrow_RM, narrow_VM = hidden_RM.detach().to(dtype), head_VM.detach().to(dtype)
    said_RV = torch.softmax((narrow_RM @ narrow_VM.T).float(), dim=1)
    error_RV = said_RV.sub_(wanted_RV).div_(len(tokens_R)).to(dtype)
    hidden_RM.backward((error_RV @ narrow_VM).float())
    head_VM.grad = (error_RV.T @ narrow_RM).float()


def _normed(x_VM: Tensor) -> Tensor:
    """As the model's last norm leaves it, before its weight."""
    return x_VM * torch.rsqrt(x_VM.square().mean(dim=1, keepdim=True) + 1e-6)
