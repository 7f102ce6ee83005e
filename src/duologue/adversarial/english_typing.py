"""Slips of the fingers in English words: letters swapped, dropped, doubled, put in, or hit beside.

A word of fewer than four letters is left alone, and so is a word's first letter: people rarely miss it, and the rest
can be read past.

Source: Belinkov and Bisk 2018, arXiv:1711.02173; Pruthi et al. 2019, arXiv:1905.11268 (the first letter stays).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from duologue.adversarial.draws import Draws
from duologue.adversarial.edits import Span
from duologue.adversarial.family import Family, Group
from duologue.adversarial.text_view import TextView

SHORTEST = 4
ROWS = (("qwertyuiop", 0.0), ("asdfghjkl", 0.25), ("zxcvbnm", 0.75))  # keys and how far the row is set in, in keys
REACH = 1.3  # how far off a finger lands, in keys
LEFT_HAND = frozenset("qwertasdfgzxcvb")

Slip = Callable[[str, Draws], str]


@cache
def near_keys(letter: str) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """The keys that are hit instead of a letter's, and how likely each is: nearer ones, and those of the same hand."""
    places = {key: (x + inset, y) for y, (keys, inset) in enumerate(ROWS) for x, key in enumerate(keys)}
    x, y = places[letter]
    near, likely = [], []
    for key, (other_x, other_y) in places.items():
        distance = ((x - other_x) ** 2 + (y - other_y) ** 2) ** 0.5
        if 0 < distance < REACH:
            near.append(key)
            likely.append((1.0 if (key in LEFT_HAND) == (letter in LEFT_HAND) else 0.5) / distance)
    return tuple(near), tuple(likely)


def beside(letter: str, draws: Draws) -> str:
    """A letter whose key is near, in the same case; anything but a Latin letter stays."""
    if not letter.isascii() or not letter.isalpha():
        return letter
    hit = draws.pick_by(*near_keys(letter.lower()))
    return hit.upper() if letter.isupper() else hit


def _swap(word: str, draws: Draws) -> str:
    places = [i for i in range(1, len(word) - 1) if word[i] != word[i + 1]]
    if not places:
        return word
    i = draws.pick(places)
    return word[:i] + word[i + 1] + word[i] + word[i + 2 :]


def _drop(word: str, draws: Draws) -> str:
    i = 1 + draws.below(len(word) - 1)
    return word[:i] + word[i + 1 :]


def _double(word: str, draws: Draws) -> str:
    i = draws.below(len(word))
    return word[:i] + word[i] + word[i:]


def _insert(word: str, draws: Draws) -> str:
    i = 1 + draws.below(len(word) - 1)
    return word[:i] + beside(word[i], draws) + word[i:]


def _keyboard(word: str, draws: Draws) -> str:
    i = 1 + draws.below(len(word) - 1)
    return word[:i] + beside(word[i], draws) + word[i + 1 :]


def long_words(view: TextView) -> list[Span]:
    """The words in which a slip can be read past."""
    return [span for span in view.words if span[1] - span[0] >= SHORTEST]


def _family(name: str, slip: Slip) -> Family:
    def write(view: TextView, span: Span, draws: Draws) -> str:
        return slip(view.text[span[0] : span[1]], draws)

    return Family(name, Group.TYPING, "en", long_words, write)


FAMILIES = (
    _family("en-swap", _swap),
    _family("en-drop", _drop),
    _family("en-double", _double),
    _family("en-insert", _insert),
    _family("en-keyboard", _keyboard),
)
