"""What an attacker can want of a model: a right reply that becomes unlikely, a wrong answer, a reply of his own.

Shapes: T time, M model width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from duologue.conversation import Conversation, Message, Role
from duologue.data.builtin.dialogues import TestItem
from duologue.evaluation.exact_match import Replier, exact_match
from duologue.evaluation.likelihood import score_rows
from duologue.tokenizer.encode_conversation import NO_LOSS, encode_conversation, turn_frame
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.transformer.attention import document_mask, masked_attention
from duologue.transformer.model import Transformer


def only_last_reply(row: Conversation) -> Conversation:
    """The dialogue with loss on its last turn alone."""
    *before, last = row.messages
    return replace(row, messages=(*(replace(message, weight=0) for message in before), replace(last, weight=1)))


@dataclass(frozen=True)
class ResponseLoss:
    """The right reply becomes unlikely: bits per byte of a dialogue's last turn."""

    model: Transformer
    tokenizer: Tokenizer

    def scores(self, dialogues: Sequence[Conversation]) -> list[float]:
        """Bits per byte of each last turn."""
        sizes = (max(1, len(row.messages[-1].content.encode())) for row in dialogues)
        return [bits / size for bits, size in zip(self.bits(dialogues), sizes, strict=True)]

    def bits(self, dialogues: Sequence[Conversation]) -> list[float]:
        """Bits of each last turn."""
        rows = map(only_last_reply, dialogues)
        return [likelihood.bits for _, likelihood in score_rows(self.model, self.tokenizer, rows)]

    def saliency(self, dialogue: Conversation, turn: int) -> list[float]:
        """How much each character of a turn matters: |gradient x embedding| of the token that it is in.

        Source: Yoo and Qi 2021, arXiv:2109.00544, section 3.1; Ebrahimi et al. 2018, arXiv:1712.06751.
        """
        encoded = encode_conversation(self.tokenizer, only_last_reply(dialogue))
        ids, labels = encoded.input_ids[:-1], encoded.labels[1:]
        said, text = self._said(encoded.input_ids, turn, len(dialogue.messages)), dialogue.messages[turn].content
        if len(ids) > self.model.config.max_position_embeddings or said is None:
            return [1.0] * len(text)
        by_token = self._by_token(ids, labels)[slice(*said)]
        weights: list[float] = []
        for token, weight in zip(encoded.input_ids[slice(*said)], by_token, strict=True):
            weights += [weight] * len(self.tokenizer.token_bytes(token))  # for each byte
        starts = _byte_places(text)
        return [weights[place] if place < len(weights) else 0.0 for place in starts]

    def _said(self, ids: list[int], turn: int, num_turns: int) -> tuple[int, int] | None:
        """Where a user's turn stands among the tokens, without its frame; None where the template has another one."""
        user = turn_frame(self.tokenizer, Role.USER)[0]
        starts = [place for place, token in enumerate(ids) if token == self.tokenizer.start_of_turn_id]
        if len(starts) < num_turns:
            return None
        begin = starts[turn + len(starts) - num_turns]  # the template may put a system message first
        if ids[begin : begin + len(user)] != user:
            return None
        return begin + len(user), ids.index(self.tokenizer.end_of_turn_id, begin)

    def _by_token(self, ids: list[int], labels: list[int]) -> list[float]:
        caught: list[Tensor] = []

        def catch(module, inputs, output):
            caught.append(output.detach().requires_grad_())
            return caught[0]

        device = self.model.output_weight.device
        hook = self.model.model.embed_tokens.register_forward_hook(catch)
        try:
            with torch.enable_grad():
                ids_1T, places_1T = torch.tensor([ids], device=device), torch.arange(len(ids), device=device)[None]
                mask = document_mask(torch.zeros_like(places_1T), self.model.output_weight.dtype)
                hidden_1TM = self.model.hidden(ids_1T, places_1T, masked_attention(mask))
                kept = torch.tensor([label != NO_LOSS for label in labels], device=device)
                wanted = torch.tensor([label for label in labels if label != NO_LOSS], device=device)
                loss = torch.nn.functional.cross_entropy(self.model.logits(hidden_1TM[0, kept]).float(), wanted)
                (gradient,) = torch.autograd.grad(loss, caught[0])
        finally:
            hook.remove()
        return (gradient * caught[0]).sum(-1).abs()[0].float().tolist()


@dataclass(frozen=True)
class ResponseMargin:
    """A corrupted reply becomes more likely than the right one: bits of the right one, less those of the other.

    Attributes:
        corrupted: gives, for a right reply, the other one.
    """

    loss: ResponseLoss
    corrupted: dict[str, str]

    def scores(self, dialogues: Sequence[Conversation]) -> list[float]:
        """Above zero the corrupted reply is the likelier one."""
        others = [_replying(row, self.corrupted[row.messages[-1].content]) for row in dialogues]
        return [right - wrong for right, wrong in zip(self.loss.bits(dialogues), self.loss.bits(others), strict=True)]

    def saliency(self, dialogue: Conversation, turn: int) -> list[float]:
        """That of the right reply."""
        return self.loss.saliency(dialogue, turn)


@dataclass(frozen=True)
class Targeted:
    """The model begins its reply as the attacker wants: bits of that beginning, taken as negative."""

    loss: ResponseLoss
    prefix: str

    def scores(self, dialogues: Sequence[Conversation]) -> list[float]:
        """Nearer to zero is better for the attacker."""
        return [-bits for bits in self.loss.bits([_replying(row, self.prefix) for row in dialogues])]

    def saliency(self, dialogue: Conversation, turn: int) -> list[float]:
        """That of the beginning."""
        return self.loss.saliency(_replying(dialogue, self.prefix), turn)


@dataclass(frozen=True)
class MatchDrop:
    """The greedy reply is no longer one of the right answers.

    Attributes:
        answers: the right answers to a dialogue's reference reply.
    """

    engine: Replier
    loss: ResponseLoss
    answers: dict[str, tuple[str, ...]]

    def scores(self, dialogues: Sequence[Conversation]) -> list[float]:
        """1 where the reply is wrong, else 0."""
        items = [
            TestItem(replace(row, messages=row.messages[:-1]), "", self.answers[row.messages[-1].content])
            for row in dialogues
        ]
        return [float(not verdict.is_right) for verdict in exact_match(self.engine, items).verdicts]

    def saliency(self, dialogue: Conversation, turn: int) -> list[float]:
        """That of the right reply."""
        return self.loss.saliency(dialogue, turn)


def _replying(row: Conversation, reply: str) -> Conversation:
    return replace(row, messages=(*row.messages[:-1], Message(Role.ASSISTANT, reply)))


def _byte_places(text: str) -> list[int]:
    """Where in UTF-8 each character begins."""
    places, at = [], 0
    for character in text:
        places.append(at)
        at += len(character.encode("utf-8", "surrogatepass"))
    return places
