"""English put in other words than it should be: small words left out, words said twice, fillers, slips of learners,
contractions, and how people write in messages."""

from __future__ import annotations

import re
from functools import cache

from duologue.adversarial.draws import Draws
from duologue.adversarial.edits import Span
from duologue.adversarial.family import Family, Group
from duologue.adversarial.table_files import each_to_others, read_table
from duologue.adversarial.text_view import TextView

FUNCTION_WORDS = frozenset(
    ("a", "an", "the", "of", "to", "is", "are", "am", "was", "were", "be", "do", "does", "did", "have", "has", "for",
     "in", "on", "at", "by", "with", "that", "this", "it", "there", "please", "can", "could", "would", "will", "me",
     "my", "your", "some")
)  # fmt: skip
FILLERS = ("um", "uh", "like", "you know", "well", "so", "er", "hmm", "I mean", "actually", "basically", "ok so")
VOWELS = re.compile(r"(?<=\w)[aeiou](?=\w)")
LONG = 6
BOTH_WAYS = ("english_contractions", "english_homophones")  # tables in which each member of a row may become any other


@cache
def forms_of(table: str) -> dict[str, tuple[str, ...]]:
    """To a phrase in lower case what may stand in its place."""
    rows = read_table(table)
    return each_to_others(rows) if table in BOTH_WAYS else {row[0].lower(): row[1:] for row in rows}


@cache
def phrases(table: str) -> re.Pattern[str]:
    """Finds the members of a table that are more than one word."""
    several = sorted((phrase for phrase in forms_of(table) if " " in phrase), key=len, reverse=True)
    choices = "|".join(map(re.escape, several)) if several else "(?!)"  # which nothing matches
    return re.compile(rf"\b(?:{choices})\b", re.IGNORECASE)


def listed(view: TextView, table: str) -> list[Span]:
    """The words and phrases of a text that a table has, phrases first."""
    known, text = forms_of(table), view.text
    long = [found.span() for found in phrases(table).finditer(text)]
    words = [span for span in view.words if text[span[0] : span[1]].lower() in known]
    return [span for span in long if view.is_free(*span)] + words


def as_cased(new: str, old: str) -> str:
    """The new words with a capital where the old ones had one."""
    return new[:1].upper() + new[1:] if old[:1].isupper() else new


def from_table(table: str):
    """Writes a member of the table's row instead."""

    def write(view: TextView, span: Span, draws: Draws) -> str:
        old = view.text[span[0] : span[1]]
        return as_cased(draws.pick(forms_of(table).get(old.lower(), (old,))), old)

    return write


def _small_words(view: TextView) -> list[Span]:
    """Function words together with the space after them."""
    text = view.text
    ends = ((start, end) for start, end in view.words if text[start:end].lower() in FUNCTION_WORDS)
    return [(start, end + 1) for start, end in ends if text[end : end + 1] == " "]


def _doubled(view: TextView, span: Span, draws: Draws) -> str:
    word = view.text[span[0] : span[1]]
    return f"{word} {word.lower() if draws.is_below(0.5) else word}"


def _before_words(view: TextView) -> list[Span]:
    return [(start, start) for start, _ in view.words if view.is_free(start, start)]


def _filler(view: TextView, span: Span, draws: Draws) -> str:
    mark = draws.pick((",", "...", ""))
    return f"{draws.pick(FILLERS)}{mark} "


def _short_words(view: TextView) -> list[Span]:
    known = set(found := listed(view, "english_short"))
    return found + [span for span in view.words if span[1] - span[0] >= LONG and span not in known]


def _short(view: TextView, span: Span, draws: Draws) -> str:
    old = view.text[span[0] : span[1]]
    forms = forms_of("english_short").get(old.lower())
    return as_cased(draws.pick(forms), old) if forms else VOWELS.sub("", old)


def _contracted(view: TextView, span: Span, draws: Draws) -> str:
    written = from_table("english_contractions")(view, span, draws)
    return written.replace("'", "") if draws.is_below(0.3) else written


FAMILIES = (
    Family("en-small-word", Group.WORDING, "en", _small_words, lambda view, span, draws: ""),
    Family("en-twice", Group.WORDING, "en", lambda view: view.words, _doubled),
    Family("en-filler", Group.WORDING, "en", _before_words, _filler),
    Family("en-learner", Group.WORDING, "en", lambda view: listed(view, "english_grammar"),
           from_table("english_grammar")),
    Family("en-contraction", Group.WORDING, "en", lambda view: listed(view, "english_contractions"), _contracted),
    Family("en-message", Group.WORDING, "en", _short_words, _short),
)  # fmt: skip
