"""Batches: sample i is a pure function of (seed, plan, i), so a resumed run sees what the unbroken one saw.

So does a run that is split up: whoever asks for a sample, on however many processes, gets the same row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from duologue.data.packing import PackingPlan
from duologue.data.shards import Shards
from duologue.tokenizer.encode_conversation import NO_LOSS

Ints = npt.NDArray[np.int64]
Marks = npt.NDArray[np.uint8]
# Another form of a piece: (tokens, 1 where one is learned, where it begins, epoch, places to spare) -> tokens and
# marks, longer by no more than there are to spare.
Rewrite = Callable[[Ints, Marks, int, int, int], tuple[Ints, Marks]]


@dataclass(frozen=True)
class Batch:
    """Packed rows, all arrays [B, T].

    Attributes:
        input_ids: tokens.
        labels: the token that follows each place in its document; NO_LOSS where nothing is learned.
        position_ids: places counted from the start of each piece.
        document_ids: which piece of the row a place belongs to; places see their own piece only.
    """

    input_ids: Ints
    labels: Ints
    position_ids: Ints
    document_ids: Ints

    @property
    def num_labels(self) -> int:
        """Places that carry loss."""
        return int((self.labels != NO_LOSS).sum())


@dataclass(frozen=True)
class Loader:
    """Turns a packing plan into batches.

    Attributes:
        only_learned: loss on what fine-tuning learns; else on every token.
        pad_id: fills the empty places.
    """

    shards: Shards
    plan: PackingPlan
    seed: int
    only_learned: bool
    pad_id: int

    def samples(self, numbers: range, *, num_rows: int, rewrite: Rewrite | None = None) -> Batch:
        """Samples in training order, in ``num_rows`` rows: epochs follow each other, each in an order of its own.

        Rows without a sample stay empty and carry no loss, so that the shape is always the same.

        Args:
            rewrite: gives each piece another form.
        """
        places = [divmod(number, self.plan.num_rows) for number in numbers]
        return self._collate([(self._row_number(*place), place[0]) for place in places], num_rows, rewrite)

    def piece_starts(self, number: int) -> list[int]:
        """Where the pieces of a sample begin among all tokens, as they follow each other in its row."""
        row = self._row_number(*divmod(number, self.plan.num_rows))
        pieces = self.plan.pieces[self.plan.row_offsets[row] : self.plan.row_offsets[row + 1]]
        return [int(start) for start in self.plan.starts[pieces]]

    def rows(self, numbers: range, *, num_rows: int) -> Batch:
        """Rows in stored order, for validation; empty ones at the end, so that the shape stays."""
        return self._collate([(number, 0) for number in numbers if number < self.plan.num_rows], num_rows, None)

    def _row_number(self, epoch: int, place: int) -> int:
        return int(_epoch_order(self.seed, epoch, self.plan.num_rows)[place])

    def _collate(self, rows: list[tuple[int, int]], num_rows: int, rewrite: Rewrite | None) -> Batch:
        shape = (num_rows, self.plan.sequence_length)
        batch = Batch(
            np.full(shape, self.pad_id, dtype=np.int64),
            np.full(shape, NO_LOSS, dtype=np.int64),
            np.zeros(shape, dtype=np.int64),
            np.zeros(shape, dtype=np.int64),
        )
        for row, (number, epoch) in enumerate(rows):
            self._fill(batch, row, number, epoch, rewrite)
        return batch

    def _fill(self, batch: Batch, row: int, number: int, epoch: int, rewrite: Rewrite | None) -> None:
        place, plan = 0, self.plan
        pieces = plan.pieces[plan.row_offsets[number] : plan.row_offsets[number + 1]]
        room = plan.sequence_length - int((plan.lengths[pieces] - 1).sum())
        for index, piece in enumerate(pieces, start=1):
            start, length = int(plan.starts[piece]), int(plan.lengths[piece])
            tokens = self.shards.tokens[start : start + length].astype(np.int64)
            learned = self.shards.learned[start : start + length]
            if rewrite is not None:
                to_context = plan.sequence_length - plan.reserve + 1 - length
                tokens, learned = rewrite(tokens, learned, start, epoch, min(room, to_context))
                room, length = room + length - len(tokens), len(tokens)
            span = slice(place, place + length - 1)
            targets = tokens[1:]
            if self.only_learned:
                targets = np.where(learned[1:] == 1, targets, NO_LOSS)
            batch.input_ids[row, span] = tokens[:-1]
            batch.labels[row, span] = targets
            batch.position_ids[row, span] = np.arange(length - 1)
            batch.document_ids[row, span] = index
            place += length - 1


@lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, num_rows: int) -> Ints:
    return np.random.default_rng([seed, 1, epoch]).permutation(num_rows)
