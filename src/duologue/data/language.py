"""Which language a text is in, told by its characters."""

from __future__ import annotations

import re

from duologue.data.formats import Row

LOOKED_AT_CHARACTERS = 2_000
HAN = re.compile("[\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff]")
LATIN = re.compile("[A-Za-z]")
OTHER_LETTER = re.compile("[\\u0370-\\u1fff\\u3040-\\u30ff\\uac00-\\ud7af]")
# A Chinese word has about two characters, an English one about five and a half letters.
LETTERS_PER_HAN = 2.75


def language_of(row: Row) -> str:
    """The row's own ``lang``; where nobody said, a guess."""
    return row.lang or guess_language(row.text)


def guess_language(text: str) -> str:
    """``"en"``, ``"zh"`` or ``"other"``, by the script of most words at the text's beginning."""
    head = text[:LOOKED_AT_CHARACTERS]
    num_han, num_latin, num_other = (len(script.findall(head)) for script in (HAN, LATIN, OTHER_LETTER))
    if num_other > max(num_han, num_latin) or num_han + num_latin == 0:
        return "other"
    return "zh" if num_han * LETTERS_PER_HAN >= num_latin else "en"
