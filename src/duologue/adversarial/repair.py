"""Dialogues in which something goes wrong and is put right, made of what the model itself has said.

- An objection to a wrong answer of its own: the right one follows. To a right one: it is kept.
- A reply that begins wrong, as the model began it, and goes on right: loss from the repair on.
- A question of which too little is left: the reply asks back.

What was wrong carries no loss. An open question has many right replies, so that a reply is called wrong only where it
is much like the right one.

Source: Kumar et al. 2024, arXiv:2409.12917 (others' mistakes teach little, one's own do); Ye et al. 2024,
arXiv:2408.16293 (a mistake followed at once by its repair).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from duologue.adversarial.draws import Draws
from duologue.adversarial.policy import digest_of
from duologue.adversarial.text_view import language_of
from duologue.conversation import Conversation, Message, Role, normalise

# An objection is one of each: how it opens, what it says, what it asks for. So many that none is learned by heart.
OBJECTIONS = {
    "en": (
        ("", "", "No. ", "No, ", "Hmm, ", "Wait, ", "Sorry, but ", "Really? ", "Well, ", "Hold on, ", "Excuse me, ",
         "To be honest, "),
        ("that is wrong", "that is not right", "that can't be right", "I think that is wrong", "I don't believe that",
         "that is false", "your answer is wrong", "you got it wrong", "that does not look correct", "I doubt it",
         "you mixed something up", "that is incorrect", "I don't agree", "it seems wrong to me", "you are wrong",
         "you are wrong about that", "you slipped up", "you went wrong somewhere", "your reply has an error",
         "there is an error in what you said", "something is off in your answer", "your answer is not quite right",
         "you said something false", "I know better", "I learned it differently", "you misread my question"),
        (".", ".", ". Try again.", ". Please check again.", ". Say it again.", ". Are you sure?", ", is it?",
         ". Think once more.", ". Look again, please.", ". So what is the answer?", ", I think.", " there.",
         ", I fear.", ", to be frank.", " this time.", ", sorry."),
    ),
    "zh": (
        ("", "", "不，", "嗯，", "等等，", "可是，", "真的吗？", "不是吧，", "抱歉，", "说实话，", "哎，"),
        ("你说错了", "这不对", "这是错的", "我想这错了", "这不可能对", "我不信", "你弄错了", "这个不正确",
         "好像不太对", "我不同意", "你答错了", "应该不是这样", "你搞错了", "你记错了", "这里有个错误", "你的回答有误",
         "我学的不是这样", "这个答案不准确", "你看错我的问题了", "哪里出错了吧", "这说法不成立"),
        ("。", "。", "。再想想。", "。请再说一遍。", "，你确定吗？", "，再检查一下。", "。到底是什么？",
         "，请重新回答。", "吧？", "，正确的呢？"),
    ),
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
LIKE = 0.5  # of the characters of a wrong reply and the right one are the same, at least
FEWEST_KEPT = 0.5  # of right answers are objected to where few are wrong


@dataclass(frozen=True, slots=True)
class Attempt:
    """A dialogue that ends with the right reply, and what the model said in its place."""

    row: Conversation
    said: str

    @property
    def is_right(self) -> bool:
        """Whether the model said the same."""
        return normalise(self.said) == normalise(self.row.messages[-1].content)

    @property
    def is_wrong(self) -> bool:
        """Whether what the model said was meant to be the same, and is not."""
        said, right = normalise(self.said), normalise(self.row.messages[-1].content)
        return said != right and SequenceMatcher(None, said, right, autojunk=False).ratio() >= LIKE


def repair_rows(attempts: list[Attempt], *, seed: int) -> Iterator[Conversation]:
    """Dialogues with repairs: as many objections to right answers as to wrong ones, or more where few are wrong."""
    wrong = [one for one in attempts if one.is_wrong]
    right = [one for one in attempts if one.is_right]
    for number, attempt in enumerate(wrong):
        draws = Draws(seed, "repair", number, digest_of(attempt.row))
        recovered = recovery(attempt, draws) if draws.is_below(RECOVERY_SHARE) else None
        yield recovered or objection(attempt, draws)
    for number in range(min(len(right), max(len(wrong), round(FEWEST_KEPT * len(right))))):
        yield objection(right[number], Draws(seed, "keep", number, digest_of(right[number].row)))


def objection(attempt: Attempt, draws: Draws) -> Conversation:
    """The model's own reply, learned where it is right; an objection, and the right reply."""
    *before, right = attempt.row.messages
    lang = language_of(attempt.row.text)
    said = Message(Role.ASSISTANT, attempt.said, weight=int(attempt.is_right))
    unlearned = tuple(replace(message, weight=0) for message in before)
    return replace(attempt.row, messages=(*unlearned, said, Message(Role.USER, wording(lang, draws)), right))


def wording(lang: str, draws: Draws) -> str:
    """An objection in a language."""
    said = "".join(draws.pick(parts) for parts in OBJECTIONS[lang])
    return said[:1].upper() + said[1:]


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
