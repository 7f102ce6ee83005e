"""Days of the week and months of the year, so many steps on or back.

Difficulty: 1 to 6 days on or back from a weekday (tomorrow, yesterday and their neighbours are wordings of the same
question), 1 to 3 months on or back from a month. The reply says how far in digits, then the start, and counts every
step aloud, so that each is only "what comes next". The question has the number of steps in digits or in words, and the
Chinese weekday in all its usual names.
Held out: the start with the number of steps and their direction, in every wording.
"""

from __future__ import annotations

import random
from typing import Literal

from duologue.data.builtin.skill import Exchange, Language, pick_wording
from duologue.data.builtin.words import NUMBERS

Cycle = Literal["day", "month"]
Direction = Literal["on", "back"]

MOST_STEPS: dict[Cycle, int] = {"day": 6, "month": 3}
NAMES: dict[Language, dict[Cycle, tuple[str, ...]]] = {
    "en": {
        "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
        "month": ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
                  "November", "December"),
    },
    "zh": {
        "day": ("星期一", "星期二", "星期三", "星期四", "星期五", "星期六", "星期日"),
        "month": ("一月", "二月", "三月", "四月", "五月", "六月", "七月", "八月", "九月", "十月", "十一月", "十二月"),
    },
}
UNITS: dict[Language, dict[Cycle, str]] = {
    "en": {"day": " day", "month": " month"},
    "zh": {"day": "天", "month": "个月"},
}
WORDINGS: dict[Language, dict[Cycle, dict[Direction, tuple[str, ...]]]] = {
    "en": {
        "day": {
            "on": ("What day is {span} after {start}?", "Which day comes {span} after {start}?",
                   "If today is {start}, what day is it in {span}?", "Today is {start}. What day will it be in {span}?",
                   "{span} after {start} is what day?", "It is {start}. Which day is {span} from now?",
                   "Tell me the day {span} after {start}.", "what day is {span} from {start}",
                   "The parcel was sent on {start} and takes {span}. On which day does it arrive?",
                   "Please count {span} on from {start}.", "Can you tell me which day is {span} after {start}?"),
            "back": ("What day is {span} before {start}?", "Which day comes {span} before {start}?",
                     "If today is {start}, what day was it {span} ago?",
                     "Today is {start}. What day was it {span} ago?", "{span} before {start} is what day?",
                     "It is {start}. Which day was {span} ago?", "Tell me the day {span} before {start}.",
                     "what day was {span} before {start}",
                     "The parcel came on {start} after {span}. On which day was it sent?",
                     "Please count {span} back from {start}.", "Can you tell me which day is {span} before {start}?"),
        },
        "month": {
            "on": ("What month is {span} after {start}?", "Which month comes {span} after {start}?",
                   "It is {start}. What month will it be in {span}?", "{span} after {start} is what month?",
                   "Tell me the month {span} after {start}.", "what month is {span} from {start}",
                   "The course starts in {start} and takes {span}. In which month does it end?",
                   "Please count {span} on from {start}.", "Can you tell me which month is {span} after {start}?"),
            "back": ("What month is {span} before {start}?", "Which month comes {span} before {start}?",
                     "It is {start}. What month was it {span} ago?", "{span} before {start} is what month?",
                     "Tell me the month {span} before {start}.", "what month was {span} before {start}",
                     "The course ended in {start} after {span}. In which month did it start?",
                     "Please count {span} back from {start}.", "Can you tell me which month is {span} before {start}?"),
        },
    },
    "zh": {
        "day": {
            "on": ("{start}过{span}是星期几？", "{start}的{span}后是星期几？", "今天是{start}，{span}后是星期几？",
                   "今天{start}，再过{span}是星期几", "{start}再往后{span}是星期几？",
                   "请从{start}往后数{span}，是星期几？", "如果今天是{start}，那么{span}以后是星期几？",
                   "{start}寄的包裹，{span}后到，哪天能到？", "帮我算一下{start}过{span}是星期几。",
                   "你知道{start}往后{span}是星期几吗？"),
            "back": ("{start}往前{span}是星期几？", "{start}的{span}前是星期几？", "今天是{start}，{span}前是星期几？",
                     "今天{start}，{span}前是星期几", "{start}再往前{span}是星期几？",
                     "请从{start}往前数{span}，是星期几？", "如果今天是{start}，那么{span}以前是星期几？",
                     "包裹{start}到了，是{span}前寄的，哪天寄的？", "帮我算一下{start}的{span}前是星期几。",
                     "你知道{start}往前{span}是星期几吗？"),
        },
        "month": {
            "on": ("{start}过{span}是几月？", "{start}的{span}后是几月？", "现在是{start}，{span}后是几月？",
                   "现在{start}，再过{span}是几月", "{start}再往后{span}是哪个月？",
                   "请从{start}往后数{span}，是几月？", "{start}开课，{span}后结束，几月结束？",
                   "帮我算一下{start}过{span}是几月。", "你知道{start}往后{span}是几月吗？"),
            "back": ("{start}往前{span}是几月？", "{start}的{span}前是几月？", "现在是{start}，{span}前是几月？",
                     "现在{start}，{span}前是几月", "{start}再往前{span}是哪个月？",
                     "请从{start}往前数{span}，是几月？", "课程{start}结束，是{span}前开始的，几月开始的？",
                     "帮我算一下{start}的{span}前是几月。", "你知道{start}往前{span}是几月吗？"),
        },
    },
}
NEAR_WORDINGS: dict[Language, dict[tuple[Cycle, int], tuple[str, ...]]] = {
    "en": {
        ("day", 1): ("Today is {start}. What day is tomorrow?", "If today is {start}, what is tomorrow?",
                     "What day comes right after {start}?", "It's {start} today, so what day is tomorrow?"),
        ("day", -1): ("Today is {start}. What day was yesterday?", "If today is {start}, what was yesterday?",
                      "What day comes right before {start}?", "It's {start} today, so what day was yesterday?"),
        ("day", 2): ("Today is {start}. What is the day after tomorrow?",
                     "If today is {start}, which is the day after tomorrow?"),
        ("day", -2): ("Today is {start}. What was the day before yesterday?",
                      "If today is {start}, which was the day before yesterday?"),
        ("month", 1): ("What is the next month after {start}?", "What month comes right after {start}?",
                       "It is {start}. What month is next?", "Which month follows {start}?"),
        ("month", -1): ("What is the month before {start}?", "What month comes right before {start}?",
                        "It is {start}. What was last month?", "Which month is just before {start}?"),
    },
    "zh": {
        ("day", 1): ("今天是{start}，明天是星期几？", "今天{start}，明天呢？", "{start}的第二天是星期几？",
                     "{start}后面是星期几？"),
        ("day", -1): ("今天是{start}，昨天是星期几？", "今天{start}，昨天呢？", "{start}的前一天是星期几？",
                      "{start}前面是星期几？"),
        ("day", 2): ("今天是{start}，后天是星期几？", "今天{start}，后天呢？"),
        ("day", -2): ("今天是{start}，前天是星期几？", "今天{start}，前天呢？"),
        ("day", 3): ("今天是{start}，大后天是星期几？",),
        ("day", -3): ("今天是{start}，大前天是星期几？",),
        ("month", 1): ("{start}的下一个月是几月？", "现在是{start}，下个月是几月？", "{start}后面是几月？",
                       "{start}过完是几月？"),
        ("month", -1): ("{start}的上一个月是几月？", "现在是{start}，上个月是几月？", "{start}前面是几月？",
                        "{start}的前一个月是几月？"),
    },
}
# How far to count is said first, in digits, then the start: so each step only needs what stands before it.
OPENINGS: dict[Language, dict[Direction, str]] = {
    "en": {"on": "{span} on: ", "back": "{span} back: "},
    "zh": {"on": "往后{span}：", "back": "往前{span}："},
}


def draw(rng: random.Random, lang: Language) -> Exchange:
    """One day or month to count on or back from."""
    cycle: Cycle = "day" if rng.random() < 0.6 else "month"
    start = rng.randrange(len(NAMES[lang][cycle]))
    offset = rng.choice((-1, 1)) * rng.randint(1, MOST_STEPS[cycle])
    key = f"{NAMES[lang][cycle][start]}{offset:+d}"
    return Exchange(key, (_ask(rng, cycle, start, offset, lang), count_steps(cycle, start, offset, lang)))


def count_steps(cycle: Cycle, start: int, offset: int, lang: Language) -> str:
    """The reply: ``2 days on: Monday, 1 Tuesday, 2 Wednesday. It is Wednesday.``"""
    names = NAMES[lang][cycle]
    sign = 1 if offset > 0 else -1
    passed = [names[(start + sign * i) % len(names)] for i in range(1, abs(offset) + 1)]
    span = _in_units(str(abs(offset)), cycle, abs(offset), lang)
    opening = OPENINGS[lang]["on" if offset > 0 else "back"].format(span=span)
    steps = (", " if lang == "en" else "，").join([names[start], *(f"{i} {name}" for i, name in enumerate(passed, 1))])
    return f"{opening}{steps}. It is {passed[-1]}." if lang == "en" else f"{opening}{steps}。所以是：{passed[-1]}。"


def _ask(rng: random.Random, cycle: Cycle, start: int, offset: int, lang: Language) -> str:
    wordings = WORDINGS[lang][cycle]["on" if offset > 0 else "back"]
    near = NEAR_WORDINGS[lang].get((cycle, offset))
    if near and rng.random() < 0.5:
        wordings = near
    name = NAMES[lang][cycle][start]
    if lang == "zh":
        name = rng.choice(_chinese_names(cycle, start))
    question = pick_wording(rng, wordings, start=name, span=_span(rng, cycle, abs(offset), lang))
    if lang == "zh":
        return question
    return question.lower() if rng.random() < 0.25 else question[0].upper() + question[1:]


def _span(rng: random.Random, cycle: Cycle, steps: int, lang: Language) -> str:
    number = str(steps) if rng.random() < 0.6 else NUMBERS[lang][steps - 1]
    return _in_units(number, cycle, steps, lang)


def _in_units(number: str, cycle: Cycle, steps: int, lang: Language) -> str:
    plural = "s" if lang == "en" and steps > 1 else ""
    return f"{number}{UNITS[lang][cycle]}{plural}"


def _chinese_names(cycle: Cycle, index: int) -> tuple[str, ...]:
    if cycle == "month":
        return (NAMES["zh"]["month"][index], NAMES["zh"]["month"][index], f"{index + 1}月")
    if index == 6:
        return ("星期日", "星期天", "周日", "礼拜天")
    day = NAMES["zh"]["day"][index]
    return (day, day, day.replace("星期", "周"), day.replace("星期", "礼拜"))
