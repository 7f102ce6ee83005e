"""The built-in corpus as a whole: distinct, balanced, half of it in several turns, its test unseen."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest

from duologue.conversation import Conversation, Role
from duologue.data.builtin import arithmetic
from duologue.data.builtin.chitchat import chitchat_dialogues
from duologue.data.builtin.dialogues import SKILLS, UNCHECKED, TestItem, builtin_dialogues, builtin_test
from duologue.data.builtin.recall import DISTANCES
from duologue.data.builtin.skill import LANGUAGES, Language, draw_from, is_held_out
from duologue.data.config import DataConfig
from duologue.data.corpus import Corpus, Split
from duologue.pipeline.recipe import load_recipe
from duologue.tokenizer.encode_conversation import encode_conversation
from duologue.tokenizer.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def corpus() -> list[Conversation]:
    return list(builtin_dialogues(num_dialogues=60_000, seed=0))


@pytest.fixture(scope="module")
def items() -> list[TestItem]:
    return list(builtin_test(items_per_skill=100, seed=0))


def test_sixty_thousand_dialogues_are_distinct(corpus: list[Conversation]) -> None:
    assert len({row.messages for row in corpus}) == len(corpus) == 60_000
    assert load_recipe("quickstart", {}).recipe.data.builtin_dialogues >= 60_000


def test_half_have_several_turns_and_both_languages_are_equal(corpus: list[Conversation]) -> None:
    several = sum(len(row.messages) > 2 for row in corpus)
    assert several >= 0.5 * len(corpus)
    assert Counter(row.lang for row in corpus) == {"en": 30_000, "zh": 30_000}


def test_turns_alternate_and_end_with_the_assistant(corpus: list[Conversation]) -> None:
    for row in corpus:
        roles = [message.role for message in row.messages]
        assert roles == [Role.USER, Role.ASSISTANT] * (len(roles) // 2)
        assert all(message.content.strip() == message.content != "" for message in row.messages)


def test_the_same_seed_gives_the_same_corpus(corpus: list[Conversation]) -> None:
    assert list(builtin_dialogues(num_dialogues=500, seed=0)) == corpus[:500]
    assert list(builtin_dialogues(num_dialogues=500, seed=1)) != corpus[:500]


def test_no_question_of_the_test_is_asked_in_training(corpus: list[Conversation], items: list[TestItem]) -> None:
    asked = {(row.messages[0].content, row.messages[1].content) for row in corpus if len(row.messages) == 2}
    whole = {row.messages[:-1] for row in corpus}
    for item in items:
        assert item.conversation.messages not in whole
        if len(item.conversation.messages) == 1:
            assert (item.conversation.messages[0].content, item.answers[0]) not in asked


def test_the_test_has_a_hundred_items_a_skill_and_language(items: list[TestItem]) -> None:
    counts = Counter((item.conversation.lang, item.skill) for item in items)
    for lang in LANGUAGES:
        for skill in [*SKILLS, "recall"]:
            if skill not in UNCHECKED:
                assert counts[lang, skill] >= 100, (lang, skill)
        own = [item for item in items if item.conversation.lang == lang]
        distances = Counter(item.distance for item in own if item.skill == "recall")
        assert distances == dict.fromkeys(DISTANCES, 20)


def test_items_are_distinct(items: list[TestItem]) -> None:
    assert len({item.conversation.messages for item in items}) == len(items)


def test_chitchat_is_a_small_part_of_the_tokens(tokenizer: Tokenizer) -> None:
    settings = load_recipe("quickstart", {}).recipe.data
    config = DataConfig(builtin_dialogues=6_000, chitchat_share=settings.chitchat_share, seed=settings.seed)
    greetings = {text for skill in [SKILLS["greeting"][0]] for text in replies_of(skill)}
    chat = total = 0
    for row in Corpus(config).pretraining_rows(Split.TRAIN):
        for message in row.messages:  # type: ignore[union-attr]
            size = len(encode_conversation(tokenizer, Conversation((message,))).input_ids)
            total += size
            # a greeting's reply stands for its question too
            chat += size if row.source == "chitchat" else 2 * size * (message.content in greetings)
    assert chat <= 0.15 * total


def replies_of(draw) -> set[str]:
    rng = random.Random(0)
    return {turn for lang in LANGUAGES for _ in range(5000) for turn in draw(rng, lang).turns[1::2]}


def test_real_small_talk_carries_no_loss_in_fine_tuning() -> None:
    rows = list(chitchat_dialogues())
    if rows:  # an optional package
        assert len(rows) > 3_000
    assert not any(row.is_learned for row in rows)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_arithmetic_is_right_step_by_step(lang: Language) -> None:
    rng = random.Random(3)
    for _ in range(5_000):
        exchange = arithmetic.draw(rng, lang)
        question, reply = exchange.turns
        a, sign, b = re.fullmatch(r"(\d+)([-+×])(\d+)", exchange.key).groups()
        assert Counter(re.findall(r"\d+", question)) == Counter([a, b])
        value = {"+": int(a) + int(b), "-": int(a) - int(b), "×": int(a) * int(b)}[sign]
        assert reply.rstrip(".。").endswith(f"{a}{sign}{b}={value}")
        for equation in re.findall(r"(?<![\d×])([\d+-]+)=(\d+)", reply):
            assert eval_sum(equation[0]) == int(equation[1]), reply


def eval_sum(terms: str) -> int:
    """The value of a chain such as ``12-5-1``."""
    return sum(int(term) for term in re.findall(r"[+-]?\d+", terms))


@pytest.mark.parametrize("skill", SKILLS)
@pytest.mark.parametrize("lang", LANGUAGES)
def test_drawing_keeps_to_its_side(skill: str, lang: Language) -> None:
    rng = random.Random(1)
    for held_out in (False, True):
        for _ in range(50):
            exchange = draw_from(skill, SKILLS[skill][0], rng, lang, held_out=held_out)
            assert is_held_out(skill, lang, exchange.key) == held_out
            assert len(exchange.turns) % 2 == 0
