"""Dialogue files of any accepted kind, read one row after the other; bad rows are put aside.

The kind of a file follows from its name, the shape of a row from its fields. Memory does not grow with the file.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from duologue.data.formats import PlainText, Row, parse_row
from duologue.data.json_rows import json_document, json_lines
from duologue.data.lines import Record, read_chunks
from duologue.data.quarantine import ACCEPTED_SHAPES, BadKind, BadRow, FileCount, Quarantine, RowError
from duologue.data.tables import table_rows
from duologue.data.transcripts import transcript_rows
from duologue.errors import DataError

__all__ = ["ConversationReader", "NumberedRow", "PlainText", "Row", "read_conversations", "read_numbered_rows"]

KINDS = (".jsonl", ".json", ".csv", ".tsv", ".txt")
PACKED = (".gz", ".zst")
ACCEPTED_NAMES = f"{', '.join(KINDS)}, each also with {' or '.join(PACKED)}"
ROWS_BEFORE_GIVING_UP = 100

Paths = str | Path | Iterable[str | Path]


@dataclass(frozen=True, slots=True)
class NumberedRow:
    """A row and where it stands."""

    row: Row
    path: Path
    line_number: int


class ConversationReader(Iterator[Row]):
    """The rows of some files, in order; ``quarantine`` has the counts and the bad rows so far."""

    def __init__(self, paths: list[Path], quarantine: Quarantine) -> None:
        """Opens nothing yet."""
        self.quarantine = quarantine
        self._rows = read_numbered_rows(paths, quarantine)

    def __next__(self) -> Row:
        """The next row that can be used."""
        return next(self._rows).row


def read_conversations(paths: Paths, *, on_bad: Callable[[BadRow], None] | None = None) -> ConversationReader:
    """The conversations and plain texts of dialogue files.

    Args:
        paths: files of the accepted kinds, plain or packed.
        on_bad: is called with each row that is left out.

    Raises:
        DataError: at once, where a path is no file of an accepted kind; while reading, where a file has too many bad
            rows (see quarantine) or no known format; at the end, where there was not one row to use.
    """
    return ConversationReader(checked_paths(paths), Quarantine(on_bad=on_bad))


def checked_paths(paths: Paths) -> list[Path]:
    """The paths, once it is certain that each is a file of an accepted kind."""
    listed = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    if not listed:
        raise DataError(f"no dialogue files were given; expected {ACCEPTED_NAMES}")
    for path in listed:
        if path.is_dir():
            raise DataError(f"{path}: is a folder; name the files in it, such as {path / '*.jsonl'}")
        if not path.exists():
            raise DataError(f"{path}: no such file")
        if kind_of(path) not in KINDS:
            raise DataError(f"{path}: is of no known kind; expected a name that ends in {ACCEPTED_NAMES}")
    return listed


def read_numbered_rows(paths: Iterable[Path], quarantine: Quarantine) -> Iterator[NumberedRow]:
    """The rows of checked paths with their places; counts and bad rows go to the quarantine."""
    for path in paths:
        count = quarantine.open_file(path)
        yield from rows_of_file(count, quarantine)
        require_known_format(count)
        quarantine.judge(count)
    require_rows(quarantine)


def rows_of_file(count: FileCount, quarantine: Quarantine) -> Iterator[NumberedRow]:
    """The rows of one file, whatever its kind; gives up early where none of them has a known format."""
    try:
        name, records = _open(count.path)
        yield from usable_rows(records, count, quarantine, name=name)
    except OSError as error:
        raise DataError(f"{count.path}: cannot be read: {error.strerror or error}") from None


def usable_rows(
    records: Iterable[Record],
    count: FileCount,
    quarantine: Quarantine,
    *,
    name: str | None = None,
    gives_up: bool = True,
) -> Iterator[NumberedRow]:
    """The records that are rows, counted; the others go to the quarantine.

    Args:
        name: of the file's format, where that does not follow from its rows.
        gives_up: whether a beginning of which no row has a known format is enough to stop.
    """
    for line_number, value in records:
        count.num_rows += 1
        try:
            if isinstance(value, RowError):
                raise value
            shape, row = parse_row(value)
        except DataError as error:
            quarantine.add(count, line_number, error)
            if gives_up and count.num_rows == ROWS_BEFORE_GIVING_UP:
                require_known_format(count)
            continue
        count.format = count.format or name or shape
        yield NumberedRow(row, count.path, line_number)


def _open(path: Path) -> tuple[str | None, Iterator[Record]]:
    """The file's records, and the name of its format where that does not follow from its rows."""
    kind, chunks = kind_of(path), read_chunks(path)
    if kind == ".json":
        return None, json_document(chunks)
    if kind in (".csv", ".tsv"):
        return kind[1:], table_rows(chunks, "\t" if kind == ".tsv" else ",")
    if kind == ".txt":
        return _open_text(chunks)
    return None, json_lines(chunks)


def _open_text(chunks: Iterator[bytes]) -> tuple[str | None, Iterator[Record]]:
    """A transcript, or JSON Lines under the name of a text."""
    try:
        first = next(chunks, b"")
    except RowError as error:
        return None, iter([(1, error)])
    whole = itertools.chain((first,), chunks)
    if first.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return None, json_lines(whole)
    return "transcript", transcript_rows(whole)


def kind_of(path: Path) -> str:
    """``.jsonl`` and the like: the end of a file's name, without that of its packing."""
    suffixes = [suffix.lower() for suffix in path.suffixes] or [""]
    is_packed = suffixes[-1] in PACKED and len(suffixes) > 1
    return suffixes[-2] if is_packed else suffixes[-1]


def require_known_format(count: FileCount) -> None:
    """Raises DataError where a file was read and no row of it has a shape that is known."""
    bad = count.first_bad
    if count.format is None and bad is not None and bad.kind is BadKind.SHAPE:
        place = f"{count.path}: no known format: line {bad.line_number}"
        raise DataError(f"{place} {bad.reason}; accepted: {ACCEPTED_SHAPES}")


def require_rows(quarantine: Quarantine) -> None:
    """Raises DataError where there was not one row to use in all files."""
    if any(count.num_good for count in quarantine.files):
        return
    more = ", ..." if len(quarantine.files) > 3 else ""
    names = ", ".join(str(count.path) for count in quarantine.files[:3]) + more
    first = next((count.first_bad for count in quarantine.files if count.first_bad), None)
    if first is None:
        raise DataError(f"{names}: no rows; expected at least one dialogue: {ACCEPTED_SHAPES}")
    raise DataError(f"{names}: no row can be used; the first bad one: {first}; accepted in UTF-8: {ACCEPTED_SHAPES}")
