"""Requests that lack something, so that the right reply asks back: ``Book a table.`` when, and for how many?

Difficulty: under thirty kinds in each language, one fixed question back to each; the kind shows in one or two words,
but a pronoun stands where a fact, a sum or a translation would name its object, and that must be noticed.
Held out: the kind with the words it is put in, the frame or opening around them, and the pronoun or noun in them.
"""

from __future__ import annotations

import random

from duologue.data.builtin.material.requests import draw_request
from duologue.data.builtin.skill import Exchange, Language


def draw(rng: random.Random, lang: Language) -> Exchange:
    """One request that cannot be met as it is, and the question that it calls for."""
    return draw_request("clarification", rng, lang)
