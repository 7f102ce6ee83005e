"""What a row of a JSON file says beside its dialogue: answers, splits, whatever its makers put there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from duologue.data.json_rows import json_document, json_lines
from duologue.data.lines import Record, read_chunks
from duologue.data.sources import NumberedRow


class FieldsBeside:
    """The JSON fields that a row was read from: the file is read a second time, in step with the rows."""

    def __init__(self) -> None:
        """Opens nothing yet."""
        self._path: Path | None = None
        self._records: Iterator[Record] = iter(())

    def fields_of(self, numbered: NumberedRow) -> Mapping[str, Any]:
        """The fields of the object that a row was made from, where it was one; rows are asked for in order."""
        if numbered.path is not self._path:
            self._path, self._records = numbered.path, _json_records(numbered.path)
        values = (value for number, value in self._records if number == numbered.line_number)
        found = next(values, None)
        return found if isinstance(found, Mapping) else {}


def _json_records(path: Path) -> Iterator[Record]:
    """The rows of a JSON file; none of a file of another kind, which has no place for answers."""
    name = path.name.lower().removesuffix(".gz").removesuffix(".zst")
    if name.endswith(".jsonl"):
        return json_lines(read_chunks(path))
    return json_document(read_chunks(path)) if name.endswith(".json") else iter(())
