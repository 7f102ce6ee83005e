"""JSON Lines, and files that are one JSON array or several objects one after the other, as numbered rows."""

from __future__ import annotations

import codecs
import itertools
import json
import re
from collections.abc import Generator, Iterator
from typing import Any

from duologue.data.excerpt import excerpt
from duologue.data.lines import MAX_LINE_BYTES, Record, decode, text_lines, too_long
from duologue.data.quarantine import BadKind, RowError

TOKENS = re.compile(rb'\\[^\n]|["{}\[\]\n]')
BLANK = b" \t\r\n,"


def json_lines(chunks: Iterator[bytes]) -> Iterator[Record]:
    """Each line's JSON value, or the RowError why it has none; empty lines are left out."""
    for number, line in text_lines(chunks):
        if isinstance(line, RowError):
            yield number, line
        elif line and not line.isspace():
            yield number, value_of(line)


def json_document(chunks: Iterator[bytes]) -> Iterator[Record]:
    """The rows of a ``.json`` file: the objects of its outermost list, or else JSON Lines, or else objects in a row."""
    try:
        first = next(chunks, b"").removeprefix(codecs.BOM_UTF8)
    except RowError as error:
        return iter([(1, error)])
    whole = itertools.chain((first,), chunks)
    start = first.lstrip()
    if not start.startswith(b"["):
        line = start.partition(b"\n")[0]
        if not isinstance(_value_of_bytes(line), RowError):
            return json_lines(whole)
    return _objects(whole)


def value_of(text: str) -> Any:
    """The value that a JSON text stands for, or a RowError saying where it is wrong."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        return RowError(BadKind.JSON, f"is not JSON: {error.msg} at column {error.pos + 1}: {excerpt(text)}")
    except RecursionError:
        return RowError(BadKind.JSON, f"is JSON nested too deep: {excerpt(text)}")
    except ValueError as error:  # a number of more digits than Python reads
        return RowError(BadKind.JSON, f"is not JSON that can be read: {error}")


def _value_of_bytes(row: bytes) -> Any:
    try:
        return value_of(decode(row))
    except RowError as error:
        return error


def _objects(chunks: Iterator[bytes]) -> Iterator[Record]:
    scanner = _ObjectScanner()
    try:
        for chunk in chunks:
            yield from scanner.feed(chunk)
    except RowError as error:
        yield scanner.line_number, error
        return
    yield from scanner.finish()


class _ObjectScanner:
    """Finds where each object begins and ends, without reading what is in it."""

    def __init__(self) -> None:
        self.line_number = 1
        self._depth = 0
        self._row_depth: int | None = None  # how deep the rows lie: 1 in a list, else 0
        self._is_in_text = False
        self._begun_at = 0  # the line on which the row that is open begins; 0 between rows
        self._row = bytearray()
        self._size_bytes = 0
        self._carried = b""

    def feed(self, chunk: bytes) -> Iterator[Record]:
        """The rows that end in this piece of the file."""
        chunk = self._carried + chunk
        # A backslash belongs to the character after it, which may be in the next piece.
        self._carried = b"\\" if (len(chunk) - len(chunk.rstrip(b"\\"))) % 2 else b""
        chunk = chunk[: len(chunk) - len(self._carried)]
        start = 0
        for match in TOKENS.finditer(chunk):
            token = match.group()
            if token == b"\n":
                self.line_number += 1
            elif token == b'"':
                self._is_in_text = not self._is_in_text
            elif self._is_in_text:
                continue
            elif token in b"{[":
                start = yield from self._open(token, chunk, start, match.start())
            elif token in b"}]":
                start = yield from self._close(chunk, start, match.end())
        self._hold(chunk[start:])

    def finish(self) -> Iterator[Record]:
        """What is left at the end of the file: nothing, where all is well."""
        if self._begun_at:
            yield self._begun_at, RowError(BadKind.JSON, f"is a row that does not end: {self._shown}")
        else:
            yield from self._between(b"")

    def _open(self, token: bytes, chunk: bytes, start: int, at: int) -> Generator[Record, None, int]:
        if self._row_depth is None:
            self._row_depth = 1 if token == b"[" else 0
            if token == b"[":
                self._depth = 1
                return at + 1
        if self._depth == self._row_depth:
            yield from self._between(chunk[start:at])
            self._begun_at, start = self.line_number, at
        self._depth += 1
        return start

    def _close(self, chunk: bytes, start: int, end: int) -> Generator[Record, None, int]:
        self._depth = max(0, self._depth - 1)
        if self._begun_at and self._depth == self._row_depth:
            self._hold(chunk[start:end])
            yield self._begun_at, self._take()
            return end
        if not self._begun_at and self._depth == 0:  # the end of the list
            yield from self._between(chunk[start : end - 1])
            return end
        return start

    def _between(self, piece: bytes) -> Iterator[Record]:
        """Anything but white space and commas between two rows is a row of the wrong kind."""
        self._hold(piece)
        if self._row.strip(BLANK):
            yield self.line_number, RowError(BadKind.FIELD, f"is no object: {self._shown}")
        self._clear()

    def _hold(self, piece: bytes) -> None:
        self._size_bytes += len(piece)
        if self._size_bytes <= MAX_LINE_BYTES:
            self._row += piece

    def _take(self) -> Any:
        value = _value_of_bytes(bytes(self._row)) if self._size_bytes <= MAX_LINE_BYTES else too_long(self._size_bytes)
        self._clear()
        return value

    def _clear(self) -> None:
        self._row, self._size_bytes, self._begun_at = bytearray(), 0, 0

    @property
    def _shown(self) -> str:
        return excerpt(self._row.decode("utf-8", errors="replace").strip())
