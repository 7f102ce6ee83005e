"""What is in dialogue files and what is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from duologue.conversation import Conversation, Role
from duologue.data.duplicates import DuplicateFinder
from duologue.data.formats import PlainText, Row
from duologue.data.language import language_of
from duologue.data.quarantine import BadRow, FileCount, Quarantine
from duologue.data.sources import Paths, checked_paths, read_numbered_rows

EXACT_LENGTH = 10_000


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long rows are; from 10,000 on, median and p90 to three digits."""

    median: int
    p90: int
    max: int

    @classmethod
    def of(cls, counts: Counter[int], longest: int) -> Lengths:
        """The middle, the length that 9 in 10 rows do not exceed, and the greatest."""
        return cls(_quantile(counts, 0.5), _quantile(counts, 0.9), longest)


@dataclass(frozen=True, slots=True)
class DataReport:
    """What ``check`` found.

    Attributes:
        files: format and counts of each file.
        num_without_reply: conversations with no assistant turn.
        bad_counts: rows that cannot be used, by kind.
        bad_rows: the first ones of each kind.
        problem: why these files cannot be trained on, or None where they can.
    """

    files: tuple[FileCount, ...]
    num_conversations: int
    num_plain_texts: int
    num_without_reply: int
    languages: dict[str, int]
    characters: Lengths
    turns: Lengths
    num_exact_duplicates: int
    num_near_duplicates: int
    bad_counts: dict[str, int]
    bad_rows: tuple[BadRow, ...]
    problem: str | None

    @property
    def num_rows(self) -> int:
        """Rows that can be used."""
        return self.num_conversations + self.num_plain_texts

    @property
    def num_bad(self) -> int:
        """Rows that cannot be used."""
        return sum(self.bad_counts.values())

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "files": [_file(count) for count in self.files],
            "num_rows": self.num_rows,
            "num_conversations": self.num_conversations,
            "num_plain_texts": self.num_plain_texts,
            "num_without_reply": self.num_without_reply,
            "languages": self.languages,
            "characters": _lengths(self.characters),
            "turns": _lengths(self.turns),
            "num_exact_duplicates": self.num_exact_duplicates,
            "num_near_duplicates": self.num_near_duplicates,
            "num_bad": self.num_bad,
            "bad_counts": self.bad_counts,
            "bad_rows": [_bad_row(bad) for bad in self.bad_rows],
            "problem": self.problem,
        }


def check(paths: Paths) -> DataReport:
    """Reads dialogue files to their end and reports on them, also where training would stop at too many bad rows.

    Raises:
        DataError: a path is no file of an accepted kind, a file has no known format, or no row can be used.
    """
    quarantine = Quarantine(is_strict=False)
    tally = _Tally()
    tally.add_all(numbered.row for numbered in read_numbered_rows(checked_paths(paths), quarantine))
    duplicates = tally.finder.find()
    return DataReport(
        files=tuple(quarantine.files),
        num_conversations=tally.num_conversations,
        num_plain_texts=tally.num_plain_texts,
        num_without_reply=tally.num_without_reply,
        languages=dict(tally.languages.most_common()),
        characters=Lengths.of(tally.characters, tally.most_characters),
        turns=Lengths.of(tally.turns, tally.most_turns),
        num_exact_duplicates=duplicates.num_exact,
        num_near_duplicates=duplicates.num_near,
        bad_counts={str(kind): number for kind, number in quarantine.counts.most_common()},
        bad_rows=tuple(quarantine.kept),
        problem=next((count.complaint() for count in quarantine.files if count.has_too_many_bad), None),
    )


class _Tally:
    """Counts that do not grow with the number of rows, but for the duplicates' bytes."""

    def __init__(self) -> None:
        self.num_conversations = self.num_plain_texts = self.num_without_reply = 0
        self.most_characters = self.most_turns = 0
        self.languages: Counter[str] = Counter()
        self.characters: Counter[int] = Counter()
        self.turns: Counter[int] = Counter()
        self.finder = DuplicateFinder()

    def add_all(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.languages[language_of(row)] += 1
            self.finder.add(row)
            if isinstance(row, PlainText):
                self.num_plain_texts += 1
                self._add_lengths(len(row.text), 0)
            else:
                self._add_conversation(row)

    def _add_conversation(self, row: Conversation) -> None:
        self.num_conversations += 1
        self.num_without_reply += not any(message.role is Role.ASSISTANT for message in row.messages)
        self._add_lengths(sum(len(message.content) for message in row.messages), len(row.messages))

    def _add_lengths(self, num_characters: int, num_turns: int) -> None:
        self.characters[_rounded(num_characters)] += 1
        self.most_characters = max(self.most_characters, num_characters)
        if num_turns:
            self.turns[_rounded(num_turns)] += 1
            self.most_turns = max(self.most_turns, num_turns)


def _rounded(length: int) -> int:
    """Three digits of a great length: so there are at most a few thousand different ones to count."""
    return length if length < EXACT_LENGTH else round(length, 3 - len(str(length)))


def _quantile(counts: Counter[int], share: float) -> int:
    """The smallest length that at least this share of the rows does not exceed; 0 where there are no rows."""
    rest = share * counts.total()
    for length in sorted(counts):
        rest -= counts[length]
        if rest <= 0:
            return length
    return 0


def _lengths(lengths: Lengths) -> dict[str, int]:
    return {"median": lengths.median, "p90": lengths.p90, "max": lengths.max}


def _file(count: FileCount) -> dict[str, Any]:
    return {
        "path": str(count.path), "format": count.format, "num_rows": count.num_rows, "num_bad": count.num_bad,
    }  # fmt: skip


def _bad_row(bad: BadRow) -> dict[str, Any]:
    return {"path": str(bad.path), "line": bad.line_number, "kind": str(bad.kind), "reason": bad.reason}
