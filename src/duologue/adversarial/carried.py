"""What an answer takes from the question letter by letter: names, and words that it takes apart.

A reply that greets John or spells "kite" answers those very letters; a slip in them asks for something else. Other
words of the question may be said again by the reply too, but are known words, and a slip in them can be read past.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from duologue.adversarial.edits import Span
from duologue.adversarial.protected import HAN
from duologue.adversarial.text_view import WORD

# Single letters, or single characters, with marks and digits between them: c-a-t, 苹、果.
LETTERS_APART = re.compile(r"(?<![A-Za-z])[A-Za-z](?:[^A-Za-z\n]{1,6}[A-Za-z](?![A-Za-z]))+")
CHARACTERS_APART = re.compile(f"(?<![{HAN}])[{HAN}](?:[^{HAN}A-Za-z\\n]{{1,6}}[{HAN}](?![{HAN}]))+")
NAMED = re.compile(f"(?:叫做?|名字[是叫]?|姓|我是|称呼我?|喊我)(?:“)?([{HAN}]{{1,4}})")
CAPITALISED = re.compile(r"[A-Z][a-z]+")
MOST_SAID, MOST_APART = 20_000, 500  # characters of replies, and of what they take apart, that are looked at
SENTENCE_START = re.compile(r"(?:^|[.!?:\n]\s*|[\"“]\s*)$")


def carried_spans(question: str, replies: Iterable[str]) -> list[Span]:
    """The spans of a user's turn that a reply repeats letter by letter."""
    said = "\n".join(replies)[:MOST_SAID]
    apart = "\n".join(_apart(said, LETTERS_APART, str.isalpha))[:MOST_APART]
    both_ways = f"{apart}\n{apart[::-1]}"
    names = {found.group().lower() for found in CAPITALISED.finditer(said) if not _starts_sentence(said, found.start())}
    spans = []
    for found in WORD.finditer(question):
        word = found.group().lower()
        is_apart = len(word) > 1 and word in both_ways
        if is_apart or word.removesuffix("'s").removesuffix("’s") in names:
            spans.append(found.span())
    return spans + _carried_characters(question, said)


def _carried_characters(question: str, said: str) -> list[Span]:
    apart = "\n".join(_apart(said, CHARACTERS_APART, lambda c: re.match(f"[{HAN}]", c) is not None))[:MOST_APART]
    both_ways = f"{apart}\n{apart[::-1]}"
    spans = [(i, i + 2) for i in range(len(question) - 1) if apart and question[i : i + 2] in both_ways]
    for found in NAMED.finditer(question):
        start, end = found.span(1)
        while end > start and question[start:end] not in said:
            end -= 1
        if end > start:
            spans.append((start, end))
    return spans


def _apart(said: str, pattern: re.Pattern[str], is_part) -> list[str]:
    return ["".join(filter(is_part, found.group())).lower() for found in pattern.finditer(said)]


def _starts_sentence(said: str, place: int) -> bool:
    return SENTENCE_START.search(said, max(0, place - 6), place) is not None
