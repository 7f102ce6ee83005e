"""Regular expressions: a part of Python's, read into expressions that an automaton can be built from.

What is understood means what it means in Python: characters, ``.``, ``[a-z]`` and ``[^a-z]``, the escapes ``\\d \\w
\\s`` (of all scripts) with ``\\D \\W \\S``, ``\\n \\r \\t \\f \\v``, a backslash before punctuation, groups, ``|``,
``*``, ``+``, ``?`` and ``{m,n}``. Everything else is refused by name.

Equal expressions are one object, so that they are compared in no time, however long they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from duologue.errors import ConfigError

# Characters as runs of code points, first and last, sorted and apart.
CharacterSet = tuple[tuple[int, int], ...]

NUM_CODE_POINTS = 0x110000
SURROGATES = (0xD800, 0xDFFF)  # no text has them
MAX_NESTING = 50  # of groups; as deep as functions may call each other here
MAX_COUNT = 10**6  # of a {m,n}; more is surely too long for anything
CONTROL_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v"}
BOUNDS = re.compile(r"\{(\d*)(,?)(\d*)\}", re.ASCII)


@dataclass(frozen=True, eq=False, slots=True)
class Expression:
    """What texts may be like; these are of one of the kinds below. ``matches_empty``: the empty text is one of them."""

    matches_empty: bool


@dataclass(frozen=True, eq=False, slots=True)
class Characters(Expression):
    """One character out of a set; out of the empty set: no text at all."""

    members: CharacterSet


@dataclass(frozen=True, eq=False, slots=True)
class Concatenation(Expression):
    """One, then the rest. No first is a concatenation itself, and an empty text is never a part of one."""

    first: Expression
    rest: Expression


@dataclass(frozen=True, eq=False, slots=True)
class Alternation(Expression):
    """One of several."""

    options: frozenset[Expression]


@dataclass(frozen=True, eq=False, slots=True)
class Repetition(Expression):
    """One several times: at least, and at most (None: any number of times)."""

    inner: Expression
    least: int
    most: int | None


class Expressions:
    """Makes expressions, in their simplest form, and each of them once."""

    def __init__(self) -> None:
        """Knows the two simplest."""
        self._known: dict[tuple[object, ...], Expression] = {}
        self.empty = Expression(matches_empty=True)
        self.nothing = self.characters(())

    def characters(self, members: CharacterSet) -> Expression:
        """One character out of a set."""
        return self._once(Characters(False, members), members)

    def concatenation(self, first: Expression, rest: Expression) -> Expression:
        """One, then the other."""
        if first is self.nothing or rest is self.nothing:
            return self.nothing
        firsts = []
        while isinstance(first, Concatenation):
            firsts.append(first.first)
            first = first.rest
        for each in [first, *reversed(firsts)]:
            rest = self._then(each, rest)
        return rest

    def alternation(self, options: Iterable[Expression]) -> Expression:
        """One or the other."""
        flat: set[Expression] = set()
        for option in options:
            flat |= option.options if isinstance(option, Alternation) else {option}
        flat.discard(self.nothing)
        if len(flat) < 2:
            return flat.pop() if flat else self.nothing
        key = frozenset(flat)
        return self._once(Alternation(any(option.matches_empty for option in key), key), key)

    def repetition(self, inner: Expression, least: int, most: int | None) -> Expression:
        """One, at least and at most that many times."""
        if inner is self.empty or most == 0:
            return self.empty
        if inner is self.nothing:
            return self.nothing if least else self.empty
        if (least, most) == (1, 1):
            return inner
        least = 0 if inner.matches_empty else least  # the same texts, said in one way
        return self._once(Repetition(least == 0, inner, least, most), inner, least, most)

    @property
    def character_sets(self) -> list[CharacterSet]:
        """All sets that were made."""
        return [known.members for known in self._known.values() if isinstance(known, Characters)]

    def _then(self, first: Expression, rest: Expression) -> Expression:
        if first is self.empty or rest is self.empty:
            return rest if first is self.empty else first
        return self._once(Concatenation(first.matches_empty and rest.matches_empty, first, rest), first, rest)

    def _once(self, expression: Expression, *parts: object) -> Expression:
        return self._known.setdefault((type(expression), *parts), expression)


def parse_regex(pattern: str, expressions: Expressions) -> Expression:
    """What a pattern says.

    Raises:
        ConfigError: something in it is wrong, or is not understood here; says what and where.
    """
    reader = _Reader(pattern, expressions)
    expression = reader.read_alternation(nesting=0)
    if reader.peek() == ")":
        raise reader.refusal(")", "that closes no group")
    return expression


class _Reader:
    def __init__(self, pattern: str, expressions: Expressions) -> None:
        self._pattern, self._make, self._place = pattern, expressions, 0

    def peek(self, length: int = 1) -> str:
        return self._pattern[self._place : self._place + length]

    def refusal(self, construct: str, why: str = "") -> ConfigError:
        found = f"{construct!r} {why}".rstrip()
        return ConfigError(
            f"regex: has {found} at character {self._place + 1} of {self._pattern!r}; expected characters, . [...]"
            " (...) | * + ? {m,n} \\d \\w \\s, and a backslash before other punctuation"
        )

    def read_alternation(self, nesting: int) -> Expression:
        options = [self._read_concatenation(nesting)]
        while self._take("|"):
            options.append(self._read_concatenation(nesting))
        return self._make.alternation(options)

    def _read_concatenation(self, nesting: int) -> Expression:
        parts = []
        while self.peek() not in ("", "|", ")"):
            parts.append(self._read_repeated(nesting))
        expression = self._make.empty
        for part in reversed(parts):
            expression = self._make.concatenation(part, expression)
        return expression

    def _read_repeated(self, nesting: int) -> Expression:
        self._refuse_bounds("with nothing before it to repeat")
        one = self._read_one(nesting)
        bounds = self._read_bounds()
        if bounds is None:
            return one
        self._refuse_bounds("right after another of * + ? {m,n}")
        return self._make.repetition(one, *bounds)

    def _refuse_bounds(self, why: str) -> None:
        start = self._place
        if self._read_bounds():
            construct, self._place = self._pattern[start : self._place], start
            raise self.refusal(construct, why)

    def _read_bounds(self) -> tuple[int, int | None] | None:
        """How often what stands before is repeated; None where nothing says so."""
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(sign):
                return bounds
        found = BOUNDS.match(self._pattern, self._place)
        if found is None or found[0] == "{}":  # Python reads such a brace as a character
            return None
        least = _count(found[1])
        most = (_count(found[3]) if found[3] else None) if found[2] else least
        if max(least, most or 0) > MAX_COUNT or (most is not None and most < least):
            raise self.refusal(found[0], f"with numbers that fall, or above {MAX_COUNT}")
        self._place = found.end()
        return least, most

    def _read_one(self, nesting: int) -> Expression:
        if self.peek() == "(":
            return self._read_group(nesting)
        if self._take("."):
            return self._make.characters(_complement(_only("\n")))
        if self.peek() == "[":
            return self._make.characters(self._read_class())
        if self.peek() in ("^", "$"):
            raise self.refusal(self.peek(), "(the whole reply has to match anyway)")
        return self._make.characters(self._read_character())

    def _read_group(self, nesting: int) -> Expression:
        is_plain = self.peek(2) != "(?"
        if not is_plain and self.peek(3) != "(?:":
            raise self.refusal(self.peek(3))
        if nesting == MAX_NESTING:
            raise self.refusal("(", f"inside {MAX_NESTING} other groups")
        start = self._place
        self._place += 1 if is_plain else 3
        expression = self.read_alternation(nesting + 1)
        if not self._take(")"):
            self._place = start
            raise self.refusal("(", "that is not closed")
        return expression

    def _read_class(self) -> CharacterSet:
        start = self._place
        self._place += 1
        is_negated, members = self._take("^"), [self._read_members(start)]
        while not self._take("]"):  # right after the bracket it is a character
            members.append(self._read_members(start))
        union = _union(run for found in members for run in found)
        return _complement(union) if is_negated else union

    def _read_members(self, start: int) -> CharacterSet:
        first_at, first = self._place, self._read_character(class_start=start)
        if self.peek() != "-" or self.peek(2) in ("-]", "-"):
            return first
        self._place += 1
        last = self._read_character(class_start=start)
        if any(len(end) != 1 or end[0][0] != end[0][1] for end in (first, last)) or first > last:
            text, self._place = self._pattern[first_at : self._place], first_at
            raise self.refusal(text, "that is no range from a character to a later one")
        return ((first[0][0], last[0][1]),)

    def _read_character(self, class_start: int | None = None) -> CharacterSet:
        """One character, or what an escape stands for."""
        character = self.peek()
        if not character and class_start is not None:
            self._place = class_start
            raise self.refusal("[", "that is not closed")
        if character == "\\":
            return self._read_escape()
        self._place += 1
        return _only(character)

    def _read_escape(self) -> CharacterSet:
        escape = self.peek(2)
        letter = escape[1:]
        if letter in ("d", "w", "s"):
            members = _characters_like(escape)
        elif letter in ("D", "W", "S"):
            members = _complement(_characters_like(escape.lower()))
        elif letter in CONTROL_ESCAPES or (letter and not (letter.isascii() and letter.isalnum())):
            members = _only(CONTROL_ESCAPES.get(letter, letter))
        else:
            raise self.refusal(escape)
        self._place += 2
        return members

    def _take(self, sign: str) -> bool:
        is_there = self.peek() == sign
        self._place += is_there
        return is_there


def _only(character: str) -> CharacterSet:
    code = ord(character)
    return () if SURROGATES[0] <= code <= SURROGATES[1] else ((code, code),)


def _union(runs: Iterable[tuple[int, int]]) -> CharacterSet:
    joined: list[tuple[int, int]] = []
    for first, last in sorted(runs):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(last, joined[-1][1])
        else:
            joined.append((first, last))
    return tuple(joined)


def _complement(members: CharacterSet) -> CharacterSet:
    edges = [-1, *(edge for run in _union([*members, SURROGATES]) for edge in run), NUM_CODE_POINTS]
    gaps = zip(edges[::2], edges[1::2], strict=True)
    return tuple((before + 1, after - 1) for before, after in gaps if after - before > 1)


def _count(digits: str) -> int:
    return int(digits.lstrip("0")[: len(str(MAX_COUNT)) + 1] or 0)  # Python refuses to read thousands of digits


@lru_cache(maxsize=3)  # as many escapes are there
def _characters_like(escape: str) -> CharacterSet:
    """The characters that Python counts to an escape."""
    every_character = "".join(map(chr, range(NUM_CODE_POINTS)))
    return tuple((found.start(), found.end() - 1) for found in re.finditer(f"{escape}+", every_character))
