"""Facts, clarification and declining: one reply to each thing asked, enough of it, and nothing that contradicts."""

from __future__ import annotations

import functools
import random
import re
from collections import Counter, defaultdict

import pytest

from duologue.data.builtin import clarification, declining, facts
from duologue.data.builtin.material import manners, read_table
from duologue.data.builtin.skill import LANGUAGES, Draw, Exchange, Language, is_held_out

SKILLS: dict[str, Draw] = {"facts": facts.draw, "clarification": clarification.draw, "declining": declining.draw}
LEAST_TRAINED = {"facts": 3000, "clarification": 2000, "declining": 2000}
REQUESTS = ("clarification", "declining")
NUM_DRAWS = 30_000

each_skill = pytest.mark.parametrize("skill", SKILLS)
each_language = pytest.mark.parametrize("lang", LANGUAGES)


@functools.cache
def drawn(skill: str, lang: Language) -> tuple[Exchange, ...]:
    rng = random.Random(f"{skill}/{lang}")
    return tuple(SKILLS[skill](rng, lang) for _ in range(NUM_DRAWS))


def prompts(skill: str, lang: Language, *, held_out: bool) -> set[str]:
    return {e.turns[0] for e in drawn(skill, lang) if is_held_out(skill, lang, e.key) == held_out}


@each_skill
@each_language
def test_draws_are_a_function_of_the_seed(skill: str, lang: Language) -> None:
    again = random.Random(f"{skill}/{lang}")
    assert [SKILLS[skill](again, lang) for _ in range(50)] == list(drawn(skill, lang)[:50])


@each_skill
@each_language
def test_the_reply_is_a_function_of_what_is_asked(skill: str, lang: Language) -> None:
    replies = defaultdict(set)
    for exchange in drawn(skill, lang):
        assert len(exchange.turns) == 2
        name = exchange.key.rpartition(":")[0] if skill == "facts" else exchange.key.split(":")[0]
        replies[name].add(exchange.turns[1])
    assert {name: found for name, found in replies.items() if len(found) > 1} == {}


@each_skill
@each_language
def test_there_is_enough_to_learn_and_to_test(skill: str, lang: Language) -> None:
    assert len(prompts(skill, lang, held_out=True)) >= 250
    assert len(prompts(skill, lang, held_out=False)) >= LEAST_TRAINED[skill]


@each_skill
@each_language
def test_no_prompt_of_the_test_is_trained_on(skill: str, lang: Language) -> None:
    def bare(text: str) -> str:
        return re.sub(r"\W+", " ", text.lower()).strip()

    trained = {bare(prompt) for prompt in prompts(skill, lang, held_out=False)}
    assert {bare(prompt) for prompt in prompts(skill, lang, held_out=True)} & trained == set()


@each_language
def test_every_fact_is_trained_on_in_several_wordings(lang: Language) -> None:
    wordings = defaultdict(set)
    for exchange in drawn("facts", lang):
        if not is_held_out("facts", lang, exchange.key):
            name, _, number = exchange.key.rpartition(":")
            wordings[name].add(number)
    assert set(wordings) == {fact.name for fact in facts.all_facts(lang)}
    assert min(len(numbers) for numbers in wordings.values()) >= 3


@pytest.mark.parametrize("skill", REQUESTS)
@each_language
def test_every_kind_is_on_both_sides(skill: str, lang: Language) -> None:
    kinds = set(read_table(f"{lang}/{skill}.toml")["kinds"])
    for side in (True, False):
        assert {e.key.split(":")[0] for e in drawn(skill, lang) if is_held_out(skill, lang, e.key) == side} == kinds


@pytest.mark.parametrize("skill", REQUESTS)
@each_language
def test_each_kind_has_its_own_reply_and_many_wordings(skill: str, lang: Language) -> None:
    kinds = read_table(f"{lang}/{skill}.toml")["kinds"]
    assert len({kind["reply"] for kind in kinds.values()}) == len(kinds)
    for kind in kinds.values():
        assert len(kind["deeds"]) * len(manners.frames(lang)) + len(kind["asks"]) >= 12


def test_no_prompt_has_two_replies() -> None:
    replies = defaultdict(set)
    for skill in SKILLS:
        for lang in LANGUAGES:
            for exchange in drawn(skill, lang):
                replies[exchange.turns[0].lower()].add(exchange.turns[1])
    assert {prompt: found for prompt, found in replies.items() if len(found) > 1} == {}


@each_language
def test_facts_are_many_named_once_and_asked_in_many_ways(lang: Language) -> None:
    names = Counter(fact.name for fact in facts.all_facts(lang))
    assert len(names) >= 280
    assert max(names.values()) == 1
    assert min(len(set(fact.wordings)) for fact in facts.all_facts(lang)) >= 8


def test_both_languages_are_equals() -> None:
    in_english, in_chinese = (len(facts.all_facts(lang)) for lang in LANGUAGES)
    assert abs(in_english - in_chinese) <= 0.2 * max(in_english, in_chinese)
    for skill in REQUESTS:
        kinds = [set(read_table(f"{lang}/{skill}.toml")["kinds"]) for lang in LANGUAGES]
        assert kinds[0] == kinds[1]


@each_skill
@each_language
def test_punctuation_is_that_of_the_language(skill: str, lang: Language) -> None:
    foreign = re.compile(r"[，。？！：；“”]" if lang == "en" else r"[,.?!:;\"'()]")
    assert [e.turns for e in drawn(skill, lang) if foreign.search("".join(e.turns))] == []


@each_skill
@each_language
def test_replies_are_short_and_slots_are_filled(skill: str, lang: Language) -> None:
    limit = 100 if lang == "en" else 40
    for exchange in drawn(skill, lang):
        assert len(exchange.turns[1]) <= limit
        assert not re.search(r"[{}]|  ", "".join(exchange.turns))
        assert exchange.turns[0] == exchange.turns[0].strip()


@pytest.mark.parametrize(
    ("opening", "sentence", "whole"),
    [
        ("Hi! ", "What is it?", "Hi! What is it?"),
        ("Hello, ", "What is it?", "Hello, what is it?"),
        ("Hello, ", "I need it.", "Hello, I need it."),
        ("Hello, ", "{A} is what?", "Hello, {a} is what?"),
        ("你好，", "这是什么？", "你好，这是什么？"),
    ],
)
def test_an_opening_leaves_the_sentence_well_spelled(opening: str, sentence: str, whole: str) -> None:
    assert manners.opened(opening, sentence) == whole
