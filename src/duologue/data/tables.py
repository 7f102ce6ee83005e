"""CSV and TSV with a header, as numbered rows; the columns are known by their names, English or Chinese."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any

from duologue.data.excerpt import excerpt
from duologue.data.formats import INPUT_NAMES, LABELS, SYSTEM_NAMES, pair_names
from duologue.data.lines import MAX_LINE_BYTES, Record, text_lines
from duologue.data.quarantine import BadKind, RowError

DELIMITERS = (",", "\t", ";")
# Python's csv keeps four bytes a character: a quote that is never closed must not fill the memory.
MAX_FIELD_CHARACTERS = MAX_LINE_BYTES // 4


def table_rows(chunks: Iterator[bytes], delimiter: str = ",") -> Iterator[Record]:
    """Each row as ``{column: text}``, numbered by its first line; a RowError in place of a bad one.

    The delimiter is where to begin: the header decides, for there are ``.csv`` files with tabs and semicolons.
    """
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    lines = _Lines(text_lines(chunks))
    header = next((line for line in lines if line.strip()), "")
    if lines.bad is not None:
        yield lines.bad
    elif header:
        found = _read_header(header.strip("\r\n"), delimiter)
        if found is None:
            yield lines.number, RowError(BadKind.SHAPE, f"is no header with known columns: {excerpt(header)}")
        else:
            yield from _rows(lines, *found)


class _Lines(Iterator[str]):
    """Lines for the csv module, an empty one in place of a bad one, which is kept to be reported.

    A row may have several lines: if one of them is bad, so is the row.
    """

    def __init__(self, numbered: Iterator[Record]) -> None:
        self._numbered = numbered
        self.number = 0
        self.bad: Record | None = None

    def __next__(self) -> str:
        self.number, line = next(self._numbered)
        if isinstance(line, RowError):
            self.bad = self.bad or (self.number, line)
            return "\n"
        return f"{line}\n"


def _rows(lines: _Lines, delimiter: str, columns: list[str]) -> Iterator[Record]:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        first_line = lines.number + 1
        try:
            value = _row(next(reader), columns)
        except StopIteration:
            return
        except csv.Error as error:
            value = RowError(BadKind.TABLE, f"is no row of a table, up to line {lines.number}: {error}")
        if lines.bad is not None:
            yield lines.bad
            lines.bad = None
        elif value is not None:
            yield first_line, value


def _row(values: list[str], columns: list[str]) -> Any:
    if not values:
        return None  # an empty line
    if len(values) != len(columns):
        return RowError(BadKind.TABLE, f"has {len(values)} columns; the header has {len(columns)}")
    return {name: value for name, value in zip(columns, values, strict=True) if name}


def _read_header(header: str, preferred: str) -> tuple[str, list[str]] | None:
    """The delimiter with which the header names known columns, and these; "" for a column that is not needed."""
    for delimiter in dict.fromkeys((preferred, *DELIMITERS)):
        try:
            names = [name.strip().casefold() for name in next(csv.reader([header], delimiter=delimiter), [])]
        except csv.Error:
            continue  # a carriage return in the middle of a line
        wanted = pair_names(names) or (("text",) if "text" in names else ())
        if wanted:
            kept = {*wanted, *INPUT_NAMES, *SYSTEM_NAMES, *LABELS}
            return delimiter, [name if name in kept else "" for name in names]
    return None
