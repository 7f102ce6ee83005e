"""How probable each of several continuations of one prompt is; they share the prompt's slots, and nothing else.

Shapes: N rows, C slots in use, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from duologue.errors import NumericalError
from duologue.generation.kv_arena import Lanes
from duologue.generation.prefill import prefill
from duologue.generation.rows import MAX_ROWS, Rows, closed_mask, run_rows
from duologue.transformer.model import Transformer

LOGIT_ROWS = 128  # rows whose logits are in memory at once


@dataclass(frozen=True, slots=True)
class CandidateScore:
    """How probable one candidate is.

    Attributes:
        index: its place in the list that was asked for.
        token_ids: its tokens.
        sum_logprob: natural log-probability of all of them.
        token_logprobs: of each of them.
    """

    index: int
    token_ids: list[int]
    sum_logprob: float
    token_logprobs: list[float]


@torch.inference_mode()
def score_candidates(
    model: Transformer, lane: Lanes, prompt_ids: list[int], candidates: Sequence[list[int]], *, num_ready: int
) -> list[CandidateScore]:
    """Log-probabilities of each candidate after the prompt, in the order given.

    The lane holds the first ``num_ready`` tokens of the prompt, and is ``num_slots_for`` wide.
    """
    after_prompt = prefill(model, lane, [prompt_ids], first=num_ready)
    scores = []
    for group in _groups(candidates):
        hidden = _read_beside_each_other(model, lane, len(prompt_ids), [candidates[i] for i in group])
        for index, own in zip(group, hidden, strict=True):
            logprobs = _logprobs(model, torch.cat([after_prompt, own]), candidates[index])
            scores.append(CandidateScore(index, candidates[index], sum(logprobs), logprobs))
    return scores


def num_slots_for(prompt_ids: list[int], candidates: Sequence[list[int]]) -> int:
    """Slots that scoring needs."""
    return len(prompt_ids) + max(sum(len(candidates[i]) - 1 for i in group) for group in _groups(candidates))


def _groups(candidates: Sequence[list[int]]) -> Iterator[list[int]]:
    """Neighbouring candidates that are read together: at most MAX_ROWS tokens, or a single long one."""
    group: list[int] = []
    num_rows = 0
    for index, candidate in enumerate(candidates):
        if group and num_rows + len(candidate) - 1 > MAX_ROWS:
            yield group
            group, num_rows = [], 0
        group.append(index)
        num_rows += len(candidate) - 1
    yield group


def _read_beside_each_other(
    model: Transformer, lane: Lanes, num_before: int, candidates: Sequence[list[int]]
) -> tuple[Tensor, ...]:
    """What the last layer says of each candidate's tokens but the last; each sees the prompt and itself."""
    device = lane.arena.device
    lengths = [len(candidate) - 1 for candidate in candidates]
    num_rows = sum(lengths)
    ids = torch.tensor([i for candidate in candidates for i in candidate[:-1]], dtype=torch.long, device=device)
    places = torch.cat([torch.arange(num_before, num_before + length, device=device) for length in lengths])
    mask = closed_mask(num_rows, num_before + num_rows, device=device)
    mask[:, :num_before] = 0.0
    begin = 0
    for length in lengths:
        own = closed_mask(length, length, device=device).triu(1)
        mask[begin : begin + length, num_before + begin : num_before + begin + length] = own
        begin += length
    slots = torch.arange(num_before, num_before + num_rows, device=device)
    hidden = [torch.empty(0, model.config.hidden_size, dtype=model.output_weight.dtype, device=device)]
    for first in range(0, num_rows, MAX_ROWS):
        piece = slice(first, first + MAX_ROWS)
        rows = Rows(ids[None, piece], places[None, piece], slots[None, piece], mask[None, piece])
        hidden.append(run_rows(model, lane, rows)[0])
    return torch.cat(hidden).split(lengths)


def _logprobs(model: Transformer, hidden: Tensor, token_ids: list[int]) -> list[float]:
    """Log-probability of each token after the place that the hidden state before it stands for."""
    targets = torch.tensor(token_ids, device=hidden.device)[:, None]
    found: list[float] = []
    for first in range(0, len(token_ids), LOGIT_ROWS):
        piece = slice(first, first + LOGIT_ROWS)
        logits = model.logits(hidden[piece]).float()
        found += (logits.gather(1, targets[piece]).squeeze(1) - logits.logsumexp(dim=-1)).tolist()
    if any(value != value or value == float("inf") for value in found):
        raise NumericalError("the logits of a candidate are not finite; the model's weights are damaged or overflow")
    return found
