"""A fact that users tell about themselves, and the sentences around it."""

from __future__ import annotations

import random
from dataclasses import dataclass

from duologue.data.builtin.personal_fact_wordings import ATTRIBUTES, TOPICS
from duologue.data.builtin.skill import Language, pick_wording


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing told: a topic and the values that it fills.

    Attributes:
        topic: what it is about: ``name``, ``pet``, ...
        values: pairs of attribute and value; a pet has two of them, all other topics one.
    """

    topic: str
    values: tuple[tuple[str, str], ...]

    def value_of(self, attribute: str) -> str:
        """What was told about that attribute."""
        return dict(self.values)[attribute]


def draw_fact(rng: random.Random, lang: Language, topic: str) -> Fact:
    """One fact about that topic."""
    attributes = TOPICS[lang][topic].attributes
    return Fact(topic, tuple((name, rng.choice(ATTRIBUTES[lang][name].values)) for name in attributes))


def facts(rng: random.Random, lang: Language, count: int) -> tuple[Fact, ...]:
    """That many facts, each about another topic."""
    return tuple(draw_fact(rng, lang, topic) for topic in rng.sample(sorted(TOPICS[lang]), count))


def told(rng: random.Random, lang: Language, fact: Fact) -> tuple[str, str]:
    """The fact in one of the user's many wordings, and the acknowledgement, which has one only."""
    return pick_wording(rng, TOPICS[lang][fact.topic].statements, **dict(fact.values)), acknowledged(lang, fact)


def acknowledged(lang: Language, fact: Fact) -> str:
    """What the assistant says when it is told the fact."""
    return TOPICS[lang][fact.topic].acknowledgement.format(**dict(fact.values))


def asked(lang: Language, fact: Fact, attribute: str, wording: int) -> tuple[str, str]:
    """The question for an attribute of the fact in that wording, and its answer."""
    sought = ATTRIBUTES[lang][attribute]
    return sought.questions[wording], sought.answer.format(**{attribute: fact.value_of(attribute)})
