"""Packs documents into rows of one length, so that few places are left empty.

A document is first cut into pieces that fit a row, on turn borders where there are any, for fine-tuning never between a
question and its reply; pieces are then laid into rows by best fit, longest first. A piece of n tokens fills n - 1
places: each place holds a token, and its label is the next.

Source: Ding et al. 2024, arXiv:2404.10830 (best-fit packing).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from duologue.data.shards import Shards

BLOCK = 100_000  # pieces that are packed together: bounds memory and time, costs nothing at this size

Ints = npt.NDArray[np.int64]
Span = tuple[int, int]  # (start, length) among all tokens


@dataclass(frozen=True)
class PackingPlan:
    """Which pieces stand in which row.

    Attributes:
        starts, lengths: [num_pieces], where a piece begins among all tokens; its tokens, the last label included.
        row_offsets: [num_rows + 1] into pieces.
        pieces: [num_pieces], piece numbers, row after row.
        sequence_length: places in a row.
        reserve: those of them that packing leaves empty, for pieces that grow.
        num_dropped: turns, or questions with their reply, left out since they are longer than a row.
    """

    starts: Ints
    lengths: Ints
    row_offsets: Ints
    pieces: Ints
    sequence_length: int
    num_dropped: int
    reserve: int = 0

    @property
    def num_rows(self) -> int:
        """Rows in one epoch."""
        return len(self.row_offsets) - 1

    @property
    def fill(self) -> float:
        """Share of the places that packing fills that hold a token."""
        places = self.num_rows * (self.sequence_length - self.reserve)
        return float((self.lengths - 1).sum()) / places if places else 0.0


def plan_packing(
    shards: Shards, *, sequence_length: int, turn_id: int, only_learned: bool, seed: int, reserve: int = 0
) -> PackingPlan:
    """The packing of a whole corpus, a pure function of its arguments.

    Args:
        sequence_length: places that are packed.
        reserve: places that each row has beyond these, for pieces that grow.
        turn_id: the token that opens a turn; documents are cut before it.
        only_learned: for fine-tuning: pieces without a learned token are left out, and so is a question whose reply
            does not fit into the row with it.
    """
    cut = [_cut(shards, i, sequence_length, turn_id, only_learned) for i in range(shards.manifest.num_documents)]
    num_dropped = sum(dropped for _, dropped in cut)
    spans = [span for pieces, _ in cut for span in pieces]
    starts = np.array([start for start, _ in spans], dtype=np.int64)
    lengths = np.array([length for _, length in spans], dtype=np.int64)
    order = np.random.default_rng([seed, 0]).permutation(len(spans))
    rows: list[list[int]] = []
    for begin in range(0, len(order), BLOCK):
        rows += best_fit(lengths, order[begin : begin + BLOCK], capacity=sequence_length)
    row_offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    pieces = np.array([piece for row in rows for piece in row], dtype=np.int64)
    return PackingPlan(starts, lengths, row_offsets, pieces, sequence_length + reserve, num_dropped, reserve)


def best_fit(lengths: Ints, order: Ints, *, capacity: int) -> list[list[int]]:
    """Pieces laid into rows: longest first, each into the row that it fills best."""
    rows: list[list[int]] = []
    rows_with_room: list[list[int]] = [[] for _ in range(capacity + 1)]
    has_room = 0  # bit r is set where some row has exactly r places left
    for piece in order[np.argsort(-lengths[order], kind="stable")]:
        places = int(lengths[piece]) - 1
        candidates = has_room >> places
        if candidates:
            room = places + (candidates & -candidates).bit_length() - 1
            row = rows_with_room[room].pop()
            if not rows_with_room[room]:
                has_room &= ~(1 << room)
            rows[row].append(int(piece))
        else:
            room, row = capacity, len(rows)
            rows.append([int(piece)])
        rows_with_room[room - places].append(row)
        has_room |= 1 << (room - places)
    return rows


def _cut(shards: Shards, document: int, capacity: int, turn_id: int, only_learned: bool) -> tuple[list[Span], int]:
    """The pieces (start, length) of one document, and how many turns were left out."""
    start, end = int(shards.offsets[document]), int(shards.offsets[document + 1])
    if end - start <= capacity + 1:
        whole = (start, end - start)
        return ([whole] if _is_useful(shards, whole, only_learned) else []), 0
    borders = _borders(shards, start, end, turn_id, only_learned)
    spans, num_dropped = [], 0
    for span in _windows([start, *borders[borders > start].tolist(), end], capacity + 1):
        if span[1] <= capacity + 1:
            spans.append(span)
        elif only_learned:
            num_dropped += _is_useful(shards, span, only_learned)
        else:
            spans += [(at, min(capacity + 1, span[0] + span[1] - at)) for at in range(span[0], sum(span) - 1, capacity)]
    return [span for span in spans if _is_useful(shards, span, only_learned)], num_dropped


def _borders(shards: Shards, start: int, end: int, turn_id: int, only_learned: bool) -> Ints:
    """Where a document may be cut: before a turn; for fine-tuning, before one that is not itself learned."""
    borders = np.flatnonzero(shards.tokens[start:end] == turn_id)
    if only_learned and len(borders):
        is_reply = np.maximum.reduceat(shards.learned[start:end], borders) > 0
        borders = borders[~is_reply]
    return start + borders


def _windows(borders: list[int], size: int) -> Iterator[Span]:
    """Runs of whole turns, each at most ``size`` tokens where its turns allow."""
    begin = borders[0]
    for previous, border in pairwise(borders):
        if border - begin > size and previous > begin:
            yield begin, previous - begin
            begin = previous
    yield begin, borders[-1] - begin


def _is_useful(shards: Shards, span: Span, only_learned: bool) -> bool:
    start, length = span
    return length > 1 and (not only_learned or bool(shards.learned[start + 1 : start + length].any()))
