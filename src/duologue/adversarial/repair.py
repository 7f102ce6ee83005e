"""Dialogues in which something goes wrong and is put right, made of what the model itself has said.

- An objection to a wrong answer of its own: the right one follows. To a right one: it is kept.
- A reply that begins wrong, as the model began it, and goes on right: loss from the repair on.
- A question of which too little is left: the reply asks back.

What was wrong carries no loss.

Source: Kumar et al. 2024, arXiv:2409.12917 (others' mistakes teach little, one's own do); Ye et al. 2024,
arXiv:2408.16293 (a mistake followed at once by its repair).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from duologue.adversarial.draws import Draws
from duologue.adversarial.policy import digest_of
from duologue.adversarial.text_view import language_of
from duologue.conversation import Conversation, Message, Role, normalise

OBJECTIONS = {
    "en": ("No, that is wrong.", "That is not right.", "Are you sure? I think that is wrong.", "Wrong. Try again.",
           "I don't believe that.", "Hmm, that can't be right."),
    "zh": ("不对，你说错了。", "这不对。", "你确定吗？我觉得错了。",
           "错了，再想想。", "我不信。", "嗯，这不可能对吧。"),
}  # fmt: skip
TURNS_BACK = {
    "en": (" - no, sorry: ", "... wait, no. ", " Sorry, I mean: "),
    "zh": ("……不对，应该是：", "，等等，不是。", "，说错了："),
}
ASKS_BACK = {
    "en": "Sorry, I cannot make that out. Could you write it again?",
    "zh": "抱歉，我没看懂。你能再说一遍吗？",
}
KEPT_OF_QUESTION = 0.15  # of its words or characters, where too little is left
MOST_OF_SLIP = 40  # characters of a wrong beginning
RECOVERY_SHARE = 0.3  # of wrong answers are put right in the same turn


@dataclass(frozen=True, slots=True)
class Attempt:
    """A dialogue that ends with the right reply, and what the model said in its place."""

    row: Conversation
    said: str

    @property
    def is_right(self) -> bool:
        """Whether the model said the same."""
        return normalise(self.said) == normalise(self.row.messages[-1].content)


def repair_rows(attempts: list[Attempt], *, seed: int) -> Iterator[Conversation]:
    """Dialogues with repairs: as many objections to right answers as to wrong ones, as far as there are both."""
    wrong = [one for one in attempts if not one.is_right and one.said.strip()]
    right = [one for one in attempts if one.is_right]
    for number, attempt in enumerate(wrong):
        draws = Draws(seed, "repair", number, digest_of(attempt.row))
        recovered = recovery(attempt, draws) if draws.is_below(RECOVERY_SHARE) else None
        yield recovered or objection(attempt, draws)
    for number in range(min(len(right), max(len(wrong), len(right) // 4))):
        yield objection(right[number], Draws(seed, "keep", number, digest_of(right[number].row)))


def objection(attempt: Attempt, draws: Draws) -> Conversation:
    """The model's own reply, an objection, and the right reply."""
    *before, right = attempt.row.messages
    wording = draws.pick(OBJECTIONS[language_of(attempt.row.text)])
    said = Message(Role.ASSISTANT, attempt.said, weight=0)
    unlearned = tuple(replace(message, weight=0) for message in before)
    return replace(attempt.row, messages=(*unlearned, said, Message(Role.USER, wording), right))


def recovery(attempt: Attempt, draws: Draws) -> Conversation | None:
    """The right reply after a wrong beginning of the model's own; None where it has none that is short."""
    *before, right = attempt.row.messages
    begin = _first_difference(attempt.said, right.content)
    end = begin + 1 + draws.below(12)
    slip = attempt.said[: min(end, MOST_OF_SLIP)]
    if len(slip) <= begin:
        return None
    back = draws.pick(TURNS_BACK[language_of(right.content)])
    reply = Message(Role.ASSISTANT, slip + back + right.content, loss_from=len(slip))
    return replace(attempt.row, messages=(*(replace(message, weight=0) for message in before), reply))


def asking_back(row: Conversation, draws: Draws) -> Conversation | None:
    """A dialogue whose last question is nearly gone, so that only asking back is right; None where it is short."""
    *before, asked, _ = row.messages
    lang = language_of(asked.content)
    units = list(asked.content) if lang == "zh" else asked.content.split()
    kept = max(1, round(KEPT_OF_QUESTION * len(units)))
    if len(units) < 4 * kept:
        return None
    places = sorted(draws.some(len(units), kept))
    left = ("" if lang == "zh" else " ").join(units[place] for place in places)
    unlearned = tuple(replace(message, weight=0) for message in before)
    reply = Message(Role.ASSISTANT, ASKS_BACK[lang])
    return replace(row, messages=(*unlearned, replace(asked, content=left), reply))


def _first_difference(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))
