"""What generation tells while it runs, and at its end.

Text is never taken back: joined, the ``text`` of a reply's events is the reply. A beam search tells it as soon as all
beams that may become the best reply agree on it; what the beams do until then is told by events without text.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar


class FinishReason(StrEnum):
    """Why a reply ended."""

    STOP = "stop"  # an end-of-turn token or a stop string
    LENGTH = "length"  # max_new_tokens, or the end of the context
    DEAD_END = "constraint_dead_end"  # no token goes on within prefix, choices or regex
    CANCELLED = "cancelled"  # the caller lost interest


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One more token of a reply, for good.

    Attributes:
        sequence: which of the replies, from 0.
        token_id: the token.
        logprob: its natural log-probability under the model, before temperature and the like.
        text: what can be shown now; empty while a character or a possible stop string is still open.
        top: the likeliest tokens at this place with their log-probabilities, as many as ``logprobs`` asks for.
    """

    sequence: int
    token_id: int
    logprob: float
    text: str
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class BeamNode:
    """A token in the tree of a beam search.

    Attributes:
        id: names it; ids are never used again within a search.
        parent: the id of the token before it; 0 is the prompt.
        token_id: the token.
        text: what it adds, as far as it is text on its own.
        logprob: of the token under the model.
        score: of all tokens up to here, by which beams are ranked.
    """

    id: int
    parent: int
    token_id: int
    text: str
    logprob: float
    score: float


@dataclass(frozen=True, slots=True)
class BeamExpandEvent:
    """New tokens in the tree: the beams of the next step, the best first, and replies that ended."""

    text: ClassVar[str] = ""
    step: int
    nodes: tuple[BeamNode, ...]


@dataclass(frozen=True, slots=True)
class BeamPruneEvent:
    """Beams that were given up, by the ids of their last tokens; why is ``rank``, ``bound`` or ``done``."""

    text: ClassVar[str] = ""
    ids: tuple[int, ...]
    why: str


@dataclass(frozen=True, slots=True)
class BeamFinishEvent:
    """A beam became a reply that is among the best so far."""

    text: ClassVar[str] = ""
    id: int
    score: float
    reason: FinishReason


@dataclass(frozen=True, slots=True)
class BeamCommitEvent:
    """The best reply is settled up to this token, in place ``num_tokens`` - 1; the token's own event comes with it."""

    text: ClassVar[str] = ""
    num_tokens: int
    id: int


@dataclass
class GenerationStats:
    """What a request cost.

    Attributes:
        prompt_tokens: tokens of the prompt.
        cached_tokens: those of them whose keys and values were still there from an earlier request.
        completion_tokens: tokens of the replies that are returned.
        steps: forward passes after the prompt was read.
        rows: tokens that were run through the model in them.
        rows_pruned: beams given up because nothing that they may become would be among the best.
        guessed_tokens: tokens that came for free, as prompt lookup had guessed them.
        peak_slots: the most tokens whose keys and values were in memory at once, prompt included.
        commit_lag: tokens by which a beam search was ahead of the text it told, on average.
        ms_prefill: wall-clock milliseconds in which the prompt was read.
        ms_decode: wall-clock milliseconds of the steps; they are shared with other requests that run.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    steps: int = 0
    rows: int = 0
    rows_pruned: int = 0
    guessed_tokens: int = 0
    peak_slots: int = 0
    commit_lag: float = 0.0
    ms_prefill: float = 0.0
    ms_decode: float = 0.0


@dataclass(frozen=True, slots=True)
class FinishEvent:
    """A reply is complete.

    Attributes:
        sequence: which of the replies, from 0.
        reason: why it ended.
        text: what was held back until now and belongs to the reply.
        sum_logprob: log-probability of all its tokens.
        stats: what the request has cost so far.
    """

    sequence: int
    reason: FinishReason
    text: str
    sum_logprob: float
    stats: GenerationStats


BeamEvent = BeamExpandEvent | BeamPruneEvent | BeamFinishEvent | BeamCommitEvent
Event = TokenEvent | FinishEvent | BeamEvent


@dataclass(frozen=True, slots=True)
class GenerationOutput:
    """The replies to one prompt, the best first.

    Attributes:
        sequences: generated ids only, the end-of-turn token included where there is one.
        sequences_scores: what they are ranked by: of beams, log-probability / length ** length_penalty, with what
            processors made of it; otherwise the sum of log-probabilities.
        sum_logprobs: sum of log-probabilities of each under the model.
        token_logprobs: of each token of each.
        finish_reasons: why each ended.
        texts: each as text, without control tokens and without what a stop string cut off.
        stats: what it cost.
        top_logprobs: for each token of each, the likeliest tokens at its place, where ``logprobs`` asked for them.
    """

    sequences: list[list[int]]
    sequences_scores: list[float]
    sum_logprobs: list[float]
    token_logprobs: list[list[float]]
    finish_reasons: list[FinishReason]
    texts: list[str]
    stats: GenerationStats
    top_logprobs: list[list[tuple[tuple[int, float], ...]]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The replies as JSON of the contract's form; with ``logprobs``, those of each token too."""
        names = ("text", "token_ids", "score", "sum_logprob", "finish_reason")
        columns = (self.texts, self.sequences, self.sequences_scores, self.sum_logprobs, map(str, self.finish_reasons))
        choices: list[dict[str, Any]] = [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
        for choice, top, logprobs in zip(choices, self.top_logprobs, self.token_logprobs, strict=False):
            choice |= {"token_logprobs": logprobs, "top_logprobs": top}
        return {"choices": choices, "stats": dataclasses.asdict(self.stats)}
