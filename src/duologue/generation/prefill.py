"""Reads prompts into their lanes, in pieces of at most MAX_ROWS rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from duologue.generation.kv_arena import Lanes
from duologue.generation.rows import MAX_ROWS, causal_rows, run_rows
from duologue.transformer.model import Transformer


def prefill(
    model: Transformer, lanes: Lanes, prompts: Sequence[Sequence[int]], *, first: int = 0, max_rows: int = MAX_ROWS
) -> Tensor:
    """What the last layer says of the last token of each prompt: [R, M]; a lane for each prompt.

    The first ``first`` tokens of each are already there. Shorter prompts are filled up at their end: the slots that
    this takes stay closed, and are written anew when the reply gets there.
    """
    device = lanes.arena.device
    lengths = [len(prompt) for prompt in prompts]
    filled = [[*prompt[first:], *[0] * (max(lengths) - len(prompt))] for prompt in prompts]
    input_ids = torch.tensor(filled, dtype=torch.long, device=device)
    last_hidden: dict[int, Tensor] = {}
    step = max(1, max_rows // len(prompts))
    for begin in range(first, max(lengths), step):
        piece = input_ids[:, begin - first : begin - first + step]
        hidden_RTM = run_rows(model, lanes, causal_rows(piece, first=begin))
        for lane, length in enumerate(lengths):
            if begin < length <= begin + piece.shape[1]:
                last_hidden[lane] = hidden_RTM[lane, length - 1 - begin]
    return torch.stack([last_hidden[lane] for lane in range(len(prompts))])
