"""Beam search: of all replies, look for the most probable ones by keeping the best few beginnings.

Pure: scores of next tokens go in, which beginnings live on comes out. Nothing here knows a model or a cache.

``transformers`` defines the search, to the token: candidates are ranked over all beams; one that ends is kept if it is
among the first ``num_beams``; a finished reply scores its log-probability / length ** length_penalty.

Giving beams up early is exact. No continuation of a beam of log-probability s can score more than ``bound(s)``, since
every further token adds a number below zero. Once enough replies are found and the worst of them scores as much, the
beam and all its descendants can go: they could neither enter the list, nor push a candidate that still can out of the
first ``num_beams``, since they rank below it.

Shapes: N live beams, V vocabulary.

Source: Huang et al. 2017, section 3 (bounds); Kasai et al. 2022, section 3, arXiv:2204.05424 (patience).
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import torch
from torch import Tensor

from duologue.generation.config import GenerationConfig
from duologue.generation.top_candidates import top_candidates

# (row, token) -> whether the reply ends with it
Ends = Callable[[int, int], bool]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A beam and a token after it.

    Attributes:
        row: which of the live beams.
        token_id: the token.
        score: log-probability of all tokens so far, with what processors made of it.
    """

    row: int
    token_id: int
    score: float


@dataclass(frozen=True, slots=True)
class Finished:
    """A candidate that ended a reply.

    Attributes:
        candidate: where it came from.
        step: at which step, counted from 1; its reply has as many tokens.
        score: by which replies are ranked.
    """

    candidate: Candidate
    step: int
    score: float


class PruneReason(StrEnum):
    """Why a beam was given up."""

    RANK = "rank"  # others are more probable
    BOUND = "bound"  # nothing that it may become would be among the best
    DONE = "done"  # the search is over


@dataclass(slots=True)
class BeamStep:
    """What a step changed.

    Attributes:
        live: the beams of the next step, the best first.
        entered: replies that entered the list of the best.
        left: replies that left it again.
        bounded: candidates that would have lived on, had the bound not ruled them out.
    """

    live: list[Candidate] = field(default_factory=list)
    entered: list[Finished] = field(default_factory=list)
    left: list[Finished] = field(default_factory=list)
    bounded: list[Candidate] = field(default_factory=list)


class BeamSearch:
    """One search of ``width`` beams.

    Attributes:
        scores: of the live beams, the best first; at the start one beam, in which nothing has been said.
        finished: the best replies so far, the best first.
        step: tokens of each live beam.
        is_over: whether nothing can change any more.
    """

    def __init__(self, config: GenerationConfig, *, width: int, max_new_tokens: int, num_ends: int) -> None:
        """A search that has not begun; ``num_ends`` tokens can end a reply."""
        self.width, self.max_new_tokens, self._config = width, max_new_tokens, config
        self._num_candidates = max(2, 1 + num_ends) * width
        self.can_bound = config.renormalize_logits or not any(bias > 0 for _, bias in config.sequence_bias)
        self._is_pruning = config.prune == "exact" and self.can_bound
        wanted = min(config.num_return_sequences, width)
        self._capacity = max(wanted, round(width * config.patience))
        if config.early_stopping == "never" and self._is_pruning:
            self._capacity = wanted
        self.scores: list[float] = [0.0]
        self.finished: list[Finished] = []
        self.step = 0
        self.is_over = False

    def advance(self, logprobs_NV: Tensor, ends: Ends) -> BeamStep:
        """One more token for every live beam."""
        self.step += 1
        sums_NV = logprobs_NV + torch.tensor(self.scores, dtype=logprobs_NV.dtype, device=logprobs_NV.device)[:, None]
        values, rows, tokens = (tensor.tolist() for tensor in top_candidates(sums_NV, self._num_candidates))
        ranked = [Candidate(row, token, score) for score, row, token in zip(values, rows, tokens, strict=True)]
        return self._choose([candidate for candidate in ranked if candidate.score > float("-inf")], ends)

    def final_score(self, score: float, length: int) -> float:
        """What a finished reply is ranked by."""
        return float(score / length**self._config.length_penalty)

    def bound(self, score: float) -> float:
        """The most that a live beam of this log-probability can still be ranked by."""
        penalty = self._config.length_penalty
        return self.final_score(score, self.max_new_tokens if penalty > 0 else self.step + 1)

    def contenders(self) -> tuple[list[int], bool]:
        """The live beams that may become the best reply, and whether the best finished one may stay it."""
        if not self.finished or not self.can_bound:
            return list(range(len(self.scores))), bool(self.finished)
        best = self.finished[0].score
        return [row for row, score in enumerate(self.scores) if self.bound(score) > best], True

    def _choose(self, ranked: Sequence[Candidate], ends: Ends) -> BeamStep:
        step = BeamStep()
        for rank, candidate in enumerate(ranked):
            if self.step == self.max_new_tokens or ends(candidate.row, candidate.token_id):
                if rank < self.width:
                    self._offer(step, candidate)
            elif len(step.live) < self.width:
                step.live.append(candidate)
        self._stop_or_prune(step)
        self.scores = [candidate.score for candidate in step.live]
        self.is_over = not step.live
        return step

    def _offer(self, step: BeamStep, candidate: Candidate) -> None:
        new = Finished(candidate, self.step, self.final_score(candidate.score, self.step))
        insort(self.finished, new, key=lambda finished: -finished.score)  # after those of equal score
        step.entered.append(new)
        if len(self.finished) > self._capacity:
            worst = self.finished.pop()
            if worst in step.entered:
                step.entered.remove(worst)
            else:
                step.left.append(worst)

    def _stop_or_prune(self, step: BeamStep) -> None:
        if len(self.finished) < self._capacity or not step.live:
            return
        worst = self.finished[-1].score
        if self._is_settled(step.live[0].score, worst):
            step.live.clear()
        elif self._is_pruning:
            step.bounded = [candidate for candidate in step.live if self.bound(candidate.score) <= worst]
            step.live = [candidate for candidate in step.live if self.bound(candidate.score) > worst]

    def _is_settled(self, best_live: float, worst: float) -> bool:
        """Whether the search ends, now that the list is full."""
        if self._config.early_stopping is True:
            return True
        if self._config.early_stopping == "never":
            return self.bound(best_live) <= worst
        return self.final_score(best_live, self.step) <= worst
