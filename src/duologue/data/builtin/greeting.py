"""Small talk: hello, how are you, thanks, bad weather, good night.

Difficulty: twenty-one kinds a language with two fitting replies each, either of which counts; what has to be learned is
the kind of small talk behind some thousands of ways to put it. Easy for a model of this size.
Held out: the kind with its exact words (opening, wording and ending together), properly typed or casually.
"""

from __future__ import annotations

import random

from duologue.data.builtin.greeting_wordings import ENDINGS, OPENINGS, QUESTION_ENDINGS, SMALL_TALK
from duologue.data.builtin.phrasing import bare, compose, sometimes_casual
from duologue.data.builtin.skill import Exchange, Language


def draw(rng: random.Random, lang: Language) -> Exchange:
    """One remark in passing, and a reply that fits it."""
    kind = rng.choice(sorted(SMALL_TALK[lang]))
    talk = SMALL_TALK[lang][kind]
    wording = rng.choice(talk.wordings)
    endings = QUESTION_ENDINGS if wording.endswith(("?", "？")) else ENDINGS
    text = compose(rng, OPENINGS[lang][talk.openings], (wording.rstrip("?？"),), endings[lang])
    reply = rng.choice(talk.replies)
    others = tuple(other for other in talk.replies if other != reply)
    return Exchange(f"{kind}:{bare(text)}", (sometimes_casual(rng, text, lang), reply), others)
