"""Text that looks right and is written in other characters: look-alikes, marks on letters, invisible signs, emoji."""

from __future__ import annotations

from duologue.adversarial.draws import Draws
from duologue.adversarial.edits import Span
from duologue.adversarial.english_sound_and_sight import written_alike
from duologue.adversarial.family import Family, Group
from duologue.adversarial.text_view import TextView

COMBINING = "\u0300\u0301\u0302\u0303\u0308\u0323\u0331\u0335\u0336"
ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
DIRECTION = "\u200e\u200f\u202a\u202c\u2066\u2069"
EMOJI = ("😀", "😂", "🙏", "👍", "🤔", "😅", "😊", "❤️", "🔥", "🎉", "😭", "🙂", "👀", "✨", "🥺", "😎", "🤷",
         "💡", "🐱", "🌸")  # fmt: skip


def _places(view: TextView) -> list[Span]:
    """Where a sign fits inside words: after any of their letters but the last, and between Chinese characters."""
    inside = [(place, place) for start, end in view.words for place in range(start + 1, end)]
    return inside + [(place, place) for place in view.hanzi if view.is_free(place, place)]


def _breaks(view: TextView) -> list[Span]:
    """Where an emoji fits: before words, after marks, at the end."""
    ends = [(end, end) for _, end in view.marks] + [(start, start) for start, _ in view.words]
    ends.append((len(view.text), len(view.text)))
    return [span for span in dict.fromkeys(ends) if view.is_free(*span)]


def _one_of(signs: str):
    return lambda view, span, draws: draws.pick(signs)


def _emoji(view: TextView, span: Span, draws: Draws) -> str:
    signs, before = draws.pick(EMOJI) * (1 + draws.below(2)), view.text[: span[0]][-1:]
    head = " " if before.isascii() and before.strip() else ""
    return head + signs + ("" if span[1] == len(view.text) or view.lang == "zh" else " ")


def _fullwidth(view: TextView, span: Span, draws: Draws) -> str:
    piece = view.text[span[0] : span[1]]
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in piece)


FAMILIES = (
    Family("homoglyph", Group.SIGHT, None, lambda view: view.words, written_alike("homoglyph", 2)),
    Family("combining", Group.SIGHT, None, _places, _one_of(COMBINING)),
    Family("zero-width", Group.INVISIBLE, None, _places, _one_of(ZERO_WIDTH), True),
    Family("direction", Group.INVISIBLE, None, _places, _one_of(DIRECTION), True),
    Family("full-width", Group.INVISIBLE, None, lambda view: view.words, _fullwidth, True),
    Family("emoji", Group.WORDING, None, _breaks, _emoji),
)
