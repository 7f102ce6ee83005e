"""Rows that nearly repeat an earlier one, by datatrove's MinHash over our pieces of text.

The texts are compared as in data/duplicates.py: without punctuation, white space and case; long ones by their
8-character pieces, in any language and with nothing to download; of short ones only equal ones count. Two rows are
duplicates where all ten minima of one of fourteen buckets are equal: of two that share 90% of their pieces that finds
99.7%, of 80% four in five, of 60% one in twelve. What is duplicate of a duplicate is one group, and of a group the
first row in input order is kept.

Source: Leskovec et al., "Mining of Massive Datasets", section 3.4; Penedo et al. 2024, "The FineWeb Datasets".
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
from datatrove.data import Document
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.utils.hashing import HashConfig
from datatrove.utils.word_tokenizers import WordTokenizer
from numpy.typing import NDArray

from duologue.data.duplicates import PIECE_CHARACTERS, exact_hash, text_pieces
from duologue.data.prepare.workspace import Workspace, write_json
from duologue.durable_files import new_file, sync

NUM_BUCKETS, MINIMA_PER_BUCKET = 14, 10
PIECES_AT_ONCE = 1 << 11
SEED = 1997
CONFIG = MinhashConfig(
    n_grams=PIECE_CHARACTERS, num_buckets=NUM_BUCKETS, hashes_per_bucket=MINIMA_PER_BUCKET, seed=SEED,
    hash_config=HashConfig(precision=32, hash_fc="sha1"),
)  # fmt: skip

Node = tuple[int, int]  # task, row


class Signatures(MinhashDedupSignature):
    """datatrove's first step, over our pieces; also notes each row's exact hash."""

    def __init__(self, workspace: Workspace) -> None:
        """Writes into the workspace."""
        super().__init__(str(workspace.signatures), config=CONFIG, language=_NoWords())
        self.workspace = workspace

    def get_shingles(self, text: str) -> NDArray[np.uint32]:
        """A hash of each piece of a text, or one of a short text."""
        return text_pieces(text)

    def get_signature(self, shingles: NDArray[np.uint32]) -> list[list[int]]:
        """The minima, bucket by bucket."""
        masks, multipliers = self._permutations
        minima = np.full(CONFIG.num_buckets * CONFIG.hashes_per_bucket, np.iinfo(np.uint32).max, np.uint32)
        for start in range(0, len(shingles), PIECES_AT_ONCE):
            hashes = (shingles[start : start + PIECES_AT_ONCE] ^ masks) * multipliers
            np.minimum(minima, hashes.min(axis=1), out=minima)
        return minima.reshape(CONFIG.num_buckets, -1).tolist()

    def run(self, data: Iterable[Document], rank: int = 0, world_size: int = 1) -> None:
        """Takes all rows of a task."""
        hashes = array("Q")
        super().run(_noted(data, hashes), rank, world_size)
        for path in self.workspace.signatures.glob(f"*/{rank:05d}.*"):
            sync(path)
        with new_file(self.workspace.exact_hashes(rank)) as write:
            write(hashes.tobytes())

    @cached_property
    def _permutations(self) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        rng, shape = np.random.default_rng(SEED), (CONFIG.num_buckets * CONFIG.hashes_per_bucket, 1)
        masks, halves = rng.integers(0, 1 << 32, shape, np.uint32), rng.integers(0, 1 << 31, shape, np.uint32)
        return masks, halves * np.uint32(2) + np.uint32(1)


class Pairs(MinhashDedupBuckets):
    """datatrove's second step; with fewer tasks than buckets a task takes several of these."""

    def __init__(self, workspace: Workspace) -> None:
        """Reads the signatures."""
        super().__init__(str(workspace.signatures), str(workspace.pairs), config=CONFIG, lines_to_buffer=1 << 10)
        self.workspace = workspace

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> None:
        """Compares the signatures bucket by bucket."""
        for bucket in range(rank, NUM_BUCKETS, world_size):
            super().run(data, bucket, NUM_BUCKETS)
            for path in self.workspace.pairs.glob(f"{bucket:05d}_*"):
                sync(path)


class FirstOfEachGroup(MinhashDedupCluster):
    """datatrove's third step, in which not any row of a group is kept but the first."""

    def __init__(self, workspace: Workspace) -> None:
        """Reads the pairs."""
        super().__init__(str(workspace.pairs), str(workspace.removed), config=CONFIG)
        self.workspace = workspace

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> None:
        """Writes which rows of each task are not kept, and how many of them are exact duplicates."""
        firsts = _first_of_each(self._pairs())
        removed: defaultdict[int, list[int]] = defaultdict(list)
        num_exact, seen = 0, set()
        hashes = _ExactHashes(self.workspace)
        for node in sorted(firsts):
            first = _find(firsts, node)
            said = (first, hashes.of(node))
            if node != first:
                removed[node[0]].append(node[1])
                num_exact += said in seen
            seen.add(said)
        for task, rows in removed.items():
            with new_file(self.workspace.removed / f"{task:06d}.remove") as write:
                write(np.array(rows, "<u4").tobytes())
        num_near = sum(map(len, removed.values())) - num_exact
        write_json(self.workspace.counts("duplicates", 0), {"num_exact": num_exact, "num_near": num_near})

    def _pairs(self) -> Iterator[tuple[Node, Node]]:
        for path in sorted(self.workspace.pairs.glob("*.dups")):
            for task, row, other_task, other_row in np.fromfile(path, "<u4").reshape(-1, 4).tolist():
                yield (task, row), (other_task, other_row)


def without_duplicates(workspace: Workspace) -> MinhashDedupFilter:
    """datatrove's fourth step: lets all rows pass but those that are not kept."""
    return MinhashDedupFilter(str(workspace.removed))


class _NoWords(WordTokenizer):
    """datatrove wants to know how words are told apart; pieces need no words."""

    def word_tokenize(self, text: str) -> list[str]:
        raise NotImplementedError

    def sent_tokenize(self, text: str) -> list[str]:
        raise NotImplementedError

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        raise NotImplementedError


class _ExactHashes:
    """The exact hash of any row; those of a task are read when the first of them is asked for."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._task, self._hashes = -1, np.empty(0, np.uint64)

    def of(self, node: Node) -> int:
        task, row = node
        if task != self._task:
            self._task, self._hashes = task, np.fromfile(self._workspace.exact_hashes(task), np.uint64)
        return int(self._hashes[row])


def _noted(data: Iterable[Document], hashes: array[int]) -> Iterator[Document]:
    for document in data:
        hashes.append(exact_hash(document.metadata["row"]))
        yield document


def _first_of_each(pairs: Iterable[tuple[Node, Node]]) -> dict[Node, Node]:
    """For each row that is in a pair an earlier one of its group, or itself where it is the first (see _find)."""
    earlier: dict[Node, Node] = {}
    for one, two in pairs:
        a, b = _find(earlier, one), _find(earlier, two)
        earlier[max(a, b)] = earlier[min(a, b)] = min(a, b)
    return earlier


def _find(earlier: dict[Node, Node], node: Node) -> Node:
    """The first row of a group, as far as it is known; makes the way there shorter."""
    while (above := earlier.setdefault(node, node)) != node:
        earlier[node] = earlier.setdefault(above, above)
        node = above
    return node
