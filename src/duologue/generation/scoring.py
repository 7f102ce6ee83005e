"""How probable each of several continuations of one prompt is: branches of its tree that see the prompt and themselves.

Shapes: N rows, M model width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from duologue.errors import NumericalError
from duologue.generation.rows import MAX_ROWS, Rows
from duologue.generation.token_tree import ROOT, TokenTree

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


@dataclass(frozen=True, slots=True)
class Scorer:
    """A way through the model: rows to hidden states [N, M], and these to logits [N, V]."""

    run: Callable[[Sequence[Rows]], Tensor]
    logits: Callable[[Tensor], Tensor]
    is_native: bool = False

    @torch.inference_mode()
    def scores(self, tree: TokenTree, prompt_ids: list[int], candidates: Sequence[list[int]]) -> list[CandidateScore]:
        """Log-probabilities of each candidate after the prompt, in the order given.

        The tree holds the first tokens of the prompt, then all of it; its lane is ``num_slots_for`` wide.
        """
        last_slot, mask_1C, after_prompt = self._read(tree, prompt_ids)
        found = []
        for group in _groups(candidates):
            read = self._branches(tree, last_slot, mask_1C, after_prompt, [candidates[i][:-1] for i in group])
            for index, hidden_NM in zip(group, read, strict=True):
                logprobs = self._logprobs(hidden_NM, candidates[index])
                found.append(CandidateScore(index, candidates[index], sum(logprobs), logprobs))
        return found

    def _read(self, tree: TokenTree, prompt_ids: list[int]) -> tuple[int, Tensor, Tensor]:
        """The last slot of the prompt, its mask, and what the last layer says of it, [1, M]."""
        slot = len(tree.tokens) - 1 if tree.tokens else ROOT
        mask_1C = tree.mask_of(slot)
        for first in range(len(tree.tokens), len(prompt_ids), MAX_ROWS):
            rows = tree.chain(slot, mask_1C, prompt_ids[first : first + MAX_ROWS])
            slot, mask_1C, hidden_NM = rows.slots[-1], rows.mask[-1:], self.run([rows])
        return slot, mask_1C, hidden_NM[-1:]

    def _branches(
        self, tree: TokenTree, slot: int, mask_1C: Tensor, after_prompt: Tensor, candidates: Sequence[list[int]]
    ) -> list[Tensor]:
        """What the last layer says of the prompt's last token and each candidate's tokens."""
        tips = [(slot, mask_1C)] * len(candidates)
        hidden = [after_prompt] * len(candidates)
        for _ in candidates:
            tree.hold(slot)
        for first in range(0, max(map(len, candidates)), MAX_ROWS):  # a single long one is read in pieces
            growing = [place for place, candidate in enumerate(candidates) if len(candidate) > first]
            branches = [tree.chain(*tips[place], candidates[place][first : first + MAX_ROWS]) for place in growing]
            parts = self.run(branches).split([len(rows) for rows in branches])
            for place, rows, part_NM in zip(growing, branches, parts, strict=True):
                tips[place] = rows.slots[-1], rows.mask[-1:]
                hidden[place] = torch.cat([hidden[place], part_NM])
        for tip, _ in tips:
            tree.release(tip)
        return hidden

    def _logprobs(self, hidden_NM: Tensor, token_ids: list[int]) -> list[float]:
        """Log-probability of each token after the place that the hidden state before it stands for."""
        targets = torch.tensor(token_ids, device=hidden_NM.device)[:, None]
        found: list[float] = []
        for first in range(0, len(token_ids), LOGIT_ROWS):
            piece = slice(first, first + LOGIT_ROWS)
            logits = self.logits(hidden_NM[piece]).float()
            found += (logits.gather(1, targets[piece]).squeeze(1) - logits.logsumexp(dim=-1)).tolist()
        if any(value != value or value == float("inf") for value in found):
            raise NumericalError("the logits of a candidate are not finite; the model's weights are damaged or "
                                 "overflow")  # fmt: skip
        return found


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
