"""Duplicates: found where they are, not where texts only look alike, and in little memory."""

import random
import tracemalloc

import pytest

from duologue.conversation import Conversation
from duologue.data.duplicates import DuplicateFinder, Duplicates, exact_hash, signature
from duologue.data.formats import PlainText, Row

BEGINNINGS, MIDDLES, ENDS = ("ba", "lo", "ri", "su", "te"), ("nk", "mp", "rd", "st"), ("er", "ing", "o")
WORDS = [f"{a}{b}{c}" for a in BEGINNINGS for b in MIDDLES for c in ENDS]
HAN = [chr(point) for point in range(0x4E00, 0x4E00 + 600)]


def find(*rows: Row | str) -> Duplicates:
    finder = DuplicateFinder()
    for row in rows:
        finder.add(PlainText(row) if isinstance(row, str) else row)
    return finder.find()


def test_the_first_of_equal_rows_is_no_duplicate() -> None:
    found = find("a", "b", "a", "a", "b")
    assert found.is_exact.tolist() == [False, False, True, True, True]
    assert (found.num_exact, found.num_near) == (3, 0)


def test_who_speaks_makes_a_difference_and_labels_do_not() -> None:
    one, two = Conversation.of("a", "b"), Conversation.of("a b", system="a")
    assert exact_hash(one) != exact_hash(two)
    assert exact_hash(Conversation.of("ab", "")) != exact_hash(Conversation.of("a", "b"))
    assert exact_hash(one) == exact_hash(Conversation(one.messages, id="7", source="x", lang="en"))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("Who was the first U.S. President?", "who was the first us president"),
        ("你好！今天怎么样？", "你好,今天怎么样?"),
        ("Hello  there", "Hello\nthere."),
    ],
)
def test_punctuation_white_space_and_case_are_no_difference(one: str, two: str) -> None:
    found = find(one, two)
    assert (found.num_exact, found.is_near.tolist()) == (0, [False, True])


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("What is the capital of France?", "What is the capital of Spain?"),
        ("3 + 4 = 7", "3 * 4 = 7"),
        ("9 - 4", "94"),
        ("法国的首都是哪里？", "英国的首都是哪里？"),
        ("!!!", "???"),
        ("😀", "😢"),
        ("", " "),
    ],
)
def test_short_texts_that_differ_are_not_near(one: str, two: str) -> None:
    assert find(one, two).num_near == 0


@pytest.mark.parametrize(("vocabulary", "glue", "length"), [(WORDS, " ", 80), (HAN, "", 250)])
def test_one_word_changed_in_a_long_text_is_near(vocabulary: list[str], glue: str, length: int) -> None:
    rng = random.Random(0)
    found = 0
    for _ in range(200):
        text = rng.choices(vocabulary, k=length)
        changed = list(text)
        changed[rng.randrange(length)] = "爱" if glue == "" else "otherwise"
        found += find(glue.join(text), glue.join(changed)).num_near
    assert found >= 195


def test_different_long_texts_are_not_near() -> None:
    rng = random.Random(1)
    texts = [" ".join(rng.choices(WORDS, k=120)) for _ in range(2_000)]
    assert find(*texts).num_near == 0


def test_half_of_a_long_text_changed_is_not_near() -> None:
    rng = random.Random(2)
    words = [f"{rng.choice(WORDS)}{n}" for n in range(200)]
    other = words[:100] + [f"{rng.choice(WORDS)}{n}" for n in range(1000, 1100)]
    assert find(" ".join(words), " ".join(other)).num_near == 0


def test_signatures_do_not_depend_on_the_process() -> None:
    assert signature("Hello").tobytes().hex() == signature("hello!").tobytes().hex() == HELLO_SIGNATURE
    assert len(signature("a long text " * 10_000)) == 16


HELLO_SIGNATURE = "636326499a263f27717e44dfd611c125"


def test_no_rows_have_no_duplicates() -> None:
    assert find().num_exact == 0


def test_memory_is_at_most_32_bytes_a_row() -> None:
    num_rows = 100_000
    find("warm up")
    rows = (PlainText(str(number % 90_000)) for number in range(num_rows))
    tracemalloc.start()
    finder = DuplicateFinder()
    for row in rows:
        finder.add(row)
    found = finder.find()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.num_exact == 10_000
    assert peak <= 32 * num_rows + (1 << 18)
