"""Who the model is: its name, its maker, what it can do and what it cannot.

Difficulty: fifteen kinds of question a language, one fixed answer each, so the work is to know the kind from some
thousands of ways to ask; a model of this size should know nearly all of them.
Held out: the kind with its exact words (opening, wording and ending together), properly typed or casually.
"""

from __future__ import annotations

import random

from duologue.data.builtin.identity_wordings import (
    OPENINGS,
    OTHER_LANGUAGES,
    OTHER_MODELS,
    QUESTION_ENDINGS,
    QUESTIONS,
    REQUEST_ENDINGS,
)
from duologue.data.builtin.phrasing import bare, compose, sometimes_casual
from duologue.data.builtin.skill import Exchange, Language


def draw(rng: random.Random, lang: Language) -> Exchange:
    """One question about the model itself, and its answer."""
    kind = rng.choice(sorted(QUESTIONS[lang]))
    question = QUESTIONS[lang][kind]
    wording = rng.choice(question.wordings)
    endings = REQUEST_ENDINGS if wording.endswith((".", "。")) else QUESTION_ENDINGS
    wording = wording.rstrip(".。").format(
        language=rng.choice(OTHER_LANGUAGES[lang]), model=rng.choice(OTHER_MODELS[lang])
    )
    text = compose(rng, OPENINGS[lang], (wording,), endings[lang])
    return Exchange(f"{kind}:{bare(text)}", (sometimes_casual(rng, text, lang), question.answer))
