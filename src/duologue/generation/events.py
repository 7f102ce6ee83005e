"""What generation tells while it runs, and at its end."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class FinishReason(StrEnum):
    """Why a reply ended."""

    STOP = "stop"  # an end-of-turn token or a stop string
    LENGTH = "length"  # max_new_tokens, or the end of the context
    CANCELLED = "cancelled"  # the caller lost interest


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One more token of a reply.

    Attributes:
        sequence: which of the replies, from 0.
        token_id: the token.
        logprob: its natural log-probability under the model, before temperature and the like.
        text: what can be shown now; empty while a character or a possible stop string is still open.
    """

    sequence: int
    token_id: int
    logprob: float
    text: str


@dataclass
class GenerationStats:
    """What a request cost.

    Attributes:
        prompt_tokens: tokens of the prompt.
        cached_tokens: those of them whose keys and values were still there from an earlier request.
        completion_tokens: tokens generated, over all replies.
        steps: forward passes after the prompt was read.
        ms_prefill: wall-clock milliseconds in which the prompt was read.
        ms_decode: wall-clock milliseconds of the steps; in a batch they are shared with other requests.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    steps: int = 0
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


Event = TokenEvent | FinishEvent


@dataclass(frozen=True, slots=True)
class GenerationOutput:
    """The replies to one prompt, the most probable first.

    Attributes:
        sequences: generated ids only, the end-of-turn token included where there is one.
        sequences_scores: sum of log-probabilities of each.
        finish_reasons: why each ended.
        texts: each as text, without control tokens and without what a stop string cut off.
        stats: what it cost.
    """

    sequences: list[list[int]]
    sequences_scores: list[float]
    finish_reasons: list[FinishReason]
    texts: list[str]
    stats: GenerationStats

    def to_dict(self) -> dict[str, Any]:
        """The replies as JSON of the contract's form."""
        parts = zip(self.texts, self.sequences, self.sequences_scores, self.finish_reasons, strict=True)
        choices = [
            {"text": text, "token_ids": ids, "score": score, "sum_logprob": score, "finish_reason": str(reason)}
            for text, ids, score, reason in parts
        ]
        return {"choices": choices, "stats": dataclasses.asdict(self.stats)}
