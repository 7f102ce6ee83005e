"""The best candidates of a search step, of all rows together, without sorting the vocabulary.

A row is cut into columns of WIDTH scores. The best P of a row lie in the P columns with the greatest maxima, so only
those are looked at: exact, and several times faster than ``topk`` over rows times vocabulary.

Shapes: N rows, V vocabulary, S columns, P candidates.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WIDTH = 256
CLOSED = float("-inf")


def top_candidates(scores_NV: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best candidates: their scores, rows and tokens, each [P], P being at most ``count``.

    The best comes first; equals in the order of their rows, then tokens. Of what is closed, any may come last, or none.
    """
    vocab_size, flat = scores_NV.shape[1], scores_NV.flatten()
    places = _best_places(scores_NV, min(count + 1, len(flat)))  # one more shows whether the last one has an equal
    least = flat[places[count - 1 :]].tolist()
    if len(least) == 2 and least[0] == least[1] > CLOSED:
        places = _first_places(flat, least[0], count)
    places = places[:count].sort().values
    values, order = flat[places].sort(descending=True, stable=True)
    return values, places[order] // vocab_size, places[order] % vocab_size


def _best_places(scores_NV: Tensor, count: int) -> Tensor:
    """Where the best candidates stand in the flat scores, the best first; of the last one's equals any."""
    num_rows, vocab_size = scores_NV.shape
    in_row, num_columns = min(count, vocab_size), -(-vocab_size // WIDTH)
    if num_columns <= 2 * in_row:
        return scores_NV.flatten().topk(count).indices
    filled = F.pad(scores_NV, (0, num_columns * WIDTH - vocab_size), value=CLOSED)
    columns_NSW = filled.view(num_rows, num_columns, WIDTH)
    best_NP = columns_NSW.amax(dim=-1).topk(in_row).indices
    looked_at = columns_NSW.gather(1, best_NP[:, :, None].expand(-1, -1, WIDTH)).flatten(1)
    found = looked_at.flatten().topk(count).indices
    rows, inside = found // looked_at.shape[1], found % looked_at.shape[1]
    tokens = best_NP[rows, inside // WIDTH] * WIDTH + inside % WIDTH
    return (rows * vocab_size + tokens)[tokens < vocab_size]


def _first_places(flat: Tensor, least: float, count: int) -> Tensor:
    """Where what is above the least stands, and the first of those equal to it."""
    above = (flat > least).nonzero()[:, 0]
    equal = (flat == least).nonzero()[:, 0]
    return torch.cat([above, equal[: count - len(above)]])
