"""English misheard and misread: words that sound alike, spelling by ear, letters that look alike."""

from __future__ import annotations

import re
from functools import cache

from duologue.adversarial.draws import Draws
from duologue.adversarial.edits import Span
from duologue.adversarial.english_typing import long_words
from duologue.adversarial.english_wording import as_cased, from_table, listed
from duologue.adversarial.family import Family, Group
from duologue.adversarial.table_files import read_table
from duologue.adversarial.text_view import TextView

# Spelling by ear: pieces of words and how they sound to whoever never saw them written.
BY_EAR = (
    ("tion", "shun"), ("sion", "zhun"), ("ture", "cher"), ("ight", "ite"), ("ough", "uff"), ("augh", "af"),
    ("ph", "f"), ("ck", "k"), ("que", "k"), ("qu", "kw"), ("wh", "w"), ("kn", "n"), ("wr", "r"), ("ee", "ea"),
    ("ea", "ee"), ("ai", "ay"), ("ou", "ow"), ("oo", "u"), ("ie", "ei"), ("ei", "ie"), ("ce", "se"), ("ci", "si"),
    ("c", "k"), ("x", "ks"), ("er", "ur"), ("or", "er"), ("le", "el"), ("s", "z"), ("y", "ie"), ("ss", "s"),
    ("ll", "l"), ("tt", "t"), ("pp", "p"), ("mm", "m"), ("nn", "n"), ("rr", "r"), ("th", "t"), ("au", "o"),
)  # fmt: skip


def _by_ear(view: TextView, span: Span, draws: Draws) -> str:
    word = view.text[span[0] : span[1]]
    found = [(word.lower().find(piece, 1), piece, sound) for piece, sound in BY_EAR]
    found = [one for one in found if one[0] > 0]
    if not found:
        return word
    at, piece, sound = draws.pick(found)
    return word[:at] + sound + word[at + len(piece) :]


@cache
def _alike(kind: str) -> tuple[re.Pattern[str], dict[str, tuple[str, ...]]]:
    forms = {row[1]: row[2:] for row in read_table("letters_alike") if row[0] == kind}
    ordered = sorted(forms, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, ordered))), forms


def written_alike(kind: str, most: int):
    """Writes up to so many letters of a word as what looks like them."""

    def write(view: TextView, span: Span, draws: Draws) -> str:
        word = view.text[span[0] : span[1]]
        pattern, forms = _alike(kind)
        found = list(pattern.finditer(word))
        if not found:
            return word
        chosen = sorted(draws.some(len(found), 1 + draws.below(most)), reverse=True)
        for number in chosen:
            start, end = found[number].span()
            word = word[:start] + draws.pick(forms[found[number].group()]) + word[end:]
        return word

    return write


def _ear_words(view: TextView) -> list[Span]:
    return [span for span in long_words(view) if as_cased("a", view.text[span[0] :]) == "a"]  # names stay


FAMILIES = (
    Family("en-homophone", Group.HEARING, "en", lambda view: listed(view, "english_homophones"),
           from_table("english_homophones")),
    Family("en-by-ear", Group.HEARING, "en", _ear_words, _by_ear),
    Family("en-scan", Group.SIGHT, "en", long_words, written_alike("ocr", 2)),
    Family("en-leet", Group.SIGHT, "en", long_words, written_alike("leet", 3)),
)  # fmt: skip
