"""BeamView: a reply on a terminal while it is searched for.

Settled text is written once and stays. Behind it stands, dim, what the best beam would say; it is wiped out and written
anew as the search goes on. The terminal itself remembers where the settled text ends: the cursor rests there between
two drawings, so neither a wrapped line, nor scrolling, nor a window of another size leaves anything behind.
"""

from __future__ import annotations

import os
import sys
import time
import unicodedata
from collections.abc import Callable
from typing import TextIO

from rich.cells import cell_len

from duologue.generation.config import GenerationConfig

SAVE, RESTORE = "\x1b7", "\x1b8"  # the place of the cursor
DOWN, UP = "\x1bD", "\x1b[{}A"  # the same column of the next row, which scrolls at the bottom; and back up
WIPE = "\x1b[J"  # all from the cursor on
DIM, SOLID = "\x1b[2m", "\x1b[22m"
HOLD, SHOW = "\x1b[?2026h", "\x1b[?2026l"  # a terminal that knows these shows a drawing when it is complete
MOST_ROWS = 6  # of what is not settled
SECONDS_BETWEEN = 1 / 30
TAB = " " * 4

# Columns and rows of the terminal.
Size = Callable[[], tuple[int, int]]


class BeamView:
    """Draws settled text and what stands behind it."""

    def __init__(
        self,
        out: TextIO,
        ahead: Callable[[], str],
        *,
        column: int,
        size: Size | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """A view at the cursor.

        Args:
            out: the terminal.
            ahead: gives what the best beam would say beyond all that was shown.
            column: where the cursor stands, from 0.
            size: of the terminal; asked for at each drawing, since people change it.
            clock: seconds; drawings come no faster than people see.
        """
        self._out, self._ahead, self._column = out, ahead, column
        self._size = size or (lambda: os.get_terminal_size(out.fileno()))
        self._clock, self._next = clock, -float("inf")
        self._settled, self._has_tail = "", False

    def show(self, text: str) -> None:
        """More of the settled text, or none of it but news of the search."""
        self._settled += harmless(text)
        now = self._clock()
        if now >= self._next:
            self._next = now + SECONDS_BETWEEN
            self._draw(self._ahead())

    def close(self) -> None:
        """Wipes out what is not settled."""
        self._draw("")

    def _draw(self, ahead: str) -> None:
        columns, rows = self._size()
        settled, self._settled = self._settled.replace("\t", TAB), ""
        _, self._column = cursor_after(settled, self._column, columns)
        tail = self._tail(harmless(ahead).replace("\t", TAB), columns, rows)
        if settled or tail or self._has_tail:
            self._out.write(f"{HOLD}{WIPE if self._has_tail else ''}{settled}{tail}{SHOW}")
            self._out.flush()
        self._has_tail = bool(tail)

    def _tail(self, text: str, columns: int, rows: int) -> str:
        """The dim text, and what brings the cursor back; nothing at the right margin, where terminals differ."""
        if self._column >= columns:
            return ""
        text = _fitting(text, self._column, columns, min(MOST_ROWS, rows - 1))
        if not text:
            return ""
        # The rows are made first: were the screen to scroll later, the saved place would be another one.
        needed, _ = cursor_after(text, self._column, columns)
        room = DOWN * needed + UP.format(needed) if needed else ""
        return f"{room}{SAVE}{DIM}{text}{SOLID}{RESTORE}"


def can_show_beams(config: GenerationConfig) -> bool:
    """Whether there is a search, and stdout is a terminal that can move its cursor."""
    if config.num_beams == 1 or not sys.stdout.isatty():
        return False
    from rich.console import Console

    console = Console(file=sys.stdout)
    return not (console.is_dumb_terminal or console.legacy_windows)


def harmless(text: str) -> str:
    """The text without control characters: what a model writes must not move the cursor or change the terminal."""
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) != "Cc")


def cursor_after(text: str, column: int, columns: int) -> tuple[int, int]:
    """How many rows further down a text ends, and in which column; the number of columns stands for the margin."""
    row = 0
    for c in text:
        width = cell_len(c)
        if c == "\n" or column + width > columns:
            row, column = row + 1, 0
        column += 0 if c == "\n" else width
    return row, column


def _fitting(text: str, column: int, columns: int, most_rows: int) -> str:
    """As much of the beginning of a text as fits into so many rows."""
    row = 0
    for place, c in enumerate(text):
        more, column = cursor_after(c, column, columns)
        row += more
        if row >= most_rows:
            return text[:place]
    return text
