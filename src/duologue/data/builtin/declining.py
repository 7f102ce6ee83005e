"""What a small model without eyes, clock or network cannot do, or should not: a polite no, and what helps instead.

Difficulty: under twenty kinds in each language, one fixed reply to each; names of people, towns and things vary and do
not matter, and the kinds share them, so the kind must be read from the rest of the sentence.
Held out: the kind with the words it is put in, the frame or opening around them, and the names that fill the slots.
"""

from __future__ import annotations

import random

from duologue.data.builtin.material.requests import draw_request
from duologue.data.builtin.skill import Exchange, Language


def draw(rng: random.Random, lang: Language) -> Exchange:
    """One request to decline, and the reply that declines it."""
    return draw_request("declining", rng, lang)
