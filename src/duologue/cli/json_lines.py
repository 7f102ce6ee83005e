"""Rows of a JSON Lines file or of stdin, each with its place, so that what is wrong with one can be said."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

from duologue.errors import DataError, DuologueError

T = TypeVar("T")


def read_json_lines(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a file (``-`` = stdin), each with its place ("chats.jsonl line 3"); empty lines are left out.

    Raises:
        DataError: the file cannot be read, or a line is not a JSON object.
    """
    with _open(name) as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                place = f"{'stdin' if name == '-' else name} line {number}"
                with located(place):
                    row = _object(line)
                yield place, row


def in_groups(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """Rows by the group; what came before a bad line is given out before the error is."""
    group: list[T] = []
    try:
        for row in rows:
            group.append(row)
            if len(group) == size:
                yield group
                group = []
    except DuologueError:
        yield group
        raise
    yield group


@contextlib.contextmanager
def located(place: str) -> Iterator[None]:
    """Puts the place before the message of what goes wrong inside."""
    try:
        yield
    except DuologueError as error:
        raise type(error)(f"{place}: {error}") from None


def _open(name: str) -> contextlib.AbstractContextManager[IO[bytes]]:
    if name == "-":
        return contextlib.nullcontext(sys.stdin.buffer)
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror}") from None


def _object(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8 at byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"is not JSON: {error}") from None
    if not isinstance(row, dict):
        raise DataError("is not an object; expected {\"messages\": [...]}")
    return row
