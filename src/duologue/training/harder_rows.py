"""Fine-tuning's rows made harder as they are read: tokens back to a dialogue, noise into it, and tokens again.

What carries loss is never touched: turns that stay as they are keep their very tokens.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from duologue.adversarial.policy import Policy
from duologue.conversation import Conversation, Message, Role
from duologue.data.loader import Ints, Marks, Rewrite
from duologue.data.packing import PackingPlan
from duologue.data.shards import Shards
from duologue.tokenizer.encode_conversation import turn_frame
from duologue.tokenizer.tokenizer import Tokenizer

RAMP_STEPS = 100  # in which the noise grows to its strength
SETTLING_SHARE = 0.2  # of the usual share of dialogues, while the learning rate settles
MEASURED_PIECES = 400  # from which it is told how much longer rows become
VARIANT = 1_000_000  # epochs that a run does not reach
SPARE = 1.3  # times that growth is kept free in a row
ROUND = 16  # places of it are a multiple of this


@dataclass(frozen=True, slots=True)
class Hardness:
    """How hard the rows of a step are.

    Attributes:
        scale: how strong the noise is, as a share of the most.
        share: how many dialogues it strikes, as a share of the usual.
        variant: another one is other noise of the same strength.
    """

    scale: float = 1.0
    share: float = 1.0
    variant: int = 0

    @classmethod
    def at(cls, step: int, *, is_settling: bool) -> Hardness:
        """Growing at first; at the end the model sees nearly all dialogues as they are."""
        return cls(min(1.0, (step + 1) / RAMP_STEPS), SETTLING_SHARE if is_settling else 1.0)


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a piece: its place among the tokens, and of what it says."""

    start: int
    end: int
    said: tuple[int, int]
    message: Message


class HarderRows:
    """Rewrites pieces of packed rows by a policy."""

    def __init__(self, policy: Policy, tokenizer: Tokenizer) -> None:
        """For rows in this tokenizer's tokens; ``saliency`` says of each token how much it matters, once known."""
        self.policy, self.tokenizer = policy, tokenizer
        self.saliency: list[float] = []
        frames = {role: turn_frame(tokenizer, role) for role in Role}
        self._heads = {role: head for role, (head, _) in frames.items()}
        self._closing = frames[Role.USER][1]

    def with_policy(self, policy: Policy) -> HarderRows:
        """The same rows by another policy."""
        other = copy.copy(self)
        other.policy = policy
        return other

    def rewriter(self, hardness: Hardness) -> Rewrite:
        """What a loader takes; a piece that would not fit has less noise, or none."""

        def rewrite(tokens: Ints, learned: Marks, start: int, epoch: int, room: int) -> tuple[Ints, Marks]:
            epoch += VARIANT * hardness.variant
            if not self.policy.is_struck(str(start), epoch=epoch, share=hardness.share):
                return tokens, learned
            for part in (1.0, 0.5, 0.25):
                harder = self.harder(tokens, learned, start, epoch, replace(hardness, scale=part * hardness.scale))
                if len(harder[0]) <= len(tokens) + room:
                    return harder
            return tokens, learned

        return rewrite

    def harder(self, tokens: Ints, learned: Marks, start: int, epoch: int, hardness: Hardness) -> tuple[Ints, Marks]:
        """A piece with noise in it, and which of its tokens are learned."""
        turns = list(self._turns(tokens, learned))
        if not turns:
            return tokens, learned
        row = Conversation(tuple(turn.message for turn in turns), id=str(start))
        saliency = (lambda turn: self._by_character(tokens, turns[turn])) if self.saliency else None
        changes = self.policy.harden(
            row, epoch=epoch, scale=hardness.scale, share=hardness.share, saliency=saliency
        ).changes
        if not changes:
            return tokens, learned
        new_tokens, new_marks, at = [], [], 0
        for number, turn in enumerate(turns):
            added = [self._encoded(message) for message in changes.added.get(number, ())]
            edits = changes.edits.get(number, ())
            new_tokens += [tokens[at : turn.start], *added]
            new_marks += [learned[at : turn.start], *(np.zeros(len(ids), dtype=np.uint8) for ids in added)]
            at = turn.start
            if edits:
                ids = np.array(self.tokenizer.encode(changes.text(number, turn.message.content)), dtype=np.int64)
                new_tokens += [tokens[at : turn.said[0]], ids]
                new_marks += [learned[at : turn.said[0]], np.zeros(len(ids), dtype=np.uint8)]
                at = turn.said[1]
        return np.concatenate([*new_tokens, tokens[at:]]), np.concatenate([*new_marks, learned[at:]])

    def dialogue(self, tokens: Ints, learned: Marks) -> Conversation:
        """A piece as text; without turns where it is no dialogue in this template."""
        return Conversation(tuple(turn.message for turn in self._turns(tokens, learned)))

    def _turns(self, tokens: Ints, learned: Marks) -> Iterator[Turn]:
        """The turns of a piece; none where it is not a dialogue in this template."""
        starts = np.flatnonzero(tokens == self.tokenizer.start_of_turn_id).tolist()
        for start, end in pairwise([*starts, len(tokens)]):
            head = next((r for r, ids in self._heads.items() if tokens[start : start + len(ids)].tolist() == ids), None)
            ends = np.flatnonzero(tokens[start:end] == self.tokenizer.end_of_turn_id)
            if head is None or not len(ends):
                return
            said = (start + len(self._heads[head]), start + int(ends[0]))
            text = self.tokenizer.decode(tokens[slice(*said)].tolist())
            yield Turn(start, end, said, Message(head, text, weight=int(learned[start:end].any())))

    def _by_character(self, tokens: Ints, turn: Turn) -> list[float]:
        """How much each character of a turn matters: as much as the token that it begins in."""
        ids = tokens[slice(*turn.said)].tolist()
        by_byte = [self.saliency[token] for token in ids for _ in self.tokenizer.token_bytes(token)]
        places = itertools.accumulate((len(sign.encode()) for sign in turn.message.content), initial=0)
        return [by_byte[place] for place in places if place < len(by_byte)]

    def _encoded(self, message: Message) -> Ints:
        ids = [*self._heads[message.role], *self.tokenizer.encode(message.content), *self._closing]
        return np.array(ids, dtype=np.int64)


def growth(rows: HarderRows, shards: Shards, plan: PackingPlan) -> float:
    """How much longer pieces become on average when noise is strongest, as a share; by some, spread evenly."""
    pieces = range(0, len(plan.starts), max(1, len(plan.starts) // MEASURED_PIECES))
    before = after = 0
    for piece in pieces:
        start, length = int(plan.starts[piece]), int(plan.lengths[piece])
        tokens, learned = shards.tokens[start : start + length].astype(np.int64), shards.learned[start : start + length]
        before += length
        after += len(rows.rewriter(Hardness())(tokens, learned, start, 0, plan.sequence_length + 1 - length)[0])
    return max(0.0, after / max(1, before) - 1)
