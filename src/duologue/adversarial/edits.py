"""What was changed in a text, exactly: everything outside the edits is as it was, and all of it can be undone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Span = tuple[int, int]  # [start, end) in characters


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """One span of a text and what stands there instead.

    Attributes:
        start, end: the span, in characters of the text before any edit; empty where something is put in.
        old, new: what stood there, and what stands there now.
        family: which kind of noise wrote it.
    """

    start: int
    end: int
    old: str
    new: str
    family: str = ""


def apply_edits(text: str, edits: Sequence[Edit]) -> str:
    """The text with edits, which are in order and do not overlap."""
    pieces, at = [], 0
    for edit in edits:
        pieces += [text[at : edit.start], edit.new]
        at = edit.end
    return "".join([*pieces, text[at:]])


def undo_edits(text: str, edits: Sequence[Edit]) -> str:
    """The text as it was before these edits."""
    pieces, at, shift = [], 0, 0
    for edit in edits:
        start = edit.start + shift
        pieces += [text[at:start], edit.old]
        at = start + len(edit.new)
        shift += len(edit.new) - len(edit.old)
    return "".join([*pieces, text[at:]])


def trimmed(start: int, old: str, new: str, family: str) -> Edit | None:
    """The smallest edit that makes ``new`` of ``old``; None where they are the same."""
    if old == new:
        return None
    most = min(len(old), len(new))
    head = 0
    while head < most and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < most - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    end = len(old) - tail
    return Edit(start + head, start + end, old[head:end], new[head : len(new) - tail], family)


class Taken:
    """The places of a text that edits stand at, so that no two of them meet."""

    def __init__(self, text: str, edits: Iterable[Edit] = ()) -> None:
        """Those of some edits."""
        self._covered, self._put_in = bytearray(len(text) + 1), bytearray(len(text) + 1)
        for edit in edits:
            self.take((edit.start, edit.end))

    def is_free(self, span: Span) -> bool:
        """Whether a span meets nothing that is taken; two insertions at one place do meet."""
        start, end = span
        if start == end:
            return not (self._put_in[start] or (start and self._covered[start - 1] and self._covered[start]))
        return self._covered.find(1, start, end) < 0 and self._put_in.find(1, start + 1, end) < 0

    def take(self, span: Span) -> None:
        """Takes a span."""
        start, end = span
        if start == end:
            self._put_in[start] = 1
        self._covered[start:end] = b"\x01" * (end - start)
