"""Spelling, sorting, weekdays and units of the built-in corpus, against answers worked out here from the prompt."""

from __future__ import annotations

import datetime
import random
import re
from functools import cache

import pytest

from duologue.data.builtin import sorting, spelling, units, weekdays
from duologue.data.builtin.skill import LANGUAGES, Draw, Exchange, Language, is_held_out
from duologue.data.builtin.words import CHINESE, ENGLISH

SKILLS: dict[str, Draw] = {
    "spelling": spelling.draw, "sorting": sorting.draw, "weekdays": weekdays.draw, "units": units.draw,
}
DRAWS = 12_000
ASKED_FOR = {
    "spell": "letters? |[Ss]pell|拆|逐字|哪些字|哪几个字|一个字一个字|一字一字",
    "count": "[Hh]ow many|[Cc]ount|how long|number of|几个字|多少个字|字数",
    "first": "first|start|begin|第一个|开头|打头|头一个", "last": "last|end|final|最后|结尾|末尾",
    "backwards": "backwards|reverse|back to front|around|倒|反过来|从后往前", "english": "拼|字母",
    "ascending": r"(smallest|small|low) to|ascending|smallest first|^sort [\d, ]+$|sort these numbers|in order: |"
                 "从小到大|由小到大|升序|小的在前|^给这些数排序",
    "descending": r"(largest|large|high|biggest) to|descending|(the )?largest first|从大到小|由大到小|降序|大的在前",
    "largest": "largest|biggest|highest|max|最大", "smallest": "smallest|lowest|min|最小",
    "larger": "larger|bigger|more|greater|大", "smaller": "smaller|lower|less|小",
}  # fmt: skip
SECONDS = {"day": 86_400, "天": 86_400, "hour": 3_600, "小时": 3_600, "minute": 60, "分钟": 60, "second": 1, "秒": 1,
           "week": 604_800, "周": 604_800}
MICROMETERS = {"kilometer": 10**9, "公里": 10**9, "meter": 10**6, "米": 10**6, "centimeter": 10**4, "厘米": 10**4,
               "millimeter": 10**3, "毫米": 10**3}
GRAMS = {"kilogram": 1000, "公斤": 1000, "gram": 1, "克": 1, "斤": 500, "两": 50}
MONTHS = {"year": 12, "年": 12, "month": 1, "个月": 1}
PIECES = {"dozen": 12, "打": 12, "piece": 1, "个": 1}
EN_NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
SHORT_UNITS = {"kilometer": "km", "meter": "m", "centimeter": "cm", "millimeter": "mm", "kilogram": "kg", "gram": "g"}


@cache
def drawn(skill: str, lang: Language) -> tuple[Exchange, ...]:
    rng = random.Random(f"{skill}/{lang}")
    return tuple(SKILLS[skill](rng, lang) for _ in range(DRAWS))


every_skill = pytest.mark.parametrize(("skill", "lang"), [(skill, lang) for skill in SKILLS for lang in LANGUAGES])


@every_skill
def test_text_is_clean_and_punctuated_in_its_language(skill: str, lang: Language) -> None:
    for exchange in drawn(skill, lang):
        assert len(exchange.turns) == 2
        for turn in exchange.turns:
            assert turn == turn.strip() != ""
            assert "  " not in turn
            assert "{" not in turn
            unwanted = "[，。？！：、“”]" if lang == "en" else "[,?!:;.\"']"
            assert not re.search(unwanted, turn), turn


@every_skill
def test_a_question_has_one_reply(skill: str, lang: Language) -> None:
    replies: dict[str, str] = {}
    for exchange in drawn(skill, lang):
        asked = exchange.turns[0] if skill == "sorting" else exchange.key
        assert replies.setdefault(asked, exchange.turns[1]) == exchange.turns[1]


@every_skill
def test_no_prompt_asks_for_two_keys(skill: str, lang: Language) -> None:
    keys: dict[str, str] = {}
    for exchange in drawn(skill, lang):
        assert keys.setdefault(exchange.turns[0], exchange.key) == exchange.key, exchange.turns[0]


@every_skill
def test_there_are_prompts_enough_on_both_sides(skill: str, lang: Language) -> None:
    prompts: dict[bool, set[str]] = {True: set(), False: set()}
    for exchange in drawn(skill, lang):
        prompts[is_held_out(skill, lang, exchange.key)].add(exchange.turns[0])
    assert len(prompts[True]) >= 250
    assert len(prompts[False]) >= 3_000


@every_skill
def test_same_seed_draws_the_same(skill: str, lang: Language) -> None:
    first, second = random.Random(3), random.Random(3)
    assert all(SKILLS[skill](first, lang) == SKILLS[skill](second, lang) for _ in range(50))


@pytest.mark.parametrize("lang", LANGUAGES)
def test_words_are_spelled_right(lang: Language) -> None:
    for exchange in drawn("spelling", lang):
        operation, word = exchange.key.split(":")
        prompt, reply = exchange.turns
        assert word in prompt
        assert re.search(ASKED_FOR[operation], prompt), prompt
        assert reply == _spelled(operation, word, lang)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_word_is_met_in_training(lang: Language) -> None:
    trained = {e.key.split(":")[1] for e in drawn("spelling", lang) if not is_held_out("spelling", lang, e.key)}
    assert trained >= set(ENGLISH if lang == "en" else CHINESE)


def test_word_lists_are_short_words_without_doubles() -> None:
    assert len(set(ENGLISH)) == len(ENGLISH) >= 200
    assert len(set(CHINESE)) == len(CHINESE) >= 200
    assert all(re.fullmatch("[a-z]{3,6}", word) for word in ENGLISH)
    assert all(re.fullmatch("[一-鿿]{2,4}", word) for word in CHINESE)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_numbers_are_put_in_order(lang: Language) -> None:
    for exchange in drawn("sorting", lang):
        prompt, reply = exchange.turns
        order = exchange.key.split(":")[0]
        asked = [int(n) for n in re.findall(r"\d+", prompt)]
        assert re.search(ASKED_FOR[order], prompt), prompt
        assert len(set(asked)) == len(asked) in ((2,) if order in ("larger", "smaller") else (3, 4))
        assert sorted(map(int, exchange.key.split(":")[1].split(","))) == sorted(asked)
        said = [int(n) for n in re.findall(r"\d+", reply)]
        if len(asked) > 2:
            assert said[: len(asked)] == [number // 10 for number in asked]
            said = said[len(asked) :]
        if order in ("ascending", "descending"):
            assert said == sorted(asked, reverse=order == "descending")
        else:
            assert said[-1] == (max(asked) if order in ("largest", "larger") else min(asked))
            assert said[:-1] == ([] if len(asked) > 2 else _compared_digits(*asked))
            assert all(_holds(*triple) for triple in re.findall(r"(\d) ([<=>]) (\d)", reply))


@pytest.mark.parametrize("lang", LANGUAGES)
def test_days_and_months_are_counted_right(lang: Language) -> None:
    for exchange in drawn("weekdays", lang):
        prompt, reply = exchange.turns
        match = re.fullmatch(r"(\D+)([+-]\d)", exchange.key)
        assert match is not None
        start, offset = match[1], int(match[2])
        passed = _after(start, offset, lang)
        opening, first, steps = re.fullmatch(r"(.+?)[:：] ?(\w+)([,，].+)", reply).groups()  # type: ignore[union-attr]
        assert first == start
        counted = re.findall(r"(\d) (\w+)", steps)
        assert counted == [(str(i), name) for i, name in enumerate(passed, 1)]
        assert re.search(r"(?:It is |所以是：)(\w+)[.。]$", reply)[1] == passed[-1]  # type: ignore[index]
        assert re.findall(r"\d", opening) == [str(abs(offset))]
        assert (opening.endswith(" on") if lang == "en" else opening.startswith("往后")) == (offset > 0)
        assert _read_start(prompt, lang) == start, prompt
        assert _read_offset(prompt, lang) == offset, prompt


@pytest.mark.parametrize("lang", LANGUAGES)
def test_quantities_are_converted_right(lang: Language) -> None:
    for exchange in drawn("units", lang):
        prompt, reply = exchange.turns
        match = re.fullmatch(r"(\d+) (\D+)>(\D+)", exchange.key)
        assert match is not None
        quantity, source, target = int(match[1]), match[2], match[3]
        factor = _factor(source, target.removesuffix("s"))
        restated = "" if quantity == 1 else rf"{quantity} ?{source}s?[:：] ?"
        assert re.match(rf"{restated}1 ?{source} = {factor} ?{target}[.,。，]", reply)
        last_quantity, result = re.findall(rf"(\d+) ?\D+? = (\d+) ?{target}[.。]", reply)[-1]
        assert (int(last_quantity), int(result)) == (quantity, quantity * factor)
        steps = re.findall(r"[,，] ?(\d+)(?:: |：)(\d+)", reply)
        assert [(int(n), int(sum_)) for n, sum_ in steps] == (
            [] if factor in (10, 100, 1000) else [(n, n * factor) for n in range(2, quantity + 1)]
        )
        assert _asks_for(prompt, quantity, source, target, lang), prompt


def _spelled(operation: str, word: str, lang: Language) -> str:
    letters = list(word)
    wanted = {"first": letters[:1], "last": letters[-1:], "backwards": letters[::-1]}.get(operation, [])
    spelled_in = _spelled_in_english if lang == "en" else _spelled_in_chinese
    return spelled_in(operation, letters, wanted)


def _spelled_in_english(operation: str, letters: list[str], wanted: list[str]) -> str:
    if operation == "count":
        numbered = " ".join(f"{c}{i}" for i, c in enumerate(letters, 1))
        return f"It is spelled {' '.join(letters)}: {numbered}, so it has {len(letters)} letters."
    said = {"spell": "", "first": ", so the first letter is ", "last": ", so the last letter is ",
            "backwards": ", so backwards it is "}[operation]
    return "It is spelled " + " ".join(letters) + said + " ".join(wanted) + "."


def _spelled_in_chinese(operation: str, letters: list[str], wanted: list[str]) -> str:
    if operation == "english":
        return "拼写是 " + " ".join(letters) + "。"
    if operation == "count":
        parts, numbered = "".join(f"“{c}”" for c in letters), "".join(f"{i}{c}" for i, c in enumerate(letters, 1))
        return f"拆开是：{parts}，{numbered}，一共{len(letters)}个字。"
    said = {"spell": "", "first": "，第一个字是：", "last": "，最后一个字是：", "backwards": "，倒过来是："}[operation]
    return "拆开是：" + "".join(f"“{c}”" for c in letters) + said + "".join(f"“{c}”" for c in wanted) + "。"


def _compared_digits(a: int, b: int) -> list[int]:
    ones = [a % 10, b % 10]
    if a < 10 and b < 10:
        return ones
    return [a // 10, b // 10] + (ones if a // 10 == b // 10 else [])


def _holds(a: str, sign: str, b: str) -> bool:
    return {"<": int(a) < int(b), "=": int(a) == int(b), ">": int(a) > int(b)}[sign]


def _calendar_names(lang: Language) -> list[list[str]]:
    if lang == "zh":
        numerals = [*"一二三四五六七八九十", "十一", "十二"]
        return [[f"星期{c}" for c in "一二三四五六日"], [f"{n}月" for n in numerals]]
    days = [datetime.date(2024, 1, n) for n in range(1, 8)]  # the first of January 2024 was a Monday
    return [[f"{day:%A}" for day in days], [f"{datetime.date(2024, n, 1):%B}" for n in range(1, 13)]]


def _after(start: str, offset: int, lang: Language) -> list[str]:
    names = next(names for names in _calendar_names(lang) if start in names)
    steps = range(1, offset + 1) if offset > 0 else range(-1, offset - 1, -1)
    return [names[(names.index(start) + step) % len(names)] for step in steps]


def _read_start(prompt: str, lang: Language) -> str:
    if lang == "en":
        days, months = _calendar_names("en")
        return re.search("|".join(days + months), prompt.title())[0]  # type: ignore[index]
    if month := re.search(r"(\d+)月", prompt):
        return _calendar_names("zh")[1][int(month[1]) - 1]
    if month := re.search("[一二三四五六七八九十]+月", prompt):
        return month[0]
    day = re.search("(?:星期|周|礼拜)([一二三四五六日天])", prompt)
    assert day is not None, prompt
    return "星期" + day[1].replace("天", "日")


def _read_offset(prompt: str, lang: Language) -> int:
    asked = prompt.lower()
    if lang == "en":
        number = re.search(r"\b(\d|one|two|three|four|five|six) (?:day|month)", asked)
        back = re.search(r"before|ago|back|yesterday|last month|parcel came|course ended", asked)
        near = 2 if "day after tomorrow" in asked or "day before yesterday" in asked else 1
        words = EN_NUMBERS
    else:
        number = re.search(r"(\d|一|两|三|四|五|六)(?:天|个月)", asked)
        back = re.search("前|昨|上一?个月", asked)
        near = 3 if "大" in asked else 2 if re.search("后天|前天", asked) else 1
        words = [*"一两三四五六"]
    if number is None:
        return -near if back else near
    steps = int(number[1]) if number[1].isdigit() else words.index(number[1]) + 1
    return -steps if back else steps


def _factor(source: str, target: str) -> int:
    table = next(t for t in (SECONDS, MICROMETERS, GRAMS, MONTHS, PIECES) if source in t and target in t)
    factor, rest = divmod(table[source], table[target])
    assert rest == 0
    return factor


def _asks_for(prompt: str, quantity: int, source: str, target: str, lang: Language) -> bool:
    words = EN_NUMBERS if lang == "en" else [*"一两三四五六七八九十"]
    number = str(quantity) if quantity > 10 else f"(?:{quantity}|{words[quantity - 1]})"
    if lang == "zh":
        return re.search(rf"(?<!\d){number}{source}", prompt) is not None and target in prompt
    plural = source if quantity == 1 or source == "dozen" else source + "s"
    short, short_target = SHORT_UNITS.get(source), SHORT_UNITS.get(target.removesuffix("s"))
    if short and re.search(rf"\b{quantity} ?{short}\b", prompt):
        return re.search(rf"\b{short_target}\b", prompt) is not None
    return bool(re.search(rf"\b{number} {plural}\b", prompt, re.IGNORECASE) and re.search(rf"\b{target}\b", prompt))
