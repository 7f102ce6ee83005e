"""Chinese typed by sound: another word of the same pinyin, a slip in the pinyin, pinyin left as it was typed, and
sounds that speakers do not tell apart.

Source: Liu et al. 2011, doi:10.1145/1967293.1967297 (most slips in Chinese text sound like what was meant).
"""

from __future__ import annotations

from collections.abc import Callable

from duologue.adversarial.chinese_tables import (
    characters,
    characters_by_reading,
    fuzzy_readings,
    slipped_readings,
    sounding_like,
    words,
    words_by_reading,
)
from duologue.adversarial.draws import Draws
from duologue.adversarial.edits import Span
from duologue.adversarial.family import Family, Group
from duologue.adversarial.text_view import TextView

LONGEST_WORD = 4


def known_characters(view: TextView) -> list[Span]:
    """The Chinese characters of a text that the tables have."""
    table, text = characters(), view.text
    return [(place, place + 1) for place in view.hanzi if text[place] in table]


def _words_and_characters(view: TextView) -> list[Span]:
    """Words that sound like another, and characters, each as likely to be struck as it is long."""
    known, text, hanzi = words(), view.text, view.hanzi
    free, spans = set(hanzi), []
    for start in hanzi:
        for length in range(2, LONGEST_WORD + 1):
            if start + length - 1 not in free:
                break
            if text[start : start + length] in known:
                spans.append((start, start + length))
    return spans + known_characters(view)


def _same_pinyin(view: TextView, span: Span, draws: Draws) -> str:
    old = view.text[span[0] : span[1]]
    if len(old) > 1:
        return words_by_reading()[words()[old]].other_than(old, draws)
    return characters_by_reading()[characters()[old].reading].other_than(old, draws)


def _raw_pinyin(view: TextView, span: Span, draws: Draws) -> str:
    old = view.text[span[0] : span[1]]
    return "".join((words()[old] if len(old) > 1 else characters()[old].reading).split())


def _mistaken(readings: Callable[[str], tuple[str, ...]]) -> Callable[[TextView, Span, Draws], str]:
    """Writes a character that is read in another way than the one that stands there; commoner ones more often."""

    def write(view: TextView, span: Span, draws: Draws) -> str:
        old = view.text[span[0]]
        found = sounding_like(readings(characters()[old].reading))
        return draws.pick_by(found.texts, found.weights) if found.texts else old

    return write


def _fuzzy_characters(view: TextView) -> list[Span]:
    table, text = characters(), view.text
    return [span for span in known_characters(view) if fuzzy_readings(table[text[span[0]]].reading)]


FAMILIES = (
    Family("zh-same-pinyin", Group.PINYIN, "zh", _words_and_characters, _same_pinyin),
    Family("zh-pinyin-slip", Group.PINYIN, "zh", known_characters, _mistaken(slipped_readings)),
    Family("zh-raw-pinyin", Group.PINYIN, "zh", _words_and_characters, _raw_pinyin),
    Family("zh-fuzzy-pinyin", Group.HEARING, "zh", _fuzzy_characters, _mistaken(fuzzy_readings)),
)
