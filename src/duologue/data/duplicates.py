"""Rows that occur twice, exactly or nearly, found in at most 32 bytes a row (more only where most rows are equal).

Exact: the 64-bit hash of roles and contents is the same. Near: punctuation, white space and case aside, the texts are
the same, or they are long and share nearly all their 8-character pieces, which 16 minima of hashes (a byte of each is
kept) tell without comparing texts. A row counts as a duplicate of an earlier one; the first is never one.

Source: Broder 1997, "On the resemblance and containment of documents"; Leskovec et al., "Mining of Massive Datasets",
section 3.4 (bands).
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from duologue.data.formats import PlainText, Row

PIECE_CHARACTERS = 8
NUM_MINIMA = 16
NUM_BANDS = 4
# Of 16 minima: expected where two texts share 81% of their pieces.
MIN_EQUAL_MINIMA = 13
# Below, one other word is another text: only punctuation, white space and case may differ.
LONG_TEXT_PIECES = 100
PIECES_AT_ONCE = 1 << 14
MAX_CHARACTERS = 1 << 20
ROWS_AT_ONCE = 1 << 14
PARTITIONS = 64
GROWTH = 1.125
# Punctuation that changes a sum rather than its looks.
ARITHMETIC = "-*/%"

Hashes = NDArray[np.uint32]
Signature = NDArray[np.uint8]
Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Which rows, in the order in which they were added, repeat an earlier one.

    Attributes:
        is_exact: the same roles and contents stand in an earlier row.
        is_near: not that, but an earlier row is nearly the same.
    """

    is_exact: Flags
    is_near: Flags

    @property
    def num_exact(self) -> int:
        """Rows that repeat an earlier one exactly."""
        return int(self.is_exact.sum())

    @property
    def num_near(self) -> int:
        """Rows that nearly repeat an earlier one."""
        return int(self.is_near.sum())


class DuplicateFinder:
    """Takes rows one by one and keeps 24 bytes of each."""

    def __init__(self) -> None:
        """Starts with no rows."""
        self._num_rows = 0
        self._hashes: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._signatures: Signature = np.empty((0, NUM_MINIMA), np.uint8)

    def add(self, row: Row) -> None:
        """Takes note of a row."""
        if self._num_rows == len(self._hashes):
            self._grow()
        self._hashes[self._num_rows] = exact_hash(row)
        self._signatures[self._num_rows] = signature(row.text)
        self._num_rows += 1

    def find(self) -> Duplicates:
        """What repeats what, among all rows so far."""
        hashes, signatures = self._hashes[: self._num_rows], self._signatures[: self._num_rows]
        is_exact, is_near = np.zeros(self._num_rows, np.bool_), np.zeros(self._num_rows, np.bool_)
        for rows, leaders in _groups(hashes):
            is_exact[rows[rows != leaders]] = True
        bands = signatures.view(np.uint32)
        for band in range(NUM_BANDS):
            for rows, leaders in _groups(bands[:, band]):
                # Each row against the first of its group and against the one before it: linear, whatever its size.
                before = np.where(rows == leaders, rows, np.roll(rows, 1))
                for others in (leaders, before):
                    num_equal = (signatures[rows] == signatures[others]).sum(axis=1)
                    is_near[rows[(num_equal >= MIN_EQUAL_MINIMA) & (others < rows)]] = True
        is_near &= ~is_exact
        return Duplicates(is_exact, is_near)

    def _grow(self) -> None:
        # By an eighth, in place: doubling would break the promise of 32 bytes a row.
        size = max(1 << 12, int(len(self._hashes) * GROWTH))
        self._hashes.resize(size, refcheck=False)
        self._signatures.resize((size, NUM_MINIMA), refcheck=False)


def exact_hash(row: Row) -> int:
    """64 bits of what is said and by whom."""
    digest = hashlib.blake2b(digest_size=8)
    turns = [("", row.text)] if isinstance(row, PlainText) else [(m.role, m.content) for m in row.messages]
    for role, content in turns:
        said = content.encode("utf-8")
        digest.update(b"%b %d\n" % (role.encode(), len(said)))
        digest.update(said)
    return int.from_bytes(digest.digest(), "little")


def signature(text: str) -> Signature:
    """16 bytes: about as many of them are equal in two long texts as the share of pieces that these have in common."""
    letters = _letters(text)
    if len(letters) < LONG_TEXT_PIECES + PIECE_CHARACTERS - 1:
        return np.frombuffer(hashlib.blake2b(letters.tobytes(), digest_size=NUM_MINIMA).digest(), np.uint8)
    minima = np.full(NUM_MINIMA, np.iinfo(np.uint32).max, np.uint32)
    for hashes in _piece_hashes(letters):
        np.minimum(minima, (_multipliers()[:, None] * hashes).min(axis=1), out=minima)
    return (minima & 0xFF).astype(np.uint8)


def text_pieces(text: str) -> Hashes:
    """What texts are compared by: a hash of each 8-character piece; of a short text 16 hashes of the whole."""
    letters = _letters(text)
    if len(letters) < LONG_TEXT_PIECES + PIECE_CHARACTERS - 1:
        return np.frombuffer(hashlib.blake2b(letters.tobytes(), digest_size=64).digest(), np.uint32)
    return np.concatenate(list(_piece_hashes(letters)))


def _letters(text: str) -> Hashes:
    """The code points of all but punctuation and white space, case folded; of a text of nothing else, all."""
    points = np.frombuffer(text[:MAX_CHARACTERS].casefold().encode("utf-32-le"), np.uint32)
    letters = points[_counts()[points]]
    return letters if len(letters) else points


def _piece_hashes(letters: Hashes) -> Iterator[Hashes]:
    """A hash of each run of letters of the length of a piece."""
    for start in range(0, len(letters) - PIECE_CHARACTERS + 1, PIECES_AT_ONCE):
        window = letters[start : start + PIECES_AT_ONCE + PIECE_CHARACTERS - 1]
        count = len(window) - PIECE_CHARACTERS + 1
        hashes = np.zeros(count, np.uint32)
        for offset in range(PIECE_CHARACTERS):
            hashes = (hashes ^ window[offset : offset + count]) * np.uint32(0x9E3779B1)
            hashes ^= hashes >> np.uint32(15)
        yield hashes


def _groups(keys: NDArray[Any]) -> Iterator[tuple[Indices, Indices]]:
    """Rows with equal keys, side by side and in order, and for each the first row with its key; some keys at a time."""
    for part in range(PARTITIONS):
        rows = _rows_of_part(keys, part)
        rows = rows[np.argsort(keys[rows], kind="stable")]
        is_first = np.ones(len(rows), np.bool_)
        is_first[1:] = keys[rows[1:]] != keys[rows[:-1]]
        yield rows, rows[np.flatnonzero(is_first)[np.cumsum(is_first) - 1]]


def _rows_of_part(keys: NDArray[Any], part: int) -> Indices:
    starts = range(0, len(keys), ROWS_AT_ONCE)
    found = [start + np.flatnonzero(keys[start : start + ROWS_AT_ONCE] % PARTITIONS == part) for start in starts]
    return np.concatenate(found) if found else np.empty(0, np.int64)


@cache
def _counts() -> Flags:
    """For each code point, whether it makes a difference: punctuation and white space do not."""
    categories = np.array(list(map(unicodedata.category, map(chr, range(0x110000)))), "U2").view(np.uint32)[::2]
    kept = ~np.isin(categories, [ord(category) for category in "PZC"])
    kept[[ord(point) for point in ARITHMETIC]] = True
    return kept


@cache
def _multipliers() -> Hashes:
    return np.random.default_rng(1997).integers(1, 1 << 31, NUM_MINIMA, np.uint32) * np.uint32(2) + np.uint32(1)
