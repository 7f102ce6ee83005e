"""Which part of the input is a task's: a stretch of all bytes, unpacked, in the order of the files.

A file of lines is cut where a line ends, so one huge file is shared out like many small ones. To begin in the middle
costs nothing in a plain file; a packed one is unpacked, not parsed, up to there: N tasks on one packed file unpack it
N/2 times in all. A file of another kind belongs to the task in whose stretch it begins. All tasks' rows, one task after
the other, are the input's rows in order, whatever the number of tasks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from duologue.data.lines import CHUNK_BYTES, read_chunks
from duologue.data.quarantine import RowError
from duologue.data.sources import PACKED, kind_of


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file to read.

    Attributes:
        text_bytes: its size, unpacked.
    """

    path: Path
    text_bytes: int

    @property
    def is_lines(self) -> bool:
        """Whether a row is a line, so that the file can be cut."""
        return kind_of(self.path) == ".jsonl"

    @property
    def is_packed(self) -> bool:
        """Whether its bytes have to be unpacked."""
        return self.path.suffix.lower() in PACKED


@dataclass(frozen=True, slots=True)
class Span:
    """The lines of a file that begin at ``start`` or after it and before ``end``; or a whole file.

    Attributes:
        number: which of the input files, counted from 0.
    """

    number: int
    file: InputFile
    start: int
    end: int


def spans_of_task(files: Iterable[InputFile], rank: int, num_tasks: int) -> Iterator[Span]:
    """What one task of so many reads, in order."""
    files = list(files)
    total = sum(file.text_bytes for file in files)
    first, last = total * rank // num_tasks, total * (rank + 1) // num_tasks
    begins = 0
    for number, file in enumerate(files):
        start, end = max(0, first - begins), min(file.text_bytes, last - begins)
        if file.is_lines and start < end:
            yield Span(number, file, start, end)
        # An empty file at the very end begins where the last task's stretch ends.
        elif not file.is_lines and (first <= begins < last or (begins == total and rank == num_tasks - 1)):
            yield Span(number, file, 0, file.text_bytes)
        begins += file.text_bytes


def chunks_of(span: Span) -> Iterator[bytes]:
    """The bytes of the lines that begin in a span of a file of lines."""
    if span.file.is_packed:
        return _between(read_chunks(span.file.path), 0, span.start, span.end)
    begin = max(0, span.start - 1)
    return _between(_chunks_from(span.file.path, begin), begin, span.start, span.end)


def _chunks_from(path: Path, begin: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(begin)
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _between(chunks: Iterator[bytes], position: int, start: int, end: int) -> Iterator[bytes]:
    """From the first line that begins at ``start`` or later to the end of the last that begins before ``end``.

    Args:
        position: where the first chunk stands.
    """
    is_in = start == 0
    try:
        for chunk in chunks:
            begin, position = position, position + len(chunk)
            after: int | None = 0
            if not is_in:
                after = _line_begin(chunk, start - 1 - begin)
                if after is None:
                    continue
                if begin + after >= end:
                    return
                is_in = True
            until = _line_begin(chunk, end - 1 - begin)
            yield chunk[after:until]
            if until is not None:
                return
    except RowError:
        if is_in:  # else the line that is cut short belongs to an earlier task
            raise


def _line_begin(chunk: bytes, at: int) -> int | None:
    """Where the line after the first line end at or after a place begins; None where the chunk has none."""
    found = chunk.find(b"\n", max(0, at)) if at < len(chunk) else -1
    return None if found < 0 else found + 1
