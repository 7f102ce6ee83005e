"""Rows that cannot be used: counted and kept apart with file, line and reason, and the rule when there are too many.

The rule: reading stops at a file of which more than 1% of the rows, and more than 2 rows, are bad. It is judged at the
end of each file, and on the way at each bad row from the 10,000th row on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from duologue.data.excerpt import excerpt
from duologue.errors import DataError

TOLERATED_SHARE = 0.01
TOLERATED_ROWS = 2
ROWS_BEFORE_JUDGING = 10_000
KEPT_PER_KIND = 10
REASON_CHARACTERS = 200

ACCEPTED_SHAPES = (
    'JSON {"messages": [{"role", "content"}]}, {"text"}, ShareGPT {"conversations": [{"from", "value"}]} or '
    "Alpaca {instruction, input, output}; CSV/TSV with a header such as question,answer; or lines User: / Assistant:"
)


class BadKind(StrEnum):
    """Why a row cannot be used."""

    JSON = "bad JSON"
    UTF8 = "not UTF-8"
    NUL = "NUL character"
    LONG = "too long"
    CUT = "packed file cut short"
    FOREIGN = "not packed"
    FIELD = "wrong field"
    SHAPE = "unknown shape"
    EMPTY = "nothing in it"
    TABLE = "bad table row"
    TRANSCRIPT = "bad transcript"


class RowError(DataError):
    """One row of a dialogue file cannot be used."""

    def __init__(self, kind: BadKind, reason: str) -> None:
        """Keeps the kind, by which bad rows are counted, and the reason, which people read."""
        super().__init__(reason)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was left out."""

    path: Path
    line_number: int
    kind: BadKind
    reason: str

    def __str__(self) -> str:
        """``file:line: reason``."""
        return f"{self.path}:{self.line_number}: {self.reason}"


@dataclass(slots=True)
class FileCount:
    """How many rows of one file were read, and of which format it is."""

    path: Path
    format: str | None = None
    num_rows: int = 0
    num_bad: int = 0
    first_bad: BadRow | None = None

    @property
    def num_good(self) -> int:
        """Rows that can be used."""
        return self.num_rows - self.num_bad

    @property
    def has_too_many_bad(self) -> bool:
        """Whether the rule says to stop."""
        return self.num_bad > TOLERATED_ROWS and self.num_bad > TOLERATED_SHARE * self.num_rows

    def complaint(self) -> str:
        """The line that says why reading this file stops."""
        share = 100 * self.num_bad / self.num_rows
        return (
            f"{self.path}: {self.num_bad:,} of {self.num_rows:,} rows ({share:.3g}%) cannot be used, the first at line "
            f"{self._line_of_first_bad}; at most {TOLERATED_SHARE:.0%} may be bad; accepted in UTF-8: {ACCEPTED_SHAPES}"
        )

    @property
    def _line_of_first_bad(self) -> str:
        return "" if self.first_bad is None else f"{self.first_bad.line_number}: {self.first_bad.reason}"


@dataclass(slots=True)
class Quarantine:
    """The bad rows of all files read so far; the first ones of each kind are kept.

    Attributes:
        on_bad: is called with each bad row.
        is_strict: whether reading stops where the rule says so.
    """

    on_bad: Callable[[BadRow], None] | None = None
    is_strict: bool = True
    files: list[FileCount] = field(default_factory=list)
    counts: Counter[BadKind] = field(default_factory=Counter)
    kept: list[BadRow] = field(default_factory=list)

    def open_file(self, path: Path) -> FileCount:
        """Starts the count of a file."""
        self.files.append(FileCount(path))
        return self.files[-1]

    def add(self, count: FileCount, line_number: int, error: DataError) -> None:
        """Puts a bad row aside; raises DataError where that makes too many."""
        kind = error.kind if isinstance(error, RowError) else BadKind.FIELD
        bad = BadRow(count.path, line_number, kind, excerpt(str(error), REASON_CHARACTERS))
        count.num_bad += 1
        count.first_bad = count.first_bad or bad
        self.counts[kind] += 1
        if self.counts[kind] <= KEPT_PER_KIND:
            self.kept.append(bad)
        if self.on_bad is not None:
            self.on_bad(bad)
        if count.num_rows >= ROWS_BEFORE_JUDGING:
            self.judge(count)

    def judge(self, count: FileCount) -> None:
        """Raises DataError where the file has too many bad rows."""
        if self.is_strict and count.has_too_many_bad:
            raise DataError(count.complaint())

    @property
    def num_bad(self) -> int:
        """Bad rows in all files."""
        return self.counts.total()
