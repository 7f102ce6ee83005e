"""Being corrected: taking the right value where users mis-spoke, and staying polite and firm where they are wrong.

Difficulty: the last reply needs the user's last turn and the first two: a name, colour, city, job, food, age, plan or
day to copy, a sum of two digits to work out anew, or a true thing to repeat against a false claim. Telling these apart
is easy; the copying should be solved mostly, the sums as well as ``arithmetic`` solves single digits. Nothing false is
said in the assistant's first turn. The sums are those that ``arithmetic`` trains on, so that none of its test leaks.
Held out: the pair of wrong and right value (or the sum with the false result), in every wording; for plain truths,
which are few, the truth with the wording.
"""

from __future__ import annotations

import random
import re

from duologue.data.builtin import arithmetic
from duologue.data.builtin.correction_wordings import (
    ACCEPTED,
    EVENT_ACKNOWLEDGED,
    EVENT_ANSWER,
    EVENT_TOLD,
    OWN_SLIPS,
    PLAIN_TRUTHS,
    SENTENCES,
    SUM_ACCEPTED,
    SUM_CLAIMS,
    SUM_KEPT,
    SUM_SLIPS,
    TRUTH_CLAIMS,
    TRUTH_KEPT,
)
from duologue.data.builtin.people import DAYS, EVENTS
from duologue.data.builtin.personal_fact_wordings import ATTRIBUTES
from duologue.data.builtin.personal_facts import Fact, told
from duologue.data.builtin.phrasing import capitalized
from duologue.data.builtin.skill import Exchange, Language, is_held_out, pick_wording

ATTRIBUTES_CORRECTED = ("age", "city", "colour", "food", "job", "name", "tomorrow")
FARTHEST_CLAIM = 3
ONE_DIGIT_SUM = re.compile(r"(\d)([+-])(\d)")


def draw(rng: random.Random, lang: Language) -> Exchange:
    """Something said or asked, the reply, a correction, and the reply to that."""
    kinds = (_fact, _fact, _fact, _event, _sum, _sum, _false_sum, _false_sum, _false_truth)
    return rng.choice(kinds)(rng, lang)


def _fact(rng: random.Random, lang: Language) -> Exchange:
    attribute = rng.choice(ATTRIBUTES_CORRECTED)
    wrong, right = rng.sample(ATTRIBUTES[lang][attribute].values, 2)
    first = told(rng, lang, Fact(attribute, ((attribute, wrong),)))
    answer = ATTRIBUTES[lang][attribute].answer.format(**{attribute: right})
    correction = _own_slip(rng, lang, attribute, wrong, right)
    return Exchange(f"{attribute}:{wrong}>{right}", (*first, correction, ACCEPTED[lang].format(answer=answer)))


def _event(rng: random.Random, lang: Language) -> Exchange:
    event = rng.choice(EVENTS[lang])
    wrong, right = rng.sample(DAYS[lang], 2)
    statement = pick_wording(rng, EVENT_TOLD[lang], event=event, day=wrong)
    acknowledgement = EVENT_ACKNOWLEDGED[lang].format(event=event, day=wrong)
    correction = _own_slip(rng, lang, "event", wrong, right)
    answer = EVENT_ANSWER[lang].format(event=event, day=right)
    turns = (statement, acknowledgement, correction, ACCEPTED[lang].format(answer=answer))
    return Exchange(f"{event}:{wrong}>{right}", turns)


def _own_slip(rng: random.Random, lang: Language, about: str, wrong: str, right: str) -> str:
    sentence = SENTENCES[lang][about].format(right=right)
    return pick_wording(rng, OWN_SLIPS[lang], sentence=sentence, right=right, wrong=wrong)


def _sum(rng: random.Random, lang: Language) -> Exchange:
    wrong = right = _one_digit_sum(rng, lang)
    while right.key == wrong.key:
        right = _one_digit_sum(rng, lang)
    correction = pick_wording(rng, SUM_SLIPS[lang], wrong=_spelled(wrong), right=_spelled(right))
    reply = SUM_ACCEPTED[lang].format(equation=_equation(right))
    return Exchange(f"{wrong.key}>{right.key}", (*wrong.turns, correction, reply))


def _false_sum(rng: random.Random, lang: Language) -> Exchange:
    asked = _one_digit_sum(rng, lang)
    result = int(_equation(asked).rpartition("=")[2])
    near = range(max(0, result - FARTHEST_CLAIM), result + FARTHEST_CLAIM + 1)
    claim = rng.choice([number for number in near if number != result])
    objection = pick_wording(rng, SUM_CLAIMS[lang], sum=_spelled(asked), claim=claim)
    reply = SUM_KEPT[lang].format(equation=_equation(asked))
    return Exchange(f"{asked.key}={claim}", (*asked.turns, objection, reply))


def _false_truth(rng: random.Random, lang: Language) -> Exchange:
    plain = rng.choice(PLAIN_TRUTHS[lang])
    wording = rng.randrange(len(TRUTH_CLAIMS[lang]))
    stop = "." if lang == "en" else "。"
    first = (plain.question, capitalized(plain.truth) + stop)
    objection = TRUTH_CLAIMS[lang][wording].format(claim=plain.claim)
    return Exchange(f"{plain.truth}:{wording}", (*first, objection, TRUTH_KEPT[lang].format(truth=plain.truth)))


def _one_digit_sum(rng: random.Random, lang: Language) -> Exchange:
    """A sum or difference of two digits, from the training side of ``arithmetic`` and as that skill answers it."""
    while True:
        exchange = arithmetic.draw(rng, lang)
        if ONE_DIGIT_SUM.fullmatch(exchange.key) and not is_held_out("arithmetic", lang, exchange.key):
            return exchange


def _spelled(exchange: Exchange) -> str:
    """The sum as users type it: ``5 + 3``."""
    return ONE_DIGIT_SUM.sub(r"\1 \2 \3", exchange.key)


def _equation(exchange: Exchange) -> str:
    """The sum with its result, as the assistant says it."""
    return exchange.turns[-1].rstrip(".。")
