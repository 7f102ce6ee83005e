"""How things are shared out among the ranks of a training run: the rows of a step, and the rows of a tensor."""

from __future__ import annotations


def rows_of_rank(num_rows: int, rank: int, world_size: int) -> range:
    """The rows of a step that a rank takes: each row goes to one rank, in order; shares differ by one at most."""
    return range(rank * num_rows // world_size, (rank + 1) * num_rows // world_size)


def sharded_rows(num_rows: int, rank: int, world_size: int) -> int:
    """Rows of a tensor that FSDP2 leaves with a rank: equal pieces, rounded up, so that the last ranks may have none.

    Source: ``torch.chunk``, by which ``torch.distributed.tensor.Shard`` splits.
    """
    piece = -(-num_rows // world_size)
    return max(0, min(num_rows, (rank + 1) * piece) - rank * piece)
