"""Chinese characters and words by how they sound and look: tables made by experiments/chinese-tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from duologue.adversarial.draws import Draws
from duologue.adversarial.table_files import read_table

# Sounds that speakers of many regions do not tell apart.
FUZZY_STARTS = (("zh", "z"), ("ch", "c"), ("sh", "s"), ("n", "l"), ("h", "f"), ("r", "l"))
FUZZY_ENDS = (("ang", "an"), ("eng", "en"), ("ing", "in"))
MOST_OFFERED = 20
KEY_NEIGHBOURS = {"a": "sq", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj", "i": "uo",
                  "j": "hk", "k": "jl", "l": "k", "m": "n", "n": "bm", "o": "ip", "p": "o", "q": "wa", "r": "et",
                  "s": "ad", "t": "ry", "u": "yi", "v": "cb", "w": "qe", "x": "zc", "y": "tu", "z": "x"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Character:
    """A character.

    Attributes:
        reading: its syllable without the tone, ü as v.
        count: how common it is.
        alike: characters that look like it.
        parts: two characters that make it up, or nothing.
        traditional: its traditional form, or nothing.
    """

    reading: str
    count: int
    alike: str
    parts: str
    traditional: str


@dataclass(frozen=True, slots=True)
class Choices:
    """What an input method offers for a reading, and how likely each is taken: as the root of how common it is."""

    texts: tuple[str, ...]
    weights: tuple[float, ...]

    @classmethod
    def of(cls, counts: Iterable[tuple[str, int]]) -> Choices:
        """The commoner first."""
        ranked = sorted(counts, key=lambda pair: (-pair[1], pair[0]))
        return cls(tuple(text for text, _ in ranked), tuple((1 + count) ** 0.5 for _, count in ranked))

    def other_than(self, text: str, draws: Draws) -> str:
        """One of them that is not this one; this one where there is no other."""
        weights = [0.0 if one == text else weight for one, weight in zip(self.texts, self.weights, strict=True)]
        return draws.pick_by(self.texts, weights) if any(weights) else text


@cache
def characters() -> dict[str, Character]:
    """All characters of the table; its first row names the columns."""
    rows = read_table("characters")[1:]
    return {row[0]: Character(row[1], int(row[2]), *row[3:6]) for row in rows}


@cache
def words() -> dict[str, str]:
    """The readings of words that sound like another word."""
    return {row[0]: row[1] for row in read_table("words")[1:]}


@cache
def characters_by_reading() -> dict[str, Choices]:
    """What sounds like a syllable."""
    return _by_reading((c.reading, text, c.count) for text, c in characters().items())


@cache
def words_by_reading() -> dict[str, Choices]:
    """What sounds like some syllables."""
    return _by_reading((row[1], row[0], int(row[2])) for row in read_table("words")[1:])


@cache
def fuzzy_readings(reading: str) -> tuple[str, ...]:
    """Other syllables that this one is mistaken for."""
    starts = [short + reading[len(long) :] for long, short in FUZZY_STARTS if reading.startswith(long)]
    starts += [
        long + reading[len(short) :]
        for long, short in FUZZY_STARTS
        if reading.startswith(short) and not reading.startswith(long)
    ]
    ends = [reading[: -len(long)] + short for long, short in FUZZY_ENDS if reading.endswith(long)]
    ends += [reading[: -len(short)] + long for long, short in FUZZY_ENDS if reading.endswith(short)]
    return _existing(starts + ends, reading)


@cache
def slipped_readings(reading: str) -> tuple[str, ...]:
    """Other syllables that a slip on the keyboard makes of this one."""
    places = range(len(reading))
    swapped = [reading[:i] + reading[i + 1] + reading[i] + reading[i + 2 :] for i in places[:-1]]
    dropped = [reading[:i] + reading[i + 1 :] for i in places]
    beside = [reading[:i] + key + reading[i + 1 :] for i in places for key in KEY_NEIGHBOURS.get(reading[i], "")]
    return _existing(swapped + dropped + beside, reading)


@cache
def sounding_like(readings: tuple[str, ...]) -> Choices:
    """The twenty commonest characters with one of these readings."""
    known = characters()
    texts = [text for reading in readings for text in characters_by_reading()[reading].texts]
    return Choices.of(sorted(((text, known[text].count) for text in texts), key=lambda pair: -pair[1])[:MOST_OFFERED])


def _existing(readings: Iterable[str], but: str) -> tuple[str, ...]:
    known = characters_by_reading()
    return tuple(one for one in dict.fromkeys(readings) if one in known and one != but)


def _by_reading(rows: Iterable[tuple[str, str, int]]) -> dict[str, Choices]:
    groups: dict[str, list[tuple[str, int]]] = {}
    for reading, text, count in rows:
        groups.setdefault(reading, []).append((text, count))
    return {reading: Choices.of(counts) for reading, counts in groups.items()}
