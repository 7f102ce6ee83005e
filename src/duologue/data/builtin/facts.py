"""Plain facts: capitals, opposites, what things are for, words of the other language, and so on.

Difficulty: over 300 facts in each language, to be known by heart, with one fixed reply to each; no reasoning. What
makes it hard for a small model is to tell 300 things apart by a word or two, after seeing each some tens of times.
Held out: the fact together with its wording. So each fact is known from training, and the test asks for it in words
in which it was never asked.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from duologue.data.builtin.material import manners, read_table
from duologue.data.builtin.skill import Exchange, Language


@dataclass(frozen=True, slots=True)
class Fact:
    """Something known: its name (``capital:France``), how it is asked for, and the one reply to it."""

    name: str
    wordings: tuple[str, ...]
    values: Mapping[str, str]
    reply: str


def draw(rng: random.Random, lang: Language) -> Exchange:
    """One fact, every fact as often as any other, asked in one of its family's wordings."""
    fact = rng.choice(all_facts(lang))
    number = rng.randrange(len(fact.wordings))
    wording = fact.wordings[number]
    question = manners.opened(manners.opening_for(rng, lang, wording), wording).format_map(fact.values)
    return Exchange(f"{fact.name}:{number}", (manners.finished(rng, lang, question), fact.reply))


@functools.cache
def all_facts(lang: Language) -> tuple[Fact, ...]:
    """Every fact of a language."""
    families = read_table(f"{lang}/facts.toml")
    return tuple(fact for name, family in families.items() for fact in _facts_of(name, family))


def _facts_of(name: str, family: Mapping[str, Any]) -> Iterator[Fact]:
    columns = family.get("columns", "ab")
    for row in _rows(family):
        values = dict(zip(columns, row, strict=True))
        asked = " ".join(value for column, value in values.items() if column != "b")
        values["A"] = values["a"][0].upper() + values["a"][1:]
        yield Fact(f"{name}:{asked}", tuple(family["wordings"]), values, family["reply"].format_map(values))


def _rows(family: Mapping[str, Any]) -> list[list[str]]:
    rows: list[list[str]] = read_table("words.toml")["pairs"] if family["rows"] == "words" else family["rows"]
    return rows + [row[::-1] for row in rows] if family.get("both_ways") else rows
