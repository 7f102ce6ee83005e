"""What an attack may not do, beside touching what is protected: each is asked of a dialogue with its changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from duologue.adversarial.dialogue import HarderDialogue
from duologue.adversarial.normaliser import normalise_text
from duologue.adversarial.text_view import TextView
from duologue.conversation import Conversation

Constraint = Callable[[HarderDialogue], bool]


@dataclass(frozen=True)
class MaxEditRate:
    """At most so many edits in a turn, as a share of its words (Chinese: characters); one is always allowed."""

    rate: float

    def __call__(self, harder: HarderDialogue) -> bool:
        """Whether it holds in all turns."""
        return all(self._holds(harder.clean, turn, len(edits)) for turn, edits in harder.changes.edits.items())

    def _holds(self, clean: Conversation, turn: int, num_edits: int) -> bool:
        view = TextView(clean.messages[turn].content)
        return num_edits <= max(1, self.rate * (view.num_words + view.num_hanzi))


@dataclass(frozen=True)
class MaxTokenGrowth:
    """At most so many more tokens, as a share of those of the users' turns, so that nothing is pushed out of sight.

    Attributes:
        num_tokens: counts the tokens of a text.
    """

    share: float
    num_tokens: Callable[[str], int]

    def __call__(self, harder: HarderDialogue) -> bool:
        """Whether it holds for the dialogue as a whole."""
        before = sum(self.num_tokens(message.content) for message in harder.clean.messages)
        after = sum(self.num_tokens(message.content) for message in harder.conversation.messages)
        return after <= before * (1 + self.share)


def survives_normaliser(harder: HarderDialogue) -> bool:
    """Whether something is left of the changes once the text is normalised: the rest needs no model."""
    clean = [normalise_text(message.content) for message in harder.clean.messages]
    return clean != [normalise_text(message.content) for message in harder.conversation.messages]


@dataclass(frozen=True)
class Answerable:
    """Enough is left of what was asked: by how much the question still helps a model to foretell the right reply.

    The share kept is (without question - with the noisy one) / (without question - with the clean one), in bits.

    Attributes:
        bits_of: the bits of the reply to a dialogue's last question.
        least: the share below which the old answer is no longer asked for.
    """

    bits_of: Callable[[Conversation], float]
    least: float = 0.7

    def __call__(self, harder: HarderDialogue) -> bool:
        """Whether it holds; also where the question never helped, since then nothing can be told."""
        return kept_share(self.bits_of, harder) >= self.least


def kept_share(bits_of: Callable[[Conversation], float], harder: HarderDialogue) -> float:
    """The share of what the question told about the reply that the noise has left."""
    without, clean, noisy = (bits_of(row) for row in (last_reply_alone(harder), harder.clean, harder.conversation))
    return (without - noisy) / (without - clean) if without > clean else 1.0


def last_reply_alone(harder: HarderDialogue) -> Conversation:
    """The last reply, to an empty question."""
    asked, said = harder.clean.messages[-2:]
    return Conversation((type(asked)(asked.role, ""), said), harder.clean.id, harder.clean.source, harder.clean.lang)
