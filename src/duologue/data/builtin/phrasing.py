"""How people put a sentence: an opening, a wording and an ending, said properly or in passing."""

from __future__ import annotations

import random
from collections.abc import Sequence

from duologue.data.builtin.skill import Language

CASUAL_SHARE = 0.3
SENTENCE_ENDS = ("! ", ". ", "? ")


def compose(rng: random.Random, openings: Sequence[str], wordings: Sequence[str], endings: Sequence[str]) -> str:
    """One of each, joined; English begins its sentences with a capital letter."""
    opening, wording, ending = rng.choice(openings), rng.choice(wordings), rng.choice(endings)
    if not opening or opening.endswith(SENTENCE_ENDS):
        wording = capitalized(wording)
    return opening + wording + ending


def capitalized(text: str) -> str:
    """The text with its first letter, and no other, made a capital."""
    return text[:1].upper() + text[1:]


def sometimes_casual(rng: random.Random, text: str, lang: Language) -> str:
    """The text as it is or, at times, as people type it in passing: lower case, no full stop or question mark."""
    if rng.random() >= CASUAL_SHARE:
        return text
    casual = text.lower() if lang == "en" else text
    return casual.rstrip(".?!。？！") if rng.random() < 0.7 else casual


def bare(text: str) -> str:
    """The letters of the text alone, in lower case: the same however casually it was typed."""
    return "".join(letter for letter in text.lower() if letter.isalnum())
