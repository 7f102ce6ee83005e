"""How things are shared out among the processes of a run: the rows of a step, and the rows of a tensor."""

from __future__ import annotations


def rows_of_rank(num_rows: int, rank: int, world_size: int) -> range:
    """The rows of a step that a process takes: each row goes to one, in order; shares differ by one at most."""
    return range(rank * num_rows // world_size, (rank + 1) * num_rows // world_size)


def rows_of_piece(num_rows: int, world_size: int, rows_at_once: int) -> int:
    """Rows that a process has room for at once in a step: as few as will do for as many pieces as there must be."""
    most = -(-num_rows // world_size)
    return -(-most // -(-most // rows_at_once))


def micro_batches(num_rows: int, *, rank: int, world_size: int, rows_at_once: int) -> list[range]:
    """What a process takes of a step, in pieces of at most rows_of_piece.

    All processes get as many pieces, since in each of them they wait for each other; the last one may be empty.
    """
    mine, size = rows_of_rank(num_rows, rank, world_size), rows_of_piece(num_rows, world_size, rows_at_once)
    most = -(-num_rows // world_size)
    starts = (mine.start + index * size for index in range(-(-most // size)))
    return [range(min(start, mine.stop), min(start + size, mine.stop)) for start in starts]


def sharded_rows(num_rows: int, rank: int, world_size: int) -> int:
    """Rows of a tensor that FSDP2 leaves with a process: equal pieces, rounded up, so that the last may have none.

    Source: ``torch.chunk``, by which ``torch.distributed.tensor.Shard`` splits.
    """
    piece = -(-num_rows // world_size)
    return max(0, min(num_rows, (rank + 1) * piece) - rank * piece)
