"""What a skill of the built-in corpus is: a way to draw one exchange after the other, and what the test holds out.

A skill is a function ``draw(rng, lang) -> Exchange``. Each exchange has a *key*: the combination that it asks for,
apart from how it is worded (``add:27+48``), or with the wording where there are few things to ask (``capital:France:3``).
About one key in twelve is held out: it appears in no training dialogue, and the test asks for nothing else. So a model
that only remembers what it saw fails the test, and one that learned the skill passes.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
HELD_OUT_ONE_IN = 12

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Exchange:
    """Something asked and its right answer.

    Attributes:
        key: what is asked; held out from training, or not, as a whole.
        turns: user, assistant, user, assistant, ...; the last one is the reply that the test checks.
        accepted: further replies that are as right as the last turn.
    """

    key: str
    turns: tuple[str, ...]
    accepted: tuple[str, ...] = ()


Draw = Callable[[random.Random, Language], Exchange]


def is_held_out(skill: str, lang: Language, key: str) -> bool:
    """Whether this combination belongs to the test: a pure function of its name."""
    digest = hashlib.blake2b(f"{skill}/{lang}/{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % HELD_OUT_ONE_IN == 0


def draw_from(skill: str, draw: Draw, rng: random.Random, lang: Language, *, held_out: bool) -> Exchange:
    """One exchange from the training side of a skill, or from its held-out side."""
    for _ in range(10_000):
        exchange = draw(rng, lang)
        if is_held_out(skill, lang, exchange.key) == held_out:
            return exchange
    raise AssertionError(f"skill {skill} in {lang} has no {'held-out' if held_out else 'training'} combination")


def pick_wording(rng: random.Random, wordings: Sequence[str], **values: object) -> str:
    """One of several wordings, with the values filled in."""
    return rng.choice(wordings).format(**values)
