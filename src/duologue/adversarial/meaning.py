"""Questions that mean something else: a good model gives them another answer.

A model that reads past noise by no longer reading is found out here: its answer to the old question becomes no less
likely when the question changes.

Source: Niu and Bansal 2018, arXiv:1809.02079 ("should change" beside "should not change").
"""

from __future__ import annotations

import re
from functools import cache

from duologue.adversarial.draws import Draws
from duologue.adversarial.edits import Span
from duologue.adversarial.english_wording import as_cased
from duologue.adversarial.family import Family, Group
from duologue.adversarial.table_files import each_to_others, read_table
from duologue.adversarial.text_view import TextView

NUMBER = re.compile(r"(?<![\d.])\d+(?![\d.]*\d)")
NUMERALS = "二三四五六七八九"
NUMERAL = re.compile(f"(?<![{NUMERALS}十百零])[{NUMERALS}](?![{NUMERALS}十百千])")
NUMBER_WORDS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBER_WORD = re.compile(rf"\b(?:{'|'.join(NUMBER_WORDS)})\b", re.IGNORECASE)
IRREGULAR = {"cannot": "can", "can't": "can", "can’t": "can", "won't": "will", "won’t": "will"}
VERBS = "is|are|am|was|were|can|could|do|does|did|will|would|should|has|have"
NOT = re.compile(rf"\b(?:{'|'.join(IRREGULAR)}|(?:{VERBS})(?: not|n['’]t)?)\b", re.IGNORECASE)
NOT_CHINESE = re.compile(
    "不是|不会|不能|没有|不要|不可以|不喜欢|不想|(?<!不)可以|(?<!不)喜欢|"
    "(?<![但于还就要只可总])是(?![不的])|(?<![没所还只])有(?![没关些的])"
)
TWO_NUMBERS = re.compile(r"(?<![\d.,/-])(\d+)( ?(?:-|−|÷|/|minus|divided by|减去?|除以) ?)(\d+)(?![\d.,/-])")


def _found(pattern: re.Pattern[str], view: TextView) -> list[Span]:
    return [found.span() for found in pattern.finditer(view.text)]


def _number(view: TextView, span: Span, draws: Draws) -> str:
    """Another number of as many digits."""
    old = view.text[span[0] : span[1]]
    if not old.isdigit() or not old.isascii():
        choices = NUMERALS if old in NUMERALS else NUMBER_WORDS
        return as_cased(draws.pick([one for one in choices if one != old.lower()]), old)
    low = 10 ** (len(old) - 1) if len(old) > 1 else 0
    new = low + draws.below(10 ** len(old) - low - 1)
    return str(new if new < int(old) else new + 1)


def _numbers(view: TextView) -> list[Span]:
    spans = (_found(pattern, view) for pattern in (NUMBER, NUMBER_WORD, NUMERAL))
    return [span for one in spans for span in one if span[1] - span[0] <= 9]


def _negated(view: TextView, span: Span, draws: Draws) -> str:
    old = view.text[span[0] : span[1]]
    if old.lower() in IRREGULAR:
        return as_cased(IRREGULAR[old.lower()], old)
    bare = re.sub(r" not$|n['’]t$", "", old, flags=re.IGNORECASE)
    return f"{old} not" if bare == old else bare


def _negated_chinese(view: TextView, span: Span, draws: Draws) -> str:
    old = view.text[span[0] : span[1]]
    if old[0] in "不没":
        return old[1:]
    return f"没{old}" if old == "有" else f"不{old}"


@cache
def _alternatives(kind: str) -> tuple[re.Pattern[str], dict[str, tuple[str, ...]]]:
    """A pattern for the words of a kind (of all other kinds, if that is "entity"), and to each its alternatives."""
    rows = [row[1:] for row in read_table("alternatives") if (row[0] == "antonym") == (kind == "antonym")]
    # A single Chinese character is part of too many other words.
    found = each_to_others([word for word in row if len(word) > 1 or word.isascii()] for row in rows)
    ordered = sorted(found, key=len, reverse=True)
    english = "|".join(re.escape(word) for word in ordered if word.isascii())
    chinese = "|".join(word for word in ordered if not word.isascii())
    return re.compile(rf"\b(?:{english})\b|{chinese}", re.IGNORECASE), found


def _another(kind: str):
    def write(view: TextView, span: Span, draws: Draws) -> str:
        old = view.text[span[0] : span[1]]
        return as_cased(draws.pick(_alternatives(kind)[1][old.lower()]), old)

    return write


def _listed(kind: str):
    return lambda view: _found(_alternatives(kind)[0], view)


def _exchanged(view: TextView, span: Span, draws: Draws) -> str:
    return TWO_NUMBERS.sub(r"\3\2\1", view.text[span[0] : span[1]])


def _unequal_numbers(view: TextView) -> list[Span]:
    return [found.span() for found in TWO_NUMBERS.finditer(view.text) if found[1] != found[3]]


MEANING_FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("number", Group.MEANING, None, _numbers, _number),
        Family("order", Group.MEANING, None, _unequal_numbers, _exchanged),
        Family("entity", Group.MEANING, None, _listed("entity"), _another("entity")),
        Family("antonym", Group.MEANING, None, _listed("antonym"), _another("antonym")),
        Family("en-negation", Group.MEANING, "en", lambda view: _found(NOT, view), _negated),
        Family("zh-negation", Group.MEANING, "zh", lambda view: _found(NOT_CHINESE, view), _negated_chinese),
    )
}
