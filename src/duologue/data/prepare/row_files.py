"""Rows on disk between two steps and at the end: our JSON Lines, packed by Zstandard, the same bytes at every run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import zstandard

from duologue.data.formats import PlainText, Row, parse_row
from duologue.data.json_rows import json_lines
from duologue.data.lines import read_chunks
from duologue.data.quarantine import RowError
from duologue.durable_files import new_file

LEVEL = 6
PIECE_BYTES = 1 << 20


@contextmanager
def new_row_file(path: Path) -> Iterator[Callable[[Row], None]]:
    """What to write a packed file with, row by row; it appears whole at the end."""
    with new_line_file(path) as write:
        yield lambda row: write(to_json(row))


@contextmanager
def new_line_file(path: Path) -> Iterator[Callable[[str], None]]:
    """What to write a file with, line by line; packed where its name ends in ``.zst``; it appears whole at the end."""
    with new_file(path) as write:
        lines = bytearray()
        packer = zstandard.ZstdCompressor(LEVEL, write_checksum=True).compressobj() if path.suffix == ".zst" else None

        def put(line: str) -> None:
            lines.extend(line.encode("utf-8"))
            lines.extend(b"\n")
            if len(lines) >= PIECE_BYTES:
                flush()

        def flush() -> None:
            write(bytes(lines) if packer is None else packer.compress(bytes(lines)))
            lines.clear()

        yield put
        flush()
        if packer is not None:
            write(packer.flush())


def read_row_file(path: Path) -> Iterator[Row]:
    """The rows of a file that new_row_file has written."""
    for _, value in json_lines(read_chunks(path)):
        if isinstance(value, RowError):
            raise value
        yield parse_row(value)[1]


def to_json(row: Row) -> str:
    """A row as a line of the contract's form, without the line end."""
    if not isinstance(row, PlainText):
        return row.to_json()
    labels = {"id": row.id, "source": row.source, "lang": row.lang}
    named = {name: value for name, value in labels.items() if value is not None}
    return json.dumps({"text": row.text, **named}, ensure_ascii=False)
