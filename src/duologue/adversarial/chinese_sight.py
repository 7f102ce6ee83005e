"""Chinese that looks like what was meant: characters alike, characters taken apart, traditional forms."""

from __future__ import annotations

from functools import cache

from duologue.adversarial.chinese_tables import characters
from duologue.adversarial.draws import Draws
from duologue.adversarial.edits import Span
from duologue.adversarial.family import Family, Group
from duologue.adversarial.text_view import TextView


@cache
def _column(name: str) -> dict[str, str]:
    """The characters for which the table has that column."""
    return {text: found for text, character in characters().items() if (found := getattr(character, name))}


def _with(name: str):
    def sites(view: TextView) -> list[Span]:
        column, text = _column(name), view.text
        return [(place, place + 1) for place in view.hanzi if text[place] in column]

    return sites


def _alike(view: TextView, span: Span, draws: Draws) -> str:
    return draws.pick(_column("alike")[view.text[span[0]]])


def _written(name: str):
    return lambda view, span, draws: _column(name)[view.text[span[0]]]


FAMILIES = (
    Family("zh-shape", Group.SIGHT, "zh", _with("alike"), _alike),
    Family("zh-split", Group.SIGHT, "zh", _with("parts"), _written("parts")),
    Family("zh-traditional", Group.FORM, "zh", _with("traditional"), _written("traditional")),
)
