"""How the rows of a step are shared out among processes and micro-batches: every row once, whatever their number."""

from __future__ import annotations


def rows_of_rank(num_rows: int, rank: int, world_size: int) -> range:
    """The rows of a step, of which there are ``num_rows``, that a process takes: runs as equal as can be."""
    return range(rank * num_rows // world_size, (rank + 1) * num_rows // world_size)


def micro_batches(num_rows: int, *, rank: int, world_size: int, rows_at_once: int) -> list[range]:
    """What one process takes of a step, in pieces of at most ``rows_at_once`` rows.

    All processes get as many pieces, since in each of them they wait for each other; the last one may be empty.
    """
    mine = rows_of_rank(num_rows, rank, world_size)
    most = -(-num_rows // world_size)
    starts = (mine.start + index * rows_at_once for index in range(-(-most // rows_at_once)))
    return [range(min(start, mine.stop), min(start + rows_at_once, mine.stop)) for start in starts]
