"""The first step: rows are read and judged as everywhere in duologue, and kept in one form."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep

from duologue.data.formats import Row
from duologue.data.json_rows import json_lines
from duologue.data.prepare.row_files import new_line_file, new_row_file, read_row_file
from duologue.data.prepare.spans import InputFile, Span, chunks_of, spans_of_task
from duologue.data.prepare.workspace import Workspace, write_json
from duologue.data.quarantine import BadRow, FileCount, Quarantine
from duologue.data.sources import NumberedRow, rows_of_file, usable_rows
from duologue.errors import DataError


class ReadRows(PipelineStep):
    """Reads a task's stretch of the input, and leaves its rows, its bad rows and its counts in the workspace."""

    type, name = "📖 - READER", "rows"

    def __init__(self, workspace: Workspace, files: Sequence[InputFile]) -> None:
        """Takes all files; each task finds its stretch of them."""
        super().__init__()
        self.workspace = workspace
        self.files = [InputFile(file.path.absolute(), file.text_bytes) for file in files]

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Gives the rows on, as documents; everything is written once all have been taken."""
        found, num_rows = [], 0
        with (
            new_line_file(self.workspace.bad_rows_of(rank)) as write_bad,
            new_row_file(self.workspace.rows(rank)) as write_row,
        ):
            for span in spans_of_task(self.files, rank, world_size):
                reader = SpanReader(span, lambda bad, span=span: write_bad(_bad_line(span, bad)))
                for numbered in reader:
                    write_row(numbered.row)
                    yield as_document(numbered.row, num_rows)
                    num_rows += 1
                found.append(reader.counts())
        write_json(self.workspace.counts("read", rank), {"num_rows": num_rows, "spans": found})


class StoredRows(PipelineStep):
    """The rows that ReadRows has left."""

    type, name = "📖 - READER", "stored rows"

    def __init__(self, workspace: Workspace) -> None:
        """Reads nothing yet."""
        super().__init__()
        self.workspace = workspace

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Gives them as documents."""
        for number, row in enumerate(read_row_file(self.workspace.rows(rank))):
            yield as_document(row, number)


class SpanReader:
    """The rows of one span, and what there is to count."""

    def __init__(self, span: Span, on_bad: Any) -> None:
        """Opens nothing yet."""
        self.span, self.num_lines = span, 0
        # Whether there are too many bad rows is judged where all tasks' counts come together.
        self.quarantine = Quarantine(on_bad=on_bad, is_strict=False)
        self.count = self.quarantine.open_file(span.file.path)

    def __iter__(self) -> Iterator[NumberedRow]:
        """Reads; line numbers count from the span's beginning."""
        if not self.span.file.is_lines:
            yield from rows_of_file(self.count, self.quarantine)
            return
        try:
            yield from usable_rows(json_lines(self._counted()), self.count, self.quarantine, gives_up=False)
        except OSError as error:
            raise DataError(f"{self.span.file.path}: cannot be read: {error.strerror or error}") from None

    def counts(self) -> dict[str, Any]:
        """As JSON."""
        bad = self.count.first_bad
        return {
            "file": self.span.number, "num_lines": self.num_lines, "format": self.count.format,
            "num_rows": self.count.num_rows, "num_bad": self.count.num_bad,
            "first_bad": None if bad is None else [bad.line_number, str(bad.kind), bad.reason],
        }  # fmt: skip

    def _counted(self) -> Iterator[bytes]:
        for chunk in chunks_of(self.span):
            self.num_lines += chunk.count(b"\n")
            yield chunk


def as_document(row: Row, number: int) -> Document:
    """A row as datatrove hands it on."""
    return Document(text=row.text, id=str(number), metadata={"row": row})


def _bad_line(span: Span, bad: BadRow) -> str:
    return json.dumps([span.number, bad.line_number, str(bad.kind), bad.reason], ensure_ascii=False)


def file_count(path: Any, number: int, tasks: Sequence[dict[str, Any]]) -> FileCount:
    """What all tasks together have counted of one file."""
    whole, lines_before = FileCount(path), 0
    for span in (span for task in tasks for span in task["spans"] if span["file"] == number):
        whole.format = whole.format or span["format"]
        whole.num_rows += span["num_rows"]
        whole.num_bad += span["num_bad"]
        if whole.first_bad is None and span["first_bad"] is not None:
            line, kind, reason = span["first_bad"]
            whole.first_bad = BadRow(path, lines_before + line, kind, reason)
        lines_before += span["num_lines"]
    return whole
