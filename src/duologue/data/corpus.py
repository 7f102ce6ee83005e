"""A recipe's corpus: built-in dialogues and the user's files, as the rows of one stage and one split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path

from duologue.conversation import Conversation
from duologue.data.builtin.chitchat import chitchat_dialogues
from duologue.data.builtin.dialogues import builtin_dialogues
from duologue.data.config import DataConfig
from duologue.data.formats import Row
from duologue.data.sources import checked_paths, read_conversations
from duologue.data.validation import is_validation
from duologue.errors import DataError

BUILTIN_VALIDATION_ROWS = 1000
MOST_VALIDATION = 0.1  # of the files' rows, however few there are


class Split(StrEnum):
    """Which side of the corpus."""

    TRAIN = "train"
    VALID = "valid"


class Corpus:
    """All rows that a recipe learns from, read anew at each pass; nothing is held in memory."""

    def __init__(self, config: DataConfig) -> None:
        """Checks that the files exist."""
        self.config = config
        files = [path for split in Split for path in self._prepared_files(split)]
        files += [Path(name) for name in config.files]
        self.paths = checked_paths(files) if files else []
        if not self.paths and not config.builtin_dialogues:
            raise DataError("no dialogues to learn from; give --data FILES, or [data] builtin_dialogues in the recipe")
        self._fraction: float | None = None

    def pretraining_rows(self, split: Split) -> Iterator[Row]:
        """Everything: built-in dialogues, real small talk, the files."""
        if self.config.builtin_dialogues:
            yield from self._builtin_rows(split)
        yield from self.file_rows(split)

    def finetuning_rows(self, split: Split) -> Iterator[Row]:
        """Dialogues with an assistant: those of the files, or the built-in ones where there are no files."""
        rows = self.file_rows(split) if self.paths else self._builtin_rows(split)
        return (row for row in rows if isinstance(row, Conversation) and row.is_learned)

    def tokenizer_texts(self, *, max_bytes: float) -> Iterator[str]:
        """What the tokenizer learns from: rows of each file and of the built-in corpus in turn, up to so many bytes."""
        sources = [self._side(read_conversations(path), Split.TRAIN) for path in self.paths]
        if self.config.builtin_dialogues:
            sources.append(self._builtin_rows(Split.TRAIN))
        return texts_of(_in_turn(sources), max_bytes=max_bytes)

    def survey(self) -> Iterator[str]:
        """A line for each file: the format found, its rows, and how many of them cannot be used."""
        for path in self.paths:
            reader = read_conversations(path)
            num_rows = sum(1 for _ in reader)
            (count,) = reader.quarantine.files
            bad = f", {count.num_bad:,} left out, the first: {count.first_bad}" if count.num_bad else ""
            yield f"{path.name}: {count.format}, {num_rows:,} rows{bad}"

    def file_rows(self, split: Split) -> Iterator[Row]:
        """The rows of the files, each on the side that its first question falls on, or that it was prepared for."""
        if self.config.prepared:
            return (row for path in self._prepared_files(split) for row in read_conversations(path))
        return self._side(self._limited_rows(), split)

    @property
    def validation_fraction(self) -> float:
        """The share of the files' rows that is kept back; counting them takes one pass."""
        if self._fraction is None:
            num_rows = sum(1 for _ in self._limited_rows())
            self._fraction = min(MOST_VALIDATION, self.config.validation_rows / max(1, num_rows))
        return self._fraction

    def _prepared_files(self, split: Split) -> list[Path]:
        found = sorted((Path(self.config.prepared) / "clean").glob(f"{split}-*")) if self.config.prepared else []
        if self.config.prepared and split is Split.TRAIN and not found:
            raise DataError(f"{self.config.prepared}: holds no prepared corpus; make one with duologue data prepare")
        return found

    def _side(self, rows: Iterable[Row], split: Split) -> Iterator[Row]:
        fraction = self.validation_fraction
        return (row for row in rows if is_validation(row, fraction=fraction) == (split is Split.VALID))

    def _limited_rows(self) -> Iterator[Row]:
        for path in self.paths:
            yield from _up_to(read_conversations(path), self.config.max_mb_per_file * 1e6)

    def _builtin_rows(self, split: Split) -> Iterator[Row]:
        config = self.config
        count = config.builtin_dialogues if split is Split.TRAIN else BUILTIN_VALIDATION_ROWS
        num_bytes = 0
        for row in builtin_dialogues(num_dialogues=count, seed=config.seed, split=split.value):
            num_bytes += len(row.text.encode("utf-8"))
            yield row
        if split is Split.TRAIN and config.chitchat_share:
            yield from _up_to(chitchat_dialogues(), num_bytes * config.chitchat_share)


def _up_to(rows: Iterable[Row], max_bytes: float) -> Iterator[Row]:
    """Rows until their text reaches so many bytes; all of them where that is 0."""
    num_bytes = 0
    for row in rows:
        yield row
        num_bytes += len(row.text.encode("utf-8"))
        if max_bytes and num_bytes >= max_bytes:
            return


def _in_turn(sources: list[Iterator[Row]]) -> Iterator[Row]:
    """One row of each source after the other, until all are read."""
    while sources:
        for source in tuple(sources):
            row = next(source, None)
            if row is None:
                sources.remove(source)
            else:
                yield row


def texts_of(rows: Iterable[Row], *, max_bytes: float) -> Iterator[str]:
    """What the tokenizer learns from: contents, and each turn's role so that a role becomes one token."""
    for row in _up_to(rows, max_bytes):
        if isinstance(row, Conversation):
            yield from (piece for message in row.messages for piece in (f"{message.role}\n", message.content))
        else:
            yield row.text
