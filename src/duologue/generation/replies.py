"""Replies: each goes its own way, by the likeliest token or by chance; they share the prompt.

Shapes: N replies that grow, of one or several requests, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from duologue.generation.events import Event, FinishReason, GenerationStats
from duologue.generation.logits import RowContext, process_logits, uses_history
from duologue.generation.reply import Reply, Task, Top, likeliest
from duologue.generation.rows import Rows
from duologue.generation.sampling import chance_of, choose_likeliest, draw
from duologue.generation.writer import Writer


@dataclass(frozen=True, slots=True)
class Choice:
    """A chosen token, its log-probability, and the likeliest tokens of its place."""

    token_id: int
    logprob: float
    top: Top


@dataclass
class Growth:
    """A reply with what is needed to go on with it.

    Attributes:
        slot: of its last token that was run.
        seen: which tokens stand in prompt or reply, [V]; None where nobody asks.
        state: of the constraint.
    """

    reply: Reply
    slot: int = -1
    seen: Tensor | None = None
    state: Hashable = None


class Replies(Writer):
    """Greedy, or n samples."""

    def __init__(self, task: Task, stats: GenerationStats) -> None:
        """As many replies as are to be returned."""
        super().__init__(task, stats)
        self.replies = [Reply(index, task.text_stream()) for index in range(task.config.num_return_sequences)]
        self.growing = [Growth(reply) for reply in self.replies]
        self._ended: list[Growth] = []

    def start_at(self, last_slot: int) -> None:
        """Every reply begins at the end of the prompt."""
        seen = self.task.prompt_seen(self.tree.lane.arena.device)
        for growth in self.growing:
            self.tree.hold(last_slot)
            growth.slot = last_slot
            growth.seen = None if seen is None else seen.clone()
            growth.state = self.task.constraint.start if self.task.constraint else None
        self.tree.release(last_slot)
        self.mask = self.tree.mask_of(last_slot).repeat(len(self.growing), 1)

    @property
    def is_done(self) -> bool:
        """Whether all are complete."""
        return not self.growing

    @property
    def num_rows(self) -> int:
        """One for each reply that grows."""
        return len(self.growing)

    def rows(self) -> Rows:
        """The newest token of each."""
        tokens = [growth.reply.token_ids[-1] for growth in self.growing]
        rows = self.tree.branch([growth.slot for growth in self.growing], self.mask, tokens)
        for growth, slot in zip(self.growing, rows.slots, strict=True):
            growth.slot = slot
        self.mask = rows.mask
        return rows

    @classmethod
    def take(cls, asked: Sequence[tuple[Self, Tensor]]) -> list[list[Event]]:
        """One more token for each reply, chosen together."""
        growing = [(writer.task, growth) for writer, _ in asked for growth in writer.growing]
        logits = [logits_TV.expand(len(writer.growing), -1) for writer, logits_TV in asked]
        choices = iter(choose(growing, torch.cat(logits)))
        events: list[list[Event]] = []
        for writer, _ in asked:
            events.append([event for growth in writer.growing for event in writer.add(growth, next(choices))])
            writer._drop_ended()
        return events

    def cancel(self) -> list[Event]:
        """Ends those that grow."""
        events: list[Event] = [growth.reply.finish(FinishReason.CANCELLED, self.stats) for growth in self.growing]
        self._ended += self.growing
        self.growing = []
        return events

    def best_slot(self) -> int:
        """Of the most probable reply."""
        return max([*self._ended, *self.growing], key=lambda growth: growth.reply.sum_logprob).slot

    def add(self, growth: Growth, choice: Choice | None) -> Iterator[Event]:
        """A chosen token; none ends the reply."""
        if choice is None:
            yield growth.reply.finish(FinishReason.DEAD_END, self.stats)
            return
        yield growth.reply.add(choice.token_id, choice.logprob, choice.top)
        yield from growth.reply.end_where_due(self.task, self.stats)
        if growth.seen is not None:
            growth.seen[choice.token_id] = True
        if self.task.constraint is not None and growth.reply.is_live:
            growth.state = self.task.constraint.advance(growth.state, choice.token_id)

    def _drop_ended(self) -> None:
        rows = [row for row, growth in enumerate(self.growing) if growth.reply.is_live]
        if len(rows) < len(self.growing):
            self._ended += [growth for growth in self.growing if not growth.reply.is_live]
            self.growing = [self.growing[row] for row in rows]
            self.mask = self.mask[rows]


def choose(growing: Sequence[tuple[Task, Growth]], logits_NV: Tensor) -> list[Choice | None]:
    """A token for each reply, all of the same config; None where none is allowed."""
    config = growing[0][0].config
    contexts = [_context(*each) for each in growing] if uses_history(config) else []
    processed = process_logits(logits_NV, config, contexts)
    if config.is_sampling:
        chances = [chance_of(task.chances, growth.reply.index, len(growth.reply.token_ids)) for task, growth in growing]
        tokens = draw(processed, chances)
    else:
        tokens = choose_likeliest(processed)
    logprobs_NV = logits_NV.log_softmax(dim=-1)  # logsumexp would add a row that is alone in another order
    logprobs = logprobs_NV.gather(1, tokens[:, None]).squeeze(1).tolist()
    tops = [likeliest(row, config.logprobs) for row in logprobs_NV] if config.logprobs else [()] * len(growing)
    choices: list[Choice | None] = [Choice(*each) for each in zip(tokens.tolist(), logprobs, tops, strict=True)]
    if config.is_constrained:
        is_open = (processed > -torch.inf).any(dim=-1).tolist()
        return [choice if is_open[row] else None for row, choice in enumerate(choices)]
    return choices


def _context(task: Task, growth: Growth) -> RowContext:
    ids = [*task.prompt_ids, *growth.reply.token_ids]
    return RowContext(
        ids, len(task.prompt_ids), task.eos_token_ids, growth.seen, constraint=task.constraint, state=growth.state
    )
