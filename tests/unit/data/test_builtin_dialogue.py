"""The conversational skills of the built-in corpus, drawn by the thousand and checked without their own code."""

from __future__ import annotations

import random
import re
from collections import defaultdict

import pytest

from duologue.data.builtin import correction, greeting, identity, recall
from duologue.data.builtin.people import ANIMALS, CITIES, COLOURS, FOODS, JOBS, NAMES, PET_NAMES, PLANS
from duologue.data.builtin.personal_fact_wordings import ATTRIBUTES, TOPICS
from duologue.data.builtin.skill import LANGUAGES, Draw, Exchange, Language, draw_from, is_held_out

DRAWN: dict[str, tuple[Draw, int, int]] = {
    "greeting": (greeting.draw, 600, 120),
    "identity": (identity.draw, 600, 120),
    "correction": (correction.draw, 2000, 250),
}
ASCII_SENTENCE_PUNCTUATION = re.compile(r"[,.?!;:]")
EQUATION = re.compile(r"(\d+)\s?([+-])\s?(\d+)\s?=\s?(\d+)")
LONGEST_REPLY_WORDS, LONGEST_REPLY_LETTERS = 14, 30

each_language = pytest.mark.parametrize("lang", LANGUAGES)
each_skill = pytest.mark.parametrize("skill", sorted(DRAWN))


def exchanges(skill: str, lang: Language, count: int, *, held_out: bool, seed: int = 7) -> list[Exchange]:
    rng = random.Random(seed)
    return [draw_from(skill, DRAWN[skill][0], rng, lang, held_out=held_out) for _ in range(count)]


def small_talk_filler(lang: Language) -> recall.Filler:
    def filler(rng: random.Random) -> tuple[str, str]:
        user, assistant = greeting.draw(rng, lang).turns
        return user, assistant

    return filler


def recalled(lang: Language, distance: int, count: int, *, held_out: bool) -> list[recall.RecallDialogue]:
    rng = random.Random(distance)
    filler = small_talk_filler(lang)
    return [recall.recall_dialogue(rng, lang, filler, distance, held_out) for _ in range(count)]


@each_language
@each_skill
def test_there_is_enough_to_learn_and_to_test(skill: str, lang: Language) -> None:
    _, least_training, least_held_out = DRAWN[skill]
    training = {exchange.turns[:-1] for exchange in exchanges(skill, lang, 5000, held_out=False)}
    tested = {exchange.turns[:-1] for exchange in exchanges(skill, lang, 1200, held_out=True)}
    assert len(training) >= least_training
    assert len(tested) >= least_held_out
    assert not training & tested


@each_language
@each_skill
def test_held_out_keys_never_train(skill: str, lang: Language) -> None:
    assert not any(is_held_out(skill, lang, exchange.key) for exchange in exchanges(skill, lang, 2000, held_out=False))
    assert all(is_held_out(skill, lang, exchange.key) for exchange in exchanges(skill, lang, 300, held_out=True))


@each_language
@each_skill
def test_the_same_prompt_always_has_the_same_right_replies(skill: str, lang: Language) -> None:
    replies = defaultdict(set)
    for exchange in exchanges(skill, lang, 5000, held_out=False):
        prompt = tuple(turn.lower() for turn in exchange.turns[:-1])
        replies[prompt].add(frozenset((exchange.turns[-1], *exchange.accepted)))
    assert [prompt for prompt, right in replies.items() if len(right) > 1] == []


@each_language
@each_skill
def test_draws_repeat_from_the_seed_and_keep_their_form(skill: str, lang: Language) -> None:
    drawn = exchanges(skill, lang, 2000, held_out=False)
    assert drawn == exchanges(skill, lang, 2000, held_out=False)
    assert {len(exchange.turns) for exchange in drawn} == {4 if skill == "correction" else 2}
    for turn in (turn for exchange in drawn for turn in exchange.turns):
        assert turn == turn.strip()
        assert "{" not in turn
        assert "  " not in turn


@each_language
@each_skill
def test_replies_are_short(skill: str, lang: Language) -> None:
    for exchange in exchanges(skill, lang, 2000, held_out=False):
        reply = exchange.turns[-1]
        assert len(reply.split()) <= LONGEST_REPLY_WORDS if lang == "en" else len(reply) <= LONGEST_REPLY_LETTERS


@each_skill
def test_chinese_has_chinese_punctuation(skill: str) -> None:
    for exchange in exchanges(skill, "zh", 3000, held_out=False):
        for turn in exchange.turns:
            assert not ASCII_SENTENCE_PUNCTUATION.search(turn), turn


@each_language
@pytest.mark.parametrize("skill", ["identity", "greeting"])
def test_every_kind_of_question_stands_on_both_sides(skill: str, lang: Language) -> None:
    training = {exchange.key.partition(":")[0] for exchange in exchanges(skill, lang, 3000, held_out=False)}
    tested = {exchange.key.partition(":")[0] for exchange in exchanges(skill, lang, 1000, held_out=True)}
    assert training == tested


@each_language
def test_it_says_its_name_when_asked(lang: Language) -> None:
    named = [exchange for exchange in exchanges("identity", lang, 2000, held_out=False) if exchange.key[:5] == "name:"]
    assert named
    assert {exchange.turns[1] for exchange in named} == {"My name is Duologue." if lang == "en" else "我叫 Duologue。"}


@each_language
def test_sums_are_right_and_none_of_the_arithmetic_test_leaks(lang: Language) -> None:
    seen = 0
    drawn = exchanges("correction", lang, 4000, held_out=False) + exchanges("correction", lang, 500, held_out=True)
    for exchange in drawn:
        for reply in exchange.turns[1::2]:
            for a, sign, b, result in EQUATION.findall(reply):
                seen += 1
                assert int(result) == (int(a) + int(b) if sign == "+" else int(a) - int(b))
                assert not is_held_out("arithmetic", lang, f"{a}{sign}{b}")
    assert seen > 1000


@each_language
def test_a_false_claim_about_a_sum_is_not_taken_over(lang: Language) -> None:
    kept = "I still get" if lang == "en" else "我算出来还是"
    firm = [exchange for exchange in exchanges("correction", lang, 3000, held_out=False) if kept in exchange.turns[3]]
    assert len(firm) > 300
    for exchange in firm:
        claim = int(exchange.key.partition("=")[2])
        first, last = (EQUATION.search(turn) for turn in (exchange.turns[1], exchange.turns[3]))
        assert first is not None
        assert last is not None
        assert first.groups() == last.groups()
        assert int(last[4]) != claim
        assert re.search(rf"\b{claim}\D*$", exchange.turns[2])


@each_language
def test_a_slip_of_the_user_is_corrected_to_what_was_meant(lang: Language) -> None:
    echoed = [exchange for exchange in exchanges("correction", lang, 3000, held_out=False) if ">" in exchange.key]
    assert len(echoed) > 1000
    for exchange in echoed:
        wrong, right = exchange.key.partition(":")[2].split(">") if ":" in exchange.key else exchange.key.split(">")
        told, acknowledged, corrected, reply = (turn.replace(" ", "") for turn in exchange.turns)
        if ":" in exchange.key:
            assert wrong.replace(" ", "") in told
        assert wrong.replace(" ", "") in acknowledged
        assert right.replace(" ", "") in corrected
        assert right.replace(" ", "") in reply
        assert acknowledged != reply


@each_language
@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize("distance", recall.DISTANCES)
def test_the_value_was_told_at_exactly_that_distance(lang: Language, distance: int, held_out: bool) -> None:
    for dialogue in recalled(lang, distance, 400, held_out=held_out):
        attribute, value, wording = dialogue.key.split(":")
        users, replies = dialogue.turns[::2], dialogue.turns[1::2]
        assert len(users) == len(replies)
        assert dialogue.distance == distance
        assert users[-1] == ATTRIBUTES[lang][attribute].questions[int(wording)]
        assert replies[-1] == ATTRIBUTES[lang][attribute].answer.replace("{" + attribute + "}", value)
        assert value in users[-1 - distance]
        assert value in replies[-1 - distance]


@each_language
@pytest.mark.parametrize("distance", recall.DISTANCES)
def test_recall_keeps_its_test_out_of_training(lang: Language, distance: int) -> None:
    for dialogue in recalled(lang, distance, 400, held_out=False):
        assert all(not is_held_out("recall", lang, key) for key in questions_in(dialogue, lang))
    for dialogue in recalled(lang, distance, 200, held_out=True):
        assert questions_in(dialogue, lang) == [dialogue.key]
        assert is_held_out("recall", lang, dialogue.key)


def questions_in(dialogue: recall.RecallDialogue, lang: Language) -> list[str]:
    """The keys of all questions in a dialogue, read off its text."""
    asked = {
        question: (name, index, attribute.answer.partition("{")[0], attribute.answer.partition("}")[2])
        for name, attribute in ATTRIBUTES[lang].items()
        for index, question in enumerate(attribute.questions)
    }
    keys = []
    for user, reply in zip(dialogue.turns[::2], dialogue.turns[1::2], strict=True):
        if user in asked:
            name, index, head, tail = asked[user]
            keys.append(f"{name}:{reply.removeprefix(head).removesuffix(tail)}:{index}")
    return keys


@each_language
def test_recall_has_enough_to_learn_and_to_test(lang: Language) -> None:
    training = {dialogue.turns for dialogue in recalled(lang, 2, 3000, held_out=False)}
    tested = {dialogue.key for dialogue in recalled(lang, 1, 4000, held_out=True)}
    assert len(training) >= 2000
    assert len(tested) >= 250
    assert {key.partition(":")[0] for key in tested} == set(ATTRIBUTES[lang])


@each_language
def test_the_last_thing_told_is_often_not_the_one_asked_for(lang: Language) -> None:
    heads = {topic.acknowledgement.partition("{")[0] for topic in TOPICS[lang].values()}
    misleading = 0
    for dialogue in recalled(lang, 4, 500, held_out=True):
        later = dialogue.turns[-2 * dialogue.distance + 1 : -2 : 2]
        misleading += any(reply.startswith(head) for reply in later for head in heads if len(head) > 5)
    assert misleading > 50


@each_language
def test_questions_and_statements_are_unambiguous(lang: Language) -> None:
    questions = [question for attribute in ATTRIBUTES[lang].values() for question in attribute.questions]
    assert len(questions) == len(set(questions))
    for attribute in ATTRIBUTES[lang].values():
        assert len(attribute.questions) >= 10
    for topic in TOPICS[lang].values():
        assert len(topic.statements) >= 10
        for name in topic.attributes:
            assert all("{" + name + "}" in text for text in (*topic.statements, topic.acknowledgement))


@each_language
def test_there_are_many_values_and_each_once(lang: Language) -> None:
    forty = ((values, 40) for values in (NAMES, CITIES, FOODS, JOBS, PET_NAMES, PLANS))
    for values, least in (*forty, (COLOURS, 12), (ANIMALS, 15)):
        assert len(values[lang]) == len(set(values[lang])) >= least


@each_language
def test_what_was_never_told_is_not_made_up(lang: Language) -> None:
    rng, filler = random.Random(1), small_talk_filler(lang)
    for held_out in (False, True):
        for distance in (1, 2, 4):
            for _ in range(100):
                dialogue = recall.untold_dialogue(rng, lang, filler, distance, held_out)
                attribute, _, wording = dialogue.key.split(":")
                assert len(dialogue.turns) == 2 * distance
                assert dialogue.turns[-2] == ATTRIBUTES[lang][attribute].questions[int(wording)]
                assert dialogue.turns[-1] == ATTRIBUTES[lang][attribute].unknown
                assert is_held_out("recall", lang, dialogue.key) == held_out


@each_language
def test_recall_in_chinese_and_at_length_stays_in_form(lang: Language) -> None:
    for dialogue in recalled(lang, 16, 300, held_out=False):
        assert sum(len(turn.encode()) for turn in dialogue.turns) < 2400
        for turn in dialogue.turns:
            assert "{" not in turn
            assert lang == "en" or not ASCII_SENTENCE_PUNCTUATION.search(turn), turn
