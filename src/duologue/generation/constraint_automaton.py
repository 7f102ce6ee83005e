"""ByteAutomaton: which bytes may follow which in texts that match a regular expression.

Two small tables take the place of one that would be too large. The first turns the bytes of UTF-8 into symbols, classes
of characters that the expression does not tell apart. The second says which state follows which on a symbol. A place
in a text is therefore two numbers: the state after the last whole character, and the node of what has been read of the
next one.

The states are sets of expressions, what may still come: each is found from the one before by leaving its first
character away.

Shapes: Q states, S symbols, P nodes, B = 256 bytes.

Source: Antimirov 1996, section 2 (partial derivatives); Owens et al. 2009, section 4 (classes of characters).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from duologue.errors import ConfigError
from duologue.generation.constraint_regex import (
    NUM_CODE_POINTS,
    SURROGATES,
    Alternation,
    Characters,
    CharacterSet,
    Concatenation,
    Expression,
    Expressions,
    Repetition,
    parse_regex,
)

Numbers = npt.NDArray[np.integer[Any]]
MAX_STATES = 10_000
MAX_TRANSITIONS = 50 * MAX_STATES
DEAD, START = 0, 1  # states: what can never match any more, and nothing read
ROOT = 0  # the node between two characters
NO_SYMBOL = 0  # of characters that the expression has nowhere
CONTINUATION = 0x80  # the first of the 64 bytes that continue a character


@dataclass(frozen=True, slots=True)
class ByteAutomaton:
    """Tables to read bytes with.

    Attributes:
        next_state: [Q, S]; the last column, of bytes that complete no character, keeps the state.
        accepts: [Q], whether a text may end in a state.
        symbol, next_node: [P, B], what a byte completes, and where it leads.
        can_match: [Q, P], whether some text goes on from there to match.
    """

    next_state: Numbers
    accepts: npt.NDArray[np.bool_]
    symbol: Numbers
    next_node: Numbers
    can_match: npt.NDArray[np.bool_]

    def step(self, states: Numbers, nodes: Numbers, read: Numbers) -> tuple[Numbers, Numbers]:
        """One byte further, from many places at once."""
        return self.next_state[states, self.symbol[nodes, read]], self.next_node[nodes, read]

    def read(self, state: int, node: int, text: bytes) -> tuple[int, int]:
        """The place after some bytes."""
        for byte in text:
            state, node = int(self.next_state[state, self.symbol[node, byte]]), int(self.next_node[node, byte])
        return state, node


@lru_cache(maxsize=8)  # a pattern comes with every request, and does not change
def build_automaton(pattern: str) -> ByteAutomaton:
    """The automaton of a regular expression.

    Raises:
        ConfigError: the expression is not understood, matches nothing, or needs too large an automaton.
    """
    expressions = Expressions()
    expression = parse_regex(pattern, expressions)
    if expression is expressions.nothing:
        raise ConfigError(f"regex: {pattern!r} matches no text; expected an expression that some text matches")
    try:
        return _build(expression, expressions)
    except _TooLargeError:
        raise ConfigError(
            f"regex: {pattern!r} needs an automaton of more than {MAX_STATES} states or {MAX_TRANSITIONS} transitions;"
            " expected a smaller one (lower numbers in {m,n}, fewer repeats that overlap)"
        ) from None


class _TooLargeError(Exception):
    """The automaton would be."""


def _build(expression: Expression, expressions: Expressions) -> ByteAutomaton:
    if len(expressions.character_sets) > MAX_STATES:
        raise _TooLargeError
    symbols, masks = _tell_apart(expressions.character_sets)
    next_state, accepts = _find_states(expression, _FirstCharacters(expressions, masks))
    symbol, next_node, reachable = _read_utf8(symbols, pending=next_state.shape[1] - 1)
    can_match = (next_state[:, :-1] != DEAD).astype(np.float32) @ reachable.T.astype(np.float32) > 0
    can_match[:, ROOT] = np.arange(len(next_state)) != DEAD  # every other state was found on the way to a match
    return ByteAutomaton(next_state, accepts, symbol, next_node, can_match)


def _tell_apart(sets: list[CharacterSet]) -> tuple[Numbers, dict[CharacterSet, int]]:
    """The symbol of each code point, and the symbols of each set as the bits of a number."""
    edges = sorted(
        {0, NUM_CODE_POINTS, *(edge for members in sets for run in members for edge in (run[0], run[1] + 1))}
    )
    place = {edge: number for number, edge in enumerate(edges)}
    signatures = [0] * (len(edges) - 1)  # of each stretch: the sets that have it, as bits
    for bit, members in enumerate(sets):
        for stretch in _stretches(members, place):
            signatures[stretch] |= 1 << bit
    numbers = {signature: number for number, signature in enumerate(dict.fromkeys([0, *signatures]))}
    masks = dict.fromkeys(sets, 0)
    for members in sets:
        for stretch in _stretches(members, place):
            masks[members] |= 1 << numbers[signatures[stretch]]
    symbols = np.repeat([numbers[signature] for signature in signatures], np.diff(edges))
    symbols[SURROGATES[0] : SURROGATES[1] + 1] = NO_SYMBOL
    return symbols, masks


def _stretches(members: CharacterSet, place: dict[int, int]) -> Iterator[int]:
    for first, last in members:
        yield from range(place[first], place[last + 1])


class _FirstCharacters:
    """Takes expressions apart into first characters and what may come after them."""

    def __init__(self, expressions: Expressions, masks: dict[CharacterSet, int]) -> None:
        self.expressions, self._masks = expressions, masks
        self.num_symbols = max(masks.values()).bit_length() or 1
        self._known: dict[Expression, list[tuple[int, Expression]]] = {}
        self._num_found = 0

    def of(self, expression: Expression) -> list[tuple[int, Expression]]:
        """Symbols, as the bits of a number, each with an expression of what may follow; they may overlap."""
        known = self._known.get(expression)
        if known is None:
            known = self._known[expression] = self._find(expression)
            self._num_found += len(known)
            if self._num_found > MAX_TRANSITIONS:
                raise _TooLargeError
        return known

    def _find(self, expression: Expression) -> list[tuple[int, Expression]]:
        make = self.expressions
        if isinstance(expression, Alternation):
            return [each for option in expression.options for each in self.of(option)]
        if isinstance(expression, Characters):
            return [(self._masks[expression.members], make.empty)]
        if isinstance(expression, Repetition):
            most = None if expression.most is None else expression.most - 1
            again = make.repetition(expression.inner, max(expression.least - 1, 0), most)
            return [(mask, make.concatenation(after, again)) for mask, after in self.of(expression.inner)]
        found: list[tuple[int, Expression]] = []
        while isinstance(expression, Concatenation):
            found += [(mask, make.concatenation(after, expression.rest)) for mask, after in self.of(expression.first)]
            if not expression.first.matches_empty:
                return found
            expression = expression.rest
        return found + (self.of(expression) if expression is not make.empty else [])


def _find_states(start: Expression, first: _FirstCharacters) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """The table of states, and which of them accept."""
    nothing = first.expressions.nothing
    numbers, rows = {nothing: DEAD, start: START}, []
    waiting = [nothing, start]
    for state in waiting:  # grows while it is read
        firsts = first.of(state) if state is not nothing else []
        row = []
        for symbols, expression in _by_class(firsts, first.expressions):
            if expression not in numbers:
                numbers[expression] = len(waiting)
                waiting.append(expression)
            row.append((symbols, numbers[expression]))
        rows.append(row)
        if len(waiting) > MAX_STATES:
            raise _TooLargeError
    return _table(rows, first.num_symbols), np.array([state.matches_empty for state in waiting])


def _by_class(firsts: list[tuple[int, Expression]], expressions: Expressions) -> Iterator[tuple[int, Expression]]:
    """What follows on which symbols, each symbol once."""
    after_mask: dict[int, set[Expression]] = {}
    for mask, after in firsts:
        after_mask.setdefault(mask, set()).add(after)
    classes: list[int] = []  # masks that share no symbol
    for mask in after_mask:
        cut = [part for each in classes for part in (each & mask, each & ~mask) if part]
        for each in classes:
            mask &= ~each
        classes = [*cut, mask] if mask else cut
    for each in classes:
        afters = [after for mask, found in after_mask.items() if mask & each for after in found]
        yield each, expressions.alternation(afters)


def _table(rows: list[list[tuple[int, int]]], num_symbols: int) -> Numbers:
    table = np.full((len(rows), num_symbols + 1), DEAD, dtype=np.int16)
    bits: dict[int, list[int]] = {}
    for number, row in enumerate(rows):
        for mask, target in row:
            if mask not in bits:
                bits[mask] = [bit for bit in range(num_symbols) if mask >> bit & 1]
            table[number, bits[mask]] = target
    table[:, -1] = np.arange(len(rows))
    return table


def _read_utf8(symbols: Numbers, *, pending: int) -> tuple[Numbers, Numbers, npt.NDArray[np.bool_]]:
    """The tables of nodes, and the symbols [P, pending] that can be completed from each.

    A node stands for the bytes of a character that have been read; where the same may follow, it is the same node.

    Source: RFC 3629, section 4: no longer form where there is a shorter one, nothing above the last code point.
    """
    last, node_of_last = _unique_rows(symbols.reshape(-1, 64), first_number=1)
    middles = node_of_last.reshape(-1, 64).copy()
    middles[0, : 0x800 // 64] = ROOT  # here: leads nowhere
    middle, node_of_middle = _unique_rows(middles, first_number=1 + len(last))
    tops = np.pad(node_of_middle, (0, -len(node_of_middle) % 64), constant_values=ROOT).reshape(-1, 64).copy()
    tops[0, : 0x10000 // 64**2] = ROOT
    top_start = 1 + len(last) + len(middle)
    num_nodes = top_start + len(tops)

    symbol, next_node = np.full((num_nodes, 256), NO_SYMBOL), np.full((num_nodes, 256), ROOT)
    symbol[1 : 1 + len(last), CONTINUATION : CONTINUATION + 64] = last
    next_node[1 + len(last) :, CONTINUATION : CONTINUATION + 64] = np.concatenate([middle, tops])
    symbol[ROOT, :0x80] = symbols[:0x80]
    next_node[ROOT, 0xC2:0xE0] = node_of_last[2:32]
    next_node[ROOT, 0xE0:0xF0] = node_of_middle[:16]
    next_node[ROOT, 0xF0:0xF5] = np.arange(top_start, num_nodes)
    symbol[next_node != ROOT] = pending

    reachable = np.zeros((num_nodes, pending), dtype=bool)
    for node in range(1, num_nodes):  # what a node leads to comes before it
        completed, led_to = symbol[node][symbol[node] < pending], next_node[node][next_node[node] != ROOT]
        reachable[node, completed] = True
        reachable[node] |= reachable[led_to].any(axis=0)
    reachable[:, NO_SYMBOL] = False
    return symbol, next_node, reachable


def _unique_rows(rows: Numbers, *, first_number: int) -> tuple[Numbers, Numbers]:
    """The rows that differ, and for each row the number of its like among them."""
    place: dict[bytes, int] = {}
    numbers = [place.setdefault(row.tobytes(), len(place)) for row in rows]
    _, firsts = np.unique(numbers, return_index=True)
    return rows[firsts], np.array(numbers) + first_number
