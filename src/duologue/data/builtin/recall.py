"""What the user said earlier, said back when asked for: the dialogues that make a model look into its context.

Difficulty: ten attributes (name, colour, pet, its name, two plans, city, job, food, age), asked for 1 to 16 user turns
after they were told, with other facts and other talk in between; the answer is a copy of some tokens. Copying from far
away has to be learned, so the near distances should be solved nearly always and the far ones less often.
Held out: the attribute with its value and the wording of the question. A held-out dialogue asks once, at its end.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from duologue.data.builtin.personal_fact_wordings import ATTRIBUTES
from duologue.data.builtin.personal_facts import Fact, asked, facts, told
from duologue.data.builtin.skill import Language, is_held_out

Filler = Callable[[random.Random], tuple[str, str]]

DISTANCES = (1, 2, 4, 8, 16)
MAX_OTHER_FACTS = 2
QUESTION_BETWEEN_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class RecallDialogue:
    """A dialogue that ends with a question about what was told in it.

    Attributes:
        turns: user, assistant, user, assistant, ...; the last one is the reply that the test checks.
        distance: user turns from where the fact was told to where it is asked for; 1 = the very next.
        key: ``attribute:value:wording`` of the last question, by which it is held out.
    """

    turns: tuple[str, ...]
    distance: int
    key: str


@dataclass(frozen=True, slots=True)
class _Sought:
    """One question to come: the fact, which attribute of it, and the wording."""

    fact: Fact
    attribute: str
    wording: int

    @property
    def key(self) -> str:
        return f"{self.attribute}:{self.fact.value_of(self.attribute)}:{self.wording}"


def recall_dialogue(
    rng: random.Random, lang: Language, filler: Filler, distance: int, held_out: bool
) -> RecallDialogue:
    """A dialogue in which one to three facts are told and one is asked for at the end, ``distance`` user turns later.

    ``filler`` gives unrelated exchanges for the turns between. Training dialogues (``held_out=False``) may also ask
    for the other facts on the way, and no question in them is a held-out one.
    """
    sought, others = _draw_question(rng, lang, held_out)
    early = [fact for fact in others if distance == 1 or rng.random() < 0.5]
    late = [fact for fact in others if fact not in early][: distance - 1]
    before = [told(rng, lang, fact) for fact in early]
    between = _between(rng, lang, distance - 1, early, late, held_out)
    exchanges = [
        *before,
        told(rng, lang, sought.fact),
        *(exchange or filler(rng) for exchange in between),
        asked(lang, sought.fact, sought.attribute, sought.wording),
    ]
    return RecallDialogue(tuple(turn for exchange in exchanges for turn in exchange), distance, sought.key)


def untold_dialogue(
    rng: random.Random, lang: Language, filler: Filler, distance: int, held_out: bool
) -> RecallDialogue:
    """A dialogue that asks for something never told, after ``distance - 1`` other exchanges; the answer says so.

    Held out by ``attribute:untold:wording``.
    """
    attribute, wording = "", 0
    while not attribute or is_held_out("recall", lang, f"{attribute}:untold:{wording}") != held_out:
        attribute = rng.choice(sorted(ATTRIBUTES[lang]))
        wording = rng.randrange(len(ATTRIBUTES[lang][attribute].questions))
    exchanges = [filler(rng) for _ in range(distance - 1)]
    exchanges.append((ATTRIBUTES[lang][attribute].questions[wording], ATTRIBUTES[lang][attribute].unknown))
    turns = tuple(turn for exchange in exchanges for turn in exchange)
    return RecallDialogue(turns, distance, f"{attribute}:untold:{wording}")


def _draw_question(rng: random.Random, lang: Language, held_out: bool) -> tuple[_Sought, list[Fact]]:
    """A question from the right side, and the other facts of its dialogue."""
    while True:
        fact, *others = facts(rng, lang, 1 + rng.randint(0, MAX_OTHER_FACTS))
        sought = _ask_any(rng, lang, fact)
        if is_held_out("recall", lang, sought.key) == held_out:
            return sought, others


def _ask_any(rng: random.Random, lang: Language, fact: Fact) -> _Sought:
    attribute, _ = rng.choice(fact.values)
    return _Sought(fact, attribute, rng.randrange(len(ATTRIBUTES[lang][attribute].questions)))


def _between(
    rng: random.Random, lang: Language, count: int, early: list[Fact], late: list[Fact], held_out: bool
) -> list[tuple[str, str] | None]:
    """The exchanges between telling and asking; None stands where a filler goes."""
    slots: list[tuple[str, str] | None] = [None] * count
    known = list(early)
    telling = dict(zip(sorted(rng.sample(range(count), len(late))), late, strict=True))
    for place in range(count):
        if place in telling:
            slots[place] = told(rng, lang, telling[place])
            known.append(telling[place])
        elif known and not held_out and rng.random() < QUESTION_BETWEEN_SHARE:
            slots[place] = _training_question(rng, lang, known.pop(rng.randrange(len(known))))
    return slots


def _training_question(rng: random.Random, lang: Language, fact: Fact) -> tuple[str, str]:
    while True:
        sought = _ask_any(rng, lang, fact)
        if not is_held_out("recall", lang, sought.key):
            return asked(lang, fact, sought.attribute, sought.wording)
