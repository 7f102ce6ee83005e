"""Requests that come in kinds, each with one reply: drawn from a table of deeds, questions and slots.

A *deed* (``book a table``) is put into a polite frame; a question stands for itself, after an opening. The key names
the kind, the words, the frame or opening, and what fills the slots, so the test asks in combinations never seen.
"""

from __future__ import annotations

import random
import string
from collections.abc import Mapping
from typing import Any

from duologue.data.builtin.material import manners, read_table
from duologue.data.builtin.skill import Exchange, Language


def draw_request(table: str, rng: random.Random, lang: Language) -> Exchange:
    """One request of the table (``clarification`` or ``declining``), every kind as often as any other."""
    content = read_table(f"{lang}/{table}.toml")
    name = rng.choice(list(content["kinds"]))
    kind = content["kinds"][name]
    sentence, wording = _pick_sentence(rng, lang, kind)
    values = _fill_slots(rng, sentence, content["slots"] | kind.get("slots", {}))
    key = ":".join((name, wording, *values.values()))
    return Exchange(key, (manners.finished(rng, lang, sentence.format_map(values)), kind["reply"]))


def _pick_sentence(rng: random.Random, lang: Language, kind: Mapping[str, Any]) -> tuple[str, str]:
    """A sentence with open slots, and its name: which words, in which frame or after which opening."""
    deeds, asks = kind["deeds"], kind["asks"]
    number = rng.randrange(len(deeds) + len(asks))
    if number < len(deeds):
        frame = rng.choice(manners.frames(lang))
        return manners.framed(frame, deeds[number]), f"{deeds[number]}:{frame}"
    ask = asks[number - len(deeds)]
    opening = manners.opening_for(rng, lang, ask)
    return manners.opened(opening, ask), f"{ask}:{opening}"


def _fill_slots(rng: random.Random, sentence: str, slots: Mapping[str, list[str]]) -> dict[str, str]:
    names = [name for _, name, _, _ in string.Formatter().parse(sentence) if name]
    return {name: rng.choice(slots[name]) for name in names}
