"""How people wrap what they ask: an opening, a polite frame, thanks, no capitals, no full stop.

Works on sentences whose slots (``{city}``) are not filled in yet, so that only the sentence's own words change case.
"""

from __future__ import annotations

import random
from typing import cast

from duologue.data.builtin.material import read_table
from duologue.data.builtin.skill import Language

OPENED, THANKED, LOWERED, BARE = 0.5, 0.15, 0.2, 0.15


def frames(lang: Language) -> list[str]:
    """Sentences that ask for a deed: ``Could you {deed}?``"""
    return cast(list[str], read_table(f"{lang}/manners.toml")["frames"])


def opening_for(rng: random.Random, lang: Language, sentence: str) -> str:
    """A way to open the sentence, a greeting where it is no question; often none."""
    if rng.random() >= OPENED:
        return ""
    kind = "openings" if sentence.endswith(("?", "？")) else "greetings"
    return cast(str, rng.choice(read_table(f"{lang}/manners.toml")[kind]))


def opened(opening: str, sentence: str) -> str:
    """The sentence after its opening, in lower case where the opening does not end a sentence."""
    return opening + (_without_capital(sentence) if opening.endswith((", ", ": ")) else sentence)


def framed(frame: str, deed: str) -> str:
    """The deed in its frame, with a capital at the start."""
    sentence = frame.replace("{deed}", deed)
    return sentence if sentence.startswith("{") else sentence[0].upper() + sentence[1:]


def finished(rng: random.Random, lang: Language, sentence: str) -> str:
    """The sentence, its slots filled in, as it is typed: with thanks, in small letters, or without its last stop."""
    chance = rng.random()
    if chance < THANKED:
        sentence += rng.choice(read_table(f"{lang}/manners.toml")["endings"])
    elif chance < THANKED + BARE:
        sentence = sentence.rstrip(".?!。？！")
    return sentence.lower() if lang == "en" and rng.random() < LOWERED else sentence


def _without_capital(sentence: str) -> str:
    if sentence.startswith("{A}"):
        return "{a}" + sentence[3:]
    is_pronoun = sentence.startswith(("I ", "I'"))
    return sentence if is_pronoun else sentence[0].lower() + sentence[1:]
