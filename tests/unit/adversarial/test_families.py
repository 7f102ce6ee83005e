"""Every family: exact edits, nothing protected touched, and it does what its name says."""

import re
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.adversarial.chinese_tables import characters, fuzzy_readings, slipped_readings, words
from duologue.adversarial.draws import Draws
from duologue.adversarial.edits import apply_edits, undo_edits
from duologue.adversarial.families import TEXT_FAMILIES, select_families
from duologue.adversarial.family import Group, perturb
from duologue.adversarial.normaliser import normalise_text
from duologue.adversarial.protected import MEANS_MUCH, PROTECTED
from duologue.adversarial.text_view import TextView
from duologue.conversation import Conversation
from duologue.errors import ConfigError

ENGLISH = "Please tell the people where their friends went yesterday, because everybody says it is a wonder"
CHINESE = "请你告诉大家他们的朋友昨天到哪里去了，因为每个人都在想这件事情，谢谢"
SHARP = ('call `f(x)` at https://a.b/c?d=1 or mail me@x.org about "the blue house", 42.5 km, don\'t wait, a_name.py, '
         "<|im_end|> and «more»; 请看“原话”和《红楼梦》，一共三十二个，不要改 12:30 @you #tag")  # fmt: skip
FAMILIES = list(TEXT_FAMILIES.values())


def noisy(name: str, text: str, *key: object, rate: float = 0.2) -> str:
    return apply_edits(text, perturb(TextView(text), TEXT_FAMILIES[name], rate, Draws(name, *key)))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_strikes_its_own_language_and_is_undone(family) -> None:
    text = CHINESE if family.lang == "zh" else ENGLISH
    struck = 0
    for number in range(30):
        edits = perturb(TextView(text), family, 0.2, Draws(number))
        changed = apply_edits(text, edits)
        assert undo_edits(changed, edits) == text
        assert all(edit.old == text[edit.start : edit.end] != edit.new and edit.family == family.name for edit in edits)
        struck += changed != text
    assert struck >= 25
    other = {"en": CHINESE, "zh": ENGLISH}.get(family.lang)
    assert other is None or not perturb(TextView(other), family, 0.5, Draws(1))


@given(st.sampled_from(FAMILIES), st.integers(0, 10**9), st.floats(0.01, 1.0))
def test_what_is_protected_stays(family, key: int, rate: float) -> None:
    edits = perturb(TextView(SHARP), family, rate, Draws(key))
    for found in PROTECTED.finditer(SHARP):
        start, end = found.span()
        assert all(edit.end <= start or end <= edit.start for edit in edits), found.group()
    assert undo_edits(apply_edits(SHARP, edits), edits) == SHARP


@given(st.text(max_size=80), st.sampled_from(FAMILIES), st.integers(0, 10**9))
def test_any_text_is_undone(text: str, family, key: int) -> None:
    edits = perturb(TextView(text), family, 0.5, Draws(key))
    assert undo_edits(apply_edits(text, edits), edits) == text


def check_rows(builtin_rows: list[Conversation], epochs: int) -> int:
    """Every family on every user turn: undone, and nothing protected touched; gives the number of edited texts."""
    num_texts = 0
    for number, row in enumerate(builtin_rows * epochs):
        text = row.messages[0].content
        family = FAMILIES[number % len(FAMILIES)]
        edits = perturb(TextView(text), family, 0.3, Draws(number))
        assert undo_edits(apply_edits(text, edits), edits) == text
        spans = [found.span() for found in PROTECTED.finditer(text)]
        assert all(edit.end <= a or b <= edit.start for edit in edits for a, b in spans)
        num_texts += 1
    return num_texts


def test_five_thousand_rows(builtin_rows: list[Conversation]) -> None:
    assert check_rows(builtin_rows, 1) == 5000


@pytest.mark.soak
def test_a_hundred_thousand_rows(builtin_rows: list[Conversation]) -> None:
    assert check_rows(builtin_rows, 20) == 100_000


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_as_many_edits_as_the_rate_says(family) -> None:
    text = (CHINESE if family.lang == "zh" else ENGLISH) * 4
    view = TextView(text)
    units, sites = family.num_units(view), len(family.sites(view))
    for rate in (0.02, 0.1):
        counts = [len(perturb(view, family, rate, Draws(number, rate))) for number in range(60)]
        mean = sum(counts) / len(counts)
        assert mean <= max(1.0, rate * units) + 0.5
        assert mean >= min(rate * units, sites) * 0.5
    assert perturb(view, family, 0.0, Draws(1)) == []


def test_sound_families_keep_or_nearly_keep_the_reading() -> None:
    table = characters()
    for number in range(100):
        view = TextView(CHINESE)
        for edit in perturb(view, TEXT_FAMILIES["zh-same-pinyin"], 0.2, Draws(number)):
            start, end = edit.start, edit.end
            read = [table[c].reading for c in CHINESE[start:end]]
            assert [table[c].reading for c in edit.new] == read or any(
                CHINESE[a : a + n] in words() for a in range(start - 3, end) for n in (2, 3, 4)
            )
        for edit in perturb(view, TEXT_FAMILIES["zh-fuzzy-pinyin"], 0.2, Draws(number)):
            assert table[edit.new].reading in fuzzy_readings(table[edit.old].reading)
        for edit in perturb(view, TEXT_FAMILIES["zh-pinyin-slip"], 0.2, Draws(number)):
            assert table[edit.new].reading in slipped_readings(table[edit.old].reading)


def test_fuzzy_sounds() -> None:
    assert set(fuzzy_readings("shang")) == {"sang", "shan"}
    assert set(fuzzy_readings("nin")) == {"lin", "ning"}
    assert "chen" in fuzzy_readings("cheng")


def test_examples_of_each_kind() -> None:
    assert any(noisy("zh-split", "我很好", n, rate=1.0) == "手戈很女子" for n in range(20))
    assert noisy("zh-traditional", "国家经济", rate=1.0) == "國家經濟"
    assert noisy("en-swap", "word", 0) == "wrod" or noisy("en-swap", "word", 0) == "wodr"
    assert set(re.findall("[a-z]+", noisy("en-message", "because you are late", 3, rate=1.0))).isdisjoint({"because"})
    assert noisy("full-width", "ask", rate=1.0) == "ａｓｋ"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_what_a_normaliser_takes_away(family) -> None:
    text = CHINESE if family.lang == "zh" else ENGLISH
    changed = [noisy(family.name, text, number) for number in range(20)]
    is_gone = all(normalise_text(one) == normalise_text(text) for one in changed)
    assert is_gone == family.dies_in_normaliser


def test_the_normaliser_leaves_text_as_people_write_it() -> None:
    for text in (ENGLISH, CHINESE, "👩‍👩‍👧 ok", "“好”——《书》、（是）！", "naïve café"):
        assert normalise_text(text) == unicodedata.normalize("NFC", text)
    assert normalise_text("ａｂｃ①\u200bde\u2066f") == "abc1def"


def test_groups_are_held_out_whole() -> None:
    assert "zh-shape" in select_families(["sight"])
    assert "homoglyph" in select_families(["sight"])
    assert select_families(["en-swap", "zh-drop"]) == ("en-swap", "zh-drop")
    with pytest.raises(ConfigError, match="did you mean en-swap"):
        select_families(["en-swop"])
    assert {family.group for family in FAMILIES} >= {Group.TYPING, Group.HEARING, Group.SIGHT, Group.PINYIN}


def test_no_number_and_no_negation_is_brought_in(builtin_rows: list[Conversation]) -> None:
    tricky = ["Is there nobody then?", "请把这部分给他们看", "这是每个部门的事，左边的百合花", "went for a walk to it"]
    texts = [row.messages[0].content for row in builtin_rows[:1500]] + tricky * 20
    for number, text in enumerate(texts):
        for family in FAMILIES[number % 3 :: 3]:
            changed = apply_edits(text, perturb(TextView(text), family, 0.3, Draws(number)))
            assert len(MEANS_MUCH.findall(changed)) <= len(MEANS_MUCH.findall(text)), (family.name, text, changed)


@pytest.mark.parametrize("piece", ["哈", "a", "<|", "a.b@", "1,2", "/a", '"', "go to "])
def test_no_text_takes_long(piece: str) -> None:
    start = time.process_time()
    view = TextView(piece * (30_000 // len(piece)))
    for family in FAMILIES:
        perturb(view, family, 0.01, Draws(1))
    assert time.process_time() - start < 10


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_fast_enough(lang: str) -> None:
    """A turn of 110 characters takes at most 200 microseconds of one core, on average over the families."""
    text = (ENGLISH + " and so on today" if lang == "en" else CHINESE * 4)[:110]
    assert len(text) == 110
    families = [family for family in FAMILIES if family.lang in (lang, None)]
    for family in families:
        perturb(TextView(text), family, 0.1, Draws("warm"))

    def once() -> float:
        start, count = time.process_time(), 0
        for number in range(40):
            for family in families:
                apply_edits(text, perturb(TextView(text), family, 0.1, Draws(number)))
                count += 1
        return (time.process_time() - start) / count

    assert min(once() for _ in range(5)) <= 200e-6
