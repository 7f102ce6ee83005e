"""Logits processors: pure functions, in the order and with the meaning that they have in ``transformers``.

Shapes: N sequences, V vocabulary. What may not be chosen gets -inf.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from duologue.generation.config import GenerationConfig

CLOSED = float("-inf")


def process_logits(
    logits_NV: Tensor,
    config: GenerationConfig,
    *,
    seen_NV: Tensor | None,
    num_generated: list[int],
    eos_token_ids: Sequence[Collection[int]],
) -> Tensor:
    """The logits from which the next tokens are chosen.

    Args:
        logits_NV: in float32, as the model gives them.
        config: what is asked for.
        seen_NV: which tokens stand in each prompt or reply; None where no repetition penalty is asked for.
        num_generated: tokens that each sequence has so far.
        eos_token_ids: for each sequence, the tokens that end it.
    """
    if seen_NV is not None:
        logits_NV = penalise_repetition(logits_NV, seen_NV, config.repetition_penalty)
    if config.min_new_tokens and min(num_generated) < config.min_new_tokens:
        pairs = zip(num_generated, eos_token_ids, strict=True)
        logits_NV = forbid(logits_NV, [ends if length < config.min_new_tokens else () for length, ends in pairs])
    if not config.is_sampling:
        return logits_NV
    if config.temperature != 1.0:
        logits_NV = logits_NV / config.temperature
    if config.top_k:
        logits_NV = keep_top_k(logits_NV, config.top_k)
    if config.top_p < 1.0:
        logits_NV = keep_top_p(logits_NV, config.top_p)
    if config.min_p:
        logits_NV = keep_min_p(logits_NV, config.min_p)
    return logits_NV


def penalise_repetition(logits_NV: Tensor, seen_NV: Tensor, penalty: float) -> Tensor:
    """Makes tokens that were seen less likely: divides their logit where positive, multiplies it where negative.

    Source: Keskar et al. 2019, section 4.1, arXiv:1909.05858.
    """
    penalised = torch.where(logits_NV < 0, logits_NV * penalty, logits_NV / penalty)
    return torch.where(seen_NV, penalised, logits_NV)


def forbid(logits_NV: Tensor, token_ids: Sequence[Collection[int]]) -> Tensor:
    """Closes some tokens of each row."""
    places = [(row, token) for row, tokens in enumerate(token_ids) for token in tokens]
    if not places:
        return logits_NV
    rows, tokens = torch.tensor(places, device=logits_NV.device).unbind(dim=1)
    return logits_NV.index_put((rows, tokens), logits_NV.new_tensor(CLOSED))


def keep_top_k(logits_NV: Tensor, k: int) -> Tensor:
    """Closes what is less likely than the k-th likeliest.

    Source: Fan et al. 2018, section 5.4, arXiv:1805.04833.
    """
    least = logits_NV.topk(min(k, logits_NV.shape[1]), dim=-1).values[:, -1:]
    return logits_NV.masked_fill(logits_NV < least, CLOSED)


def keep_top_p(logits_NV: Tensor, p: float) -> Tensor:
    """Closes the least likely tokens, as long as what stays open has probability p; the likeliest always stays.

    Source: Holtzman et al. 2020, section 3.1, arXiv:1904.09751.
    """
    rising, order = torch.sort(logits_NV, descending=False)
    closed = rising.softmax(dim=-1).cumsum(dim=-1) <= 1 - p
    closed[:, -1] = False
    return logits_NV.masked_fill(closed.scatter(1, order, closed), CLOSED)


def keep_min_p(logits_NV: Tensor, p: float) -> Tensor:
    """Closes what is less than p times as probable as the likeliest.

    Source: Nguyen et al. 2024, section 3, arXiv:2407.01082.
    """
    probabilities = logits_NV.softmax(dim=-1)
    return logits_NV.masked_fill(probabilities < p * probabilities.amax(dim=-1, keepdim=True), CLOSED)
