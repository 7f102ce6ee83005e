"""What is scored, and after which tokens: documents as windows that the model can see at once.

A window of a context of C tokens has at most C inputs, and after each input a target or none. Each scored token of a
document is the target of exactly one window, however long the document is.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from duologue.tokenizer.encode_conversation import NO_LOSS, TokenizedConversation


@dataclass(frozen=True, slots=True)
class Window:
    """One pass of the model.

    Attributes:
        input_ids: what the model reads.
        targets: as long as input_ids; the token that follows each, NO_LOSS where it is not scored.
    """

    input_ids: list[int]
    targets: list[int]


class _Turn(NamedTuple):
    """A scored turn: where it begins, and where the last token to score ends."""

    start: int
    end: int


class _History(NamedTuple):
    """What stands before a turn in its window: the first ``num_kept`` tokens, then those from ``begin`` on."""

    num_kept: int
    begin: int


def text_windows(token_ids: list[int], *, context_length: int) -> list[Window]:
    """A plain text: all tokens but the first are targets; a window begins with the target that ended the one before."""
    return list(_cut(token_ids, token_ids, context_length))


def conversation_windows(
    encoded: TokenizedConversation, *, turn_id: int, has_system: bool, context_length: int
) -> list[Window]:
    """A conversation: each scored turn ends a window that holds as many whole earlier turns as fit.

    Turns with the same history share a window: where all of it fits, the whole conversation is one. A system message
    is kept at the head where the turn fits behind it. A turn longer than the context is cut like a plain text.

    Args:
        turn_id: the token that opens a turn.
        has_system: whether the first turn is a system message.
    """
    borders = [place for place, token in enumerate(encoded.input_ids) if token == turn_id]
    num_system = borders[1] if has_system and len(borders) > 1 else 0
    windows: list[Window] = []
    turns = _scored_turns(encoded.labels, borders)
    histories = [_longest_history(turn, borders, num_system, context_length + 1) for turn in turns]
    for history, group in itertools.groupby(zip(histories, turns, strict=True), key=lambda pair: pair[0]):
        alike = [turn for _, turn in group]
        first, end = alike[0].start, alike[-1].end
        token_ids = encoded.input_ids[: history.num_kept] + encoded.input_ids[history.begin : end]
        labels = [NO_LOSS] * (history.num_kept + first - history.begin) + encoded.labels[first:end]
        windows += _cut(token_ids, labels, context_length)
    return windows


def _scored_turns(labels: list[int], borders: list[int]) -> list[_Turn]:
    turns = []
    for start, stop in itertools.pairwise([*borders, len(labels)]):
        end = next((place + 1 for place in range(stop - 1, start, -1) if labels[place] != NO_LOSS), None)
        if end is not None:
            turns.append(_Turn(start, end))
    return turns


def _longest_history(turn: _Turn, borders: list[int], num_system: int, size: int) -> _History:
    room = size - (turn.end - turn.start)
    if room < 0:
        return _History(0, turn.start)
    num_kept = num_system if num_system <= room else 0
    earliest = max(num_kept, turn.start - (room - num_kept))
    return _History(num_kept, borders[bisect_left(borders, earliest)])


def _cut(token_ids: list[int], labels: list[int], context_length: int) -> Iterator[Window]:
    """Windows side by side; those without a target are left out."""
    for start in range(0, len(token_ids) - 1, context_length):
        end = min(start + context_length, len(token_ids) - 1)
        targets = labels[start + 1 : end + 1]
        if any(target != NO_LOSS for target in targets):
            yield Window(token_ids[start:end], targets)
