"""Brings text back to the characters that were meant: what can be undone without a model should be.

It is applied to what users write where a server or a benchmark asks for it; families of noise that it takes away whole
say nothing about a model.

Source: Unicode Standard Annex 15 (NFKC); Unicode Technical Report 36 (invisible characters).
"""

from __future__ import annotations

import re
import unicodedata

# Signs that have no width, and those that only set the direction of writing. An emoji needs its joiner.
INVISIBLE = re.compile(
    "[\u00ad\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
    "|(?<![\u2190-\u2bff\ufe0f\U0001f000-\U0001faff])\u200d"
)
# NFKC would make other marks of these than Chinese text has.
CHINESE_MARKS = re.compile("([，。！？；：（）【】《》、“”‘’…—～]+)")


def normalise_text(text: str) -> str:
    """The text in NFKC and without invisible signs; Chinese marks stay Chinese."""
    text = INVISIBLE.sub("", text)
    if text.isascii():
        return text
    pieces = CHINESE_MARKS.split(text)  # every second one is marks
    pieces[::2] = [unicodedata.normalize("NFKC", piece) for piece in pieces[::2]]
    return "".join(pieces)
