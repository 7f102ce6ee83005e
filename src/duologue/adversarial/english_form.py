"""English written carelessly: capitals, spaces and marks that are missing or too many."""

from __future__ import annotations

from duologue.adversarial.draws import Draws
from duologue.adversarial.edits import Span
from duologue.adversarial.english_typing import long_words
from duologue.adversarial.family import Family, Group
from duologue.adversarial.text_view import TextView


def _case(view: TextView, span: Span, draws: Draws) -> str:
    word = view.text[span[0] : span[1]]
    others = [form for form in (word.lower(), word.upper(), word.capitalize(), word.swapcase()) if form != word]
    return draws.pick(others) if others else word


def _gaps_and_words(view: TextView) -> list[Span]:
    gaps = [(start, end) for start, end in view.gaps if view.is_free(start - 1, end + 1)]
    return [*gaps, *long_words(view)]


def _spacing(view: TextView, span: Span, draws: Draws) -> str:
    piece = view.text[span[0] : span[1]]
    if piece == " ":
        return ""
    cut = 1 + draws.below(len(piece) - 1)
    return f"{piece[:cut]} {piece[cut:]}"


def english_marks(view: TextView) -> list[Span]:
    """Marks of an English text, and its end where none stands there."""
    spans = [span for span in view.marks if view.text[span[0]].isascii()]
    end = len(view.text)
    is_open = end > 0 and view.text[-1].isascii() and view.text[-1].isalpha()
    return [*spans, (end, end)] if is_open and view.is_free(end - 1, end) else spans


def _punctuation(view: TextView, span: Span, draws: Draws) -> str:
    mark = view.text[span[0] : span[1]]
    if not mark:
        return draws.pick((".", "...", "!", "?", " .", ",", " :)"))
    at = draws.below(4)
    if at == 0:
        return ""
    if at == 1:
        return mark * (2 + draws.below(2))
    return f" {mark}" if at == 2 else draws.pick([other for other in ".,!?;" if other != mark])


FAMILIES = (
    Family("en-case", Group.FORM, "en", lambda view: view.words, _case),
    Family("en-spacing", Group.FORM, "en", _gaps_and_words, _spacing),
    Family("en-punctuation", Group.FORM, "en", english_marks, _punctuation),
)
