"""Prompt lookup: guesses the next tokens from what was said before, and checks all guesses in one step.

A reply often repeats what stands in the prompt. Where its last tokens stood before, the tokens that followed there are
run as further rows. What the model would have chosen decides: as many guesses are kept as it would have chosen itself,
so the reply is the same, token for token, also where tokens are drawn by chance.

Source: Saxena 2023, "Prompt Lookup Decoding"; Leviathan et al. 2023, section 2, arXiv:2211.17192.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from duologue.generation.events import Event
from duologue.generation.replies import Growth, Replies, choose
from duologue.generation.rows import Rows

LONGEST, SHORTEST = 3, 2  # tokens in a row that have to stand there before


class LookupReply(Replies):
    """One reply, several tokens a step where the guesses are right."""

    _drafts: list[int]

    @property
    def num_rows(self) -> int:
        """The newest token and as many guesses as are asked for."""
        return len(self.growing) and 1 + self._most_guesses

    def rows(self) -> Rows:
        """The newest token, then the guesses, each seeing those before."""
        (growth,) = self.growing
        self._drafts = guess([*self.task.prompt_ids, *growth.reply.token_ids], self._most_guesses)
        rows = self.tree.chain(growth.slot, self.mask, [growth.reply.token_ids[-1], *self._drafts])
        self._slots = list(rows.slots)
        growth.slot, self.mask = self._slots[0], rows.mask
        return rows

    @classmethod
    def take(cls, asked: Sequence[tuple[Self, Tensor]]) -> list[list[Event]]:
        """Tokens for each, as long as they are what was guessed."""
        return [writer._take(logits_TV) for writer, logits_TV in asked]

    @property
    def _most_guesses(self) -> int:
        room = self.task.max_new_tokens - len(self.growing[0].reply.token_ids) - 1
        return max(0, min(self.task.config.prompt_lookup_num_tokens, room))

    def _take(self, logits_TV: Tensor) -> list[Event]:
        (growth,) = self.growing
        events: list[Event] = []
        drafts = [] if not growth.reply.token_ids else self._drafts
        for row, logits_V in enumerate(logits_TV):
            (choice,) = choose([(self.task, growth)], logits_V[None])
            events += self.add(growth, choice)
            if not growth.reply.is_live or row == len(drafts) or choice is None or choice.token_id != drafts[row]:
                break
        if drafts:
            self._keep(growth, row)
        self._drop_ended()
        return events

    def _keep(self, growth: Growth, num_right: int) -> None:
        """Keeps the slots of the right guesses and gives those of the wrong ones back."""
        growth.slot = self._slots[num_right]
        self.tree.hold(growth.slot)
        self.tree.release(self._slots[-1])
        self.mask = self.mask[num_right : num_right + 1]
        self.stats.guessed_tokens += num_right


def guess(token_ids: Sequence[int], count: int) -> list[int]:
    """What followed the last tokens where they stood before: the longest run of them, the latest place of those.

    A place that ``count`` tokens follow is better than a later one: what goes round in a circle is guessed far ahead.
    """
    if not count:
        return []
    ids = torch.tensor(token_ids)
    for size in range(LONGEST, SHORTEST - 1, -1):
        if len(ids) > size:
            is_same = (ids[:-1].unfold(0, size, 1) == ids[-size:]).all(dim=1)
            places = is_same.nonzero()[:, 0]
            if len(places):
                full = places[places + size + count <= len(ids)]
                first = int(full[-1] if len(full) else places[0]) + size
                return list(token_ids[first : first + count])
    return []
