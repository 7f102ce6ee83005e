"""The built-in corpus itself: skills mixed into dialogues, for training, for validation and for the test.

Training dialogues are made of combinations that the test does not ask for (see skill.py); validation and test dialogues
hold nothing but held-out ones where a skill has them. About half of the dialogues have several turns.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

from duologue.conversation import Conversation, Message, Role
from duologue.data.builtin import (
    arithmetic,
    clarification,
    correction,
    declining,
    facts,
    greeting,
    identity,
    sorting,
    spelling,
    units,
    weekdays,
)
from duologue.data.builtin.recall import DISTANCES, RecallDialogue, recall_dialogue, untold_dialogue
from duologue.data.builtin.skill import LANGUAGES, Draw, Language, draw_from
from duologue.errors import ConfigError

SOURCE = "builtin"
RECALL = "recall"

# How often each skill is drawn. Those with more to learn come more often; small talk stays a small part.
SKILLS: dict[str, tuple[Draw, float]] = {
    "arithmetic": (arithmetic.draw, 2.0),
    "spelling": (spelling.draw, 2.6),
    "sorting": (sorting.draw, 2.0),
    "weekdays": (weekdays.draw, 1.5),
    "units": (units.draw, 1.3),
    "facts": (facts.draw, 1.6),
    "clarification": (clarification.draw, 0.7),
    "declining": (declining.draw, 0.7),
    "identity": (identity.draw, 0.7),
    "correction": (correction.draw, 0.8),
    "greeting": (greeting.draw, 0.5),
}
UNCHECKED = ("greeting",)
KINDS = ("single", "mixed", RECALL)
KIND_SHARES = (0.46, 0.34, 0.20)
MAX_MIXED_EXCHANGES = 4
FILLER_TOKENS = 14  # about as many in an exchange, so that a talk of 16 turns fits a context of 512
UNTOLD_SHARE = 0.08
MAX_REPEATED = 5_000  # draws in a row that bring nothing new

Exchange = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TestItem:
    """A question of the test and its right answers.

    Attributes:
        conversation: ends with the user's question.
        answers: replies that count as right, the reference first.
        distance: for recall, user turns since the answer was told.
    """

    __test__ = False  # pytest: not a test class

    conversation: Conversation
    skill: str
    answers: tuple[str, ...]
    distance: int | None = None

    def to_dict(self) -> dict[str, object]:
        """The item as JSON: a conversation with ``skill``, ``answers`` and ``distance`` beside its messages."""
        fields = {"skill": self.skill, "answers": list(self.answers), "distance": self.distance}
        return self.conversation.to_dict() | {name: value for name, value in fields.items() if value is not None}


def builtin_dialogues(
    *, num_dialogues: int, seed: int, split: Literal["train", "valid"] = "train"
) -> Iterator[Conversation]:
    """Distinct dialogues, English and Chinese in turn, with answers; the same for the same arguments."""
    rng = random.Random(f"{seed}/{split}")
    seen: set[Exchange] = set()
    while len(seen) < num_dialogues:
        lang = LANGUAGES[len(seen) % len(LANGUAGES)]
        conversation = Conversation.of(*_distinct_turns(rng, lang, split == "valid", seen), lang=lang)
        yield Conversation(conversation.messages, f"{split}-{len(seen)}", SOURCE, lang)


def builtin_test(*, items_per_skill: int, seed: int) -> Iterator[TestItem]:
    """The checkable test: for each skill and language, distinct questions that no training dialogue asks."""
    for lang in LANGUAGES:
        rng = random.Random(f"{seed}/test/{lang}")
        for skill, (draw, _) in SKILLS.items():
            if skill not in UNCHECKED:
                yield from _distinct(partial(_skill_item, rng, lang, skill, draw), items_per_skill)
        for distance in DISTANCES:
            share = -(-items_per_skill // len(DISTANCES))
            yield from _distinct(partial(_recall_item, rng, lang, distance), share)


def _distinct_turns(rng: random.Random, lang: Language, held_out: bool, seen: set[Exchange]) -> Exchange:
    while True:
        turns = _draw_turns(rng, lang, held_out)
        if turns not in seen:
            seen.add(turns)
            return turns


def _draw_turns(rng: random.Random, lang: Language, held_out: bool) -> Exchange:
    kind = rng.choices(KINDS, KIND_SHARES)[0]
    if kind == RECALL:
        return _recall(rng, lang, _draw_distance(rng), held_out).turns
    count = 1 if kind == "single" else rng.randint(2, MAX_MIXED_EXCHANGES)
    return tuple(turn for _ in range(count) for turn in _draw_exchange(rng, lang, held_out))


def _draw_exchange(rng: random.Random, lang: Language, held_out: bool) -> Exchange:
    skill = rng.choices(list(SKILLS), [weight for _, weight in SKILLS.values()])[0]
    return draw_from(skill, SKILLS[skill][0], rng, lang, held_out=held_out).turns


def _draw_distance(rng: random.Random) -> int:
    """1 to 16, near ones more often: each doubling of the distance is as likely as the one before."""
    return min(DISTANCES[-1], int(2 ** rng.uniform(0, 4.2)))


def _recall(rng: random.Random, lang: Language, distance: int, held_out: bool) -> RecallDialogue:
    make = untold_dialogue if rng.random() < UNTOLD_SHARE else recall_dialogue
    return make(rng, lang, _filler(lang), distance, held_out)


def _filler(lang: Language) -> Callable[[random.Random], tuple[str, str]]:
    """Draws short exchanges of two turns from the training side of any skill."""

    def draw(rng: random.Random) -> tuple[str, str]:
        while True:
            turns = _draw_exchange(rng, lang, held_out=False)
            if len(turns) == 2 and _num_tokens("".join(turns)) <= FILLER_TOKENS:
                return turns[0], turns[1]

    return draw


def _num_tokens(text: str) -> float:
    """A guess: four Latin letters, one and a half Chinese characters, one digit or mark make a token."""
    letters = sum(character.isascii() and character.isalpha() for character in text)
    chinese = sum(not character.isascii() and character.isalpha() for character in text)
    return letters / 4 + chinese / 1.5 + sum(not (character.isalpha() or character.isspace()) for character in text)


def _skill_item(rng: random.Random, lang: Language, skill: str, draw: Draw) -> TestItem:
    exchange = draw_from(skill, draw, rng, lang, held_out=True)
    return _item(exchange.turns, lang, skill, exchange.accepted)


def _recall_item(rng: random.Random, lang: Language, distance: int) -> TestItem:
    dialogue = _recall(rng, lang, distance, True)
    return _item(dialogue.turns, lang, RECALL, (), distance)


def _item(turns: Exchange, lang: Language, skill: str, accepted: tuple[str, ...], distance: int | None = None) -> TestItem:
    *asked, reply = turns
    conversation = Conversation(Conversation.of(*asked).messages, None, f"{SOURCE}/{skill}", lang)
    return TestItem(conversation, skill, (reply, *accepted), distance)


def _distinct(draw: Callable[[], TestItem], count: int) -> Iterator[TestItem]:
    seen: set[tuple[Message, ...]] = set()
    num_repeated = 0
    while len(seen) < count:
        item = draw()
        if item.conversation.messages not in seen:
            seen.add(item.conversation.messages)
            num_repeated = 0
            yield item
        elif (num_repeated := num_repeated + 1) == MAX_REPEATED:
            raise ConfigError(f"{count} items a skill: {item.skill} has only about {len(seen)}; ask for fewer")


def reference(item: TestItem) -> Conversation:
    """The item with its right answer, as a dialogue."""
    return item.conversation.says(Role.ASSISTANT, item.answers[0])
