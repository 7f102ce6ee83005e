"""Reply: one reply as it grows, and what a request asks of all that write replies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from duologue.generation.config import GenerationConfig
from duologue.generation.events import Event, FinishEvent, FinishReason, GenerationStats, TokenEvent
from duologue.generation.text_stream import TextStream
from duologue.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from duologue.generation.constraints import Constraint

Top = tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked for: the same for each reply to a prompt.

    Attributes:
        chances: names the request's stream of chances, see ``sampling``.
        max_new_tokens: as the config has it, or fewer where the context ends.
    """

    prompt_ids: list[int]
    config: GenerationConfig
    tokenizer: Tokenizer
    vocab_size: int
    eos_token_ids: frozenset[int]
    max_new_tokens: int
    chances: bytes
    constraint: Constraint | None = None

    def text_stream(self) -> TextStream:
        """A reply's text as it grows."""
        return TextStream(self.tokenizer, self.config.stop_strings)

    def prompt_seen(self, device: torch.device) -> Tensor | None:
        """Which tokens stand in the prompt, [V], where a penalty on repetition asks for it."""
        if self.config.repetition_penalty == 1.0:
            return None
        seen = torch.zeros(self.vocab_size, dtype=torch.bool, device=device)
        seen[torch.tensor(self.prompt_ids, device=device)] = True
        return seen


@dataclass
class Reply:
    """One reply as it grows.

    Attributes:
        index: which of the replies, from 0.
        score: what replies are ranked by; None: their log-probability.
    """

    index: int
    text: TextStream
    token_ids: list[int] = field(default_factory=list)
    token_logprobs: list[float] = field(default_factory=list)
    top_logprobs: list[Top] = field(default_factory=list)
    sum_logprob: float = 0.0
    score: float | None = None
    finish_reason: FinishReason | None = None

    @property
    def is_live(self) -> bool:
        """Whether it still grows."""
        return self.finish_reason is None

    def add(self, token_id: int, logprob: float, top: Top = ()) -> TokenEvent:
        """One more token."""
        self.token_ids.append(token_id)
        self.token_logprobs.append(logprob)
        self.sum_logprob += logprob
        if top:
            self.top_logprobs.append(top)
        return TokenEvent(self.index, token_id, logprob, self.text.push(token_id), top)

    def finish(self, reason: FinishReason, stats: GenerationStats) -> FinishEvent:
        """Ends it, as it is."""
        self.finish_reason = reason
        return FinishEvent(self.index, reason, self.text.finish(), self.sum_logprob, stats)

    def end_where_due(self, task: Task, stats: GenerationStats) -> Iterator[Event]:
        """Ends it where its last token ends it."""
        if self.token_ids[-1] in task.eos_token_ids or self.text.is_stopped:
            yield self.finish(FinishReason.STOP, stats)
        elif len(self.token_ids) >= task.max_new_tokens:
            yield self.finish(FinishReason.LENGTH, stats)


def likeliest(logprobs_V: Tensor, count: int) -> Top:
    """The likeliest tokens with their log-probabilities."""
    if not count:
        return ()
    values, tokens = logprobs_V.topk(min(count, len(logprobs_V)))
    return tuple(zip(tokens.tolist(), values.tolist(), strict=True))
