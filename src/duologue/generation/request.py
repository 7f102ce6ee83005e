"""Request: one prompt and the replies that are being written to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor

from duologue.generation.config import GenerationConfig
from duologue.generation.events import (
    Event,
    FinishEvent,
    FinishReason,
    GenerationOutput,
    GenerationStats,
    TokenEvent,
)
from duologue.generation.sampling import fresh_seed, stream_of
from duologue.generation.text_stream import TextStream
from duologue.tokenizer.tokenizer import Tokenizer


@dataclass
class Reply:
    """One reply as it grows.

    Attributes:
        index: which of the replies, from 0, in the order in which they were begun.
        slots: where the keys and values of its tokens lie; the newest token has none yet.
        seen: which tokens stand in prompt or reply, [V]; None where nobody asks.
    """

    index: int
    text: TextStream
    token_ids: list[int] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)
    sum_logprob: float = 0.0
    finish_reason: FinishReason | None = None
    seen: Tensor | None = None

    @property
    def is_live(self) -> bool:
        """Whether it still grows."""
        return self.finish_reason is None


class Request:
    """A checked prompt with its replies; what is not yet read of it and where it lies in its lane."""

    def __init__(
        self,
        prompt_ids: list[int],
        config: GenerationConfig,
        *,
        tokenizer: Tokenizer,
        eos_token_ids: frozenset[int],
        context_length: int,
    ) -> None:
        """A request whose prompt leaves room for at least one token."""
        self.prompt_ids, self.config, self.eos_token_ids = prompt_ids, config, eos_token_ids
        self.max_new_tokens = min(config.max_new_tokens, context_length - len(prompt_ids))
        self.chances = stream_of(fresh_seed() if config.seed is None else config.seed, prompt_ids)
        texts = [TextStream(tokenizer, config.stop_strings) for _ in range(config.num_return_sequences)]
        self.replies = [Reply(index, text) for index, text in enumerate(texts)]
        self.stats = GenerationStats(prompt_tokens=len(prompt_ids))
        self.num_ready = 0  # tokens of the prompt whose keys and values are in the lane
        self.num_used = 0  # slots of the lane that are taken

    @property
    def num_slots(self) -> int:
        """Slots that it may come to need."""
        return len(self.prompt_ids) + len(self.replies) * self.max_new_tokens

    @property
    def live_replies(self) -> list[Reply]:
        """Those that still grow."""
        return [reply for reply in self.replies if reply.is_live]

    def take(self, reply: Reply, token_id: int, logprob: float) -> Iterator[Event]:
        """Adds a token to a reply, and ends the reply where it has to end."""
        reply.token_ids.append(token_id)
        reply.sum_logprob += logprob
        self.stats.completion_tokens += 1
        yield TokenEvent(reply.index, token_id, logprob, reply.text.push(token_id))
        if token_id in self.eos_token_ids or reply.text.is_stopped:
            yield self._finish(reply, FinishReason.STOP)
        elif len(reply.token_ids) >= self.max_new_tokens:
            yield self._finish(reply, FinishReason.LENGTH)

    def cancel(self) -> None:
        """Ends all replies that still grow, as they are."""
        for reply in self.live_replies:
            self._finish(reply, FinishReason.CANCELLED)

    def best_path(self) -> tuple[list[int], list[int]]:
        """Ids and slots of what can be reused: the prompt and the most probable reply, as far as keys and values go."""
        prompt = self.prompt_ids[: self.num_ready]
        reply = max(self.replies, key=lambda reply: reply.sum_logprob)
        if len(prompt) < len(self.prompt_ids):
            return prompt, list(range(len(prompt)))
        return prompt + reply.token_ids[: len(reply.slots)], [*range(len(prompt)), *reply.slots]

    def output(self) -> GenerationOutput:
        """The replies, the most probable first."""
        ranked = sorted(self.replies, key=lambda reply: -reply.sum_logprob)
        return GenerationOutput(
            sequences=[reply.token_ids for reply in ranked],
            sequences_scores=[reply.sum_logprob for reply in ranked],
            finish_reasons=[reply.finish_reason or FinishReason.CANCELLED for reply in ranked],
            texts=[reply.text.text for reply in ranked],
            stats=self.stats,
        )

    def _finish(self, reply: Reply, reason: FinishReason) -> FinishEvent:
        reply.finish_reason = reason
        return FinishEvent(reply.index, reason, reply.text.finish(), reply.sum_logprob, self.stats)
