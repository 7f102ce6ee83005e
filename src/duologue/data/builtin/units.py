"""Turning a quantity into a smaller unit: hours into minutes, kilometers into meters, 公斤 into 斤.

Difficulty: the reply names what one unit is worth. Where that is 10, 100 or 1000, quantities go up to 99 and the digits
stay as they are, with zeros behind them. Elsewhere (2, 7, 12, 24, 60) quantities go up to 9 and the reply adds up, each
step with its number, after it has said the quantity. Half of the questions are of each sort. Quantities up to ten are now and then written as words.
Held out: the quantity with its two units, in every wording.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from duologue.data.builtin.skill import Exchange, Language, pick_wording
from duologue.data.builtin.words import NUMBERS


@dataclass(frozen=True, slots=True)
class Conversion:
    """How many of one unit another is worth.

    Attributes:
        source, sources: the larger unit, for one and for more; the same in Chinese.
        target: the smaller unit, as it is counted.
        factor: how many of it make one of the larger.
        most: the largest quantity asked for.
        shorts: the two units as people abbreviate them, where they do.
    """

    source: str
    sources: str
    target: str
    factor: int
    most: int
    shorts: tuple[str, str] | None = None


MOST = 9  # where the reply adds up
BY_ZEROS = {
    "en": (
        Conversion("meter", "meters", "centimeters", 100, 99, ("m", "cm")),
        Conversion("kilometer", "kilometers", "meters", 1000, 99, ("km", "m")),
        Conversion("kilogram", "kilograms", "grams", 1000, 99, ("kg", "g")),
        Conversion("centimeter", "centimeters", "millimeters", 10, 99, ("cm", "mm")),
    ),
    "zh": (
        Conversion("米", "米", "厘米", 100, 99),
        Conversion("公里", "公里", "米", 1000, 99),
        Conversion("公斤", "公斤", "克", 1000, 99),
        Conversion("厘米", "厘米", "毫米", 10, 99),
        Conversion("斤", "斤", "两", 10, 99),
    ),
}
BY_ADDING = {
    "en": (
        Conversion("hour", "hours", "minutes", 60, MOST),
        Conversion("minute", "minutes", "seconds", 60, MOST),
        Conversion("day", "days", "hours", 24, MOST),
        Conversion("week", "weeks", "days", 7, MOST),
        Conversion("year", "years", "months", 12, MOST),
        Conversion("dozen", "dozen", "pieces", 12, MOST),
    ),
    "zh": (
        Conversion("小时", "小时", "分钟", 60, MOST),
        Conversion("分钟", "分钟", "秒", 60, MOST),
        Conversion("天", "天", "小时", 24, MOST),
        Conversion("周", "周", "天", 7, MOST),
        Conversion("年", "年", "个月", 12, MOST),
        Conversion("打", "打", "个", 12, MOST),
        Conversion("公斤", "公斤", "斤", 2, MOST),
    ),
}
WORDINGS = {
    "en": ("How many {target} are in {quantity}?", "How many {target} are there in {quantity}?",
           "How many {target} is {quantity}?", "What is {quantity} in {target}?", "{quantity} in {target}?",
           "Can you turn {quantity} into {target}?", "I need {quantity} in {target}, please.",
           "{quantity} = ? {target}", "Please tell me how many {target} make {quantity}.",
           "how many {target} in {quantity}", "Do you know how many {target} {quantity} is?",
           "Convert {quantity} to {target}."),
    "zh": ("{quantity}是多少{target}？", "{quantity}等于多少{target}？", "{quantity}有多少{target}？",
           "{quantity}一共是多少{target}？", "{quantity} = ？{target}", "请问{quantity}是多少{target}？",
           "帮我算一下{quantity}是多少{target}。", "你知道{quantity}有多少{target}吗？", "{quantity}合多少{target}",
           "{quantity}相当于多少{target}？", "请告诉我{quantity}是多少{target}。", "多少{target}等于{quantity}？"),
}
COLON = {"en": ": ", "zh": "："}
COMMA = {"en": ", ", "zh": "，"}
FULL_STOP = {"en": ".", "zh": "。"}
SO = {"en": " So ", "zh": "所以 "}


def draw(rng: random.Random, lang: Language) -> Exchange:
    """One quantity to say in a smaller unit."""
    conversion = rng.choice(rng.choice((BY_ZEROS, BY_ADDING))[lang])
    most = 9 if rng.random() < 0.3 else conversion.most
    quantity = rng.randint(1, min(most, conversion.most))
    key = f"{quantity} {conversion.source}>{conversion.target}"
    return Exchange(key, (_ask(rng, conversion, quantity, lang), convert(conversion, quantity, lang)))


def convert(conversion: Conversion, quantity: int, lang: Language) -> str:
    """The reply: ``3 hours: 1 hour = 60 minutes, 2: 120, 3: 180. So 3 hours = 180 minutes.``"""
    steps = [_equation(conversion, 1, lang)]
    if quantity == 1:
        return f"{steps[0]}{FULL_STOP[lang]}"
    if conversion.factor not in (10, 100, 1000):
        steps += [f"{i}{COLON[lang]}{i * conversion.factor}" for i in range(2, quantity + 1)]
    asked, worked = _said(conversion, quantity, lang), COMMA[lang].join(steps)
    return f"{asked}{COLON[lang]}{worked}{FULL_STOP[lang]}{SO[lang]}{_equation(conversion, quantity, lang)}{FULL_STOP[lang]}"


def _said(conversion: Conversion, quantity: int, lang: Language) -> str:
    space = " " if lang == "en" else ""
    return f"{quantity}{space}{conversion.source if quantity == 1 else conversion.sources}"


def _equation(conversion: Conversion, quantity: int, lang: Language) -> str:
    space = " " if lang == "en" else ""
    return f"{_said(conversion, quantity, lang)} = {quantity * conversion.factor}{space}{conversion.target}"


def _ask(rng: random.Random, conversion: Conversion, quantity: int, lang: Language) -> str:
    source, target = conversion.source if quantity == 1 else conversion.sources, conversion.target
    number, space = str(quantity), " " if lang == "en" else ""
    if conversion.shorts and rng.random() < 0.3:
        source, target = conversion.shorts
        space = rng.choice(("", " "))
    elif quantity <= 10 and rng.random() < 0.3:
        number = NUMBERS[lang][quantity - 1]
    question = pick_wording(rng, WORDINGS[lang], quantity=f"{number}{space}{source}", target=target)
    if lang == "en" and rng.random() < 0.8:
        return question[0].upper() + question[1:]
    return question
