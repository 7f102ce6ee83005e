"""TokenTree: which slot of a lane holds which token, and whose child it is.

A prompt is a chain, replies to it are branches, beams are branches of branches. A slot is taken when a token is about
to be run, and is free again once nobody holds it or a descendant of it; nothing is ever moved.

Who may see whom follows from the tree: a token sees its ancestors and itself. The mask of a new token is its parent's
mask with its own slot opened, so that one step of a search builds one small mask, used by all layers.

Shapes: T rows, C slots in use.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from duologue.generation.kv_arena import Lanes
from duologue.generation.rows import CLOSED, Rows

WIDEN_BY = 64  # slots by which the part of the lane that attention looks at grows
ROOT = -1


class TokenTree:
    """The slots of one lane.

    Attributes:
        lane: where the keys and values are; replaced where it has to grow.
        tokens, parents, depths: of each slot; the depth of a token is its place in its text.
        peak: the most slots that were ever in use.
    """

    def __init__(self, lane: Lanes, ids: Sequence[int] = ()) -> None:
        """A tree over a lane that holds a chain of tokens already."""
        self.lane = lane
        self.tokens, self.parents = list(ids), list(range(ROOT, len(ids) - 1))
        self.depths = list(range(len(ids)))
        self._holds = [1] * len(ids)  # children, and callers of ``hold``
        self._free: list[int] = []
        self._width = 0  # slots that attention looks at
        self.peak = len(ids)
        self.move(lane)
        self._widen(len(ids))

    @property
    def num_used(self) -> int:
        """Slots that hold a token somebody may still see."""
        return len(self.tokens) - len(self._free)

    def has_room_for(self, count: int) -> bool:
        """Whether the lane has that many free slots."""
        return len(self._free) + self.lane.width - len(self.tokens) >= count

    def move(self, lane: Lanes) -> None:
        """Goes on in another lane, which holds the same slots."""
        self.lane = lane
        # To its end: beside a neighbour that has come further, attention looks at more of the lane than is in use.
        lane.clear(len(self.tokens), lane.width)

    def hold(self, slot: int) -> None:
        """Keeps a slot and all its ancestors from being freed."""
        if slot != ROOT:
            self._holds[slot] += 1

    def release(self, slot: int) -> None:
        """Takes a hold back; slots that nobody holds any more are free."""
        while slot != ROOT:
            self._holds[slot] -= 1
            if self._holds[slot]:
                return
            self._free.append(slot)
            slot = self.parents[slot]

    def path(self, slot: int) -> list[int]:
        """The slots from the first token of the text to this one."""
        found = []
        while slot != ROOT:
            found.append(slot)
            slot = self.parents[slot]
        return found[::-1]

    def root_mask(self) -> Tensor:
        """The mask of a token that sees nothing, [1, C]."""
        return torch.full((1, self._width), CLOSED, device=self.lane.arena.device)

    def mask_of(self, slot: int) -> Tensor:
        """The mask of a token that is there, [1, C]."""
        mask = self.root_mask()
        mask[0, self.path(slot)] = 0.0
        return mask

    def chain(self, parent: int, mask_1C: Tensor, token_ids: Sequence[int]) -> Rows:
        """Tokens one after the other; takes over the caller's hold of the parent, and leaves one on the last."""
        slots = []
        for token_id in token_ids:
            parent = self._take(parent, token_id)
            slots.append(parent)
        mask_TC = self.widened(mask_1C).repeat(len(slots), 1)
        mask_TC[:, slots] = torch.full((len(slots), len(slots)), CLOSED, device=mask_TC.device).triu(1)
        return self._rows(slots, mask_TC)

    def branch(self, parents: Sequence[int], mask_TC: Tensor, token_ids: Sequence[int]) -> Rows:
        """A child of each parent; takes over the caller's holds, and leaves one on each child.

        The parents' masks become the children's: the tensor that is given is changed.
        """
        slots = [self._take(parent, token_id) for parent, token_id in zip(parents, token_ids, strict=True)]
        mask_TC = self.widened(mask_TC)
        mask_TC.scatter_(1, torch.tensor(slots, device=mask_TC.device)[:, None], 0.0)
        return self._rows(slots, mask_TC)

    def widened(self, mask_TC: Tensor) -> Tensor:
        """A mask over all slots that are in use now."""
        missing = self._width - mask_TC.shape[-1]
        return F.pad(mask_TC, (0, missing), value=CLOSED) if missing else mask_TC

    def _take(self, parent: int, token_id: int) -> int:
        depth = 0 if parent == ROOT else self.depths[parent] + 1
        if self._free:
            slot = self._free.pop()
            self.tokens[slot], self.parents[slot], self.depths[slot], self._holds[slot] = token_id, parent, depth, 1
        else:
            slot = len(self.tokens)
            assert slot < self.lane.width, "a lane that is full"
            for column, value in zip(self._columns, (token_id, parent, depth, 1), strict=True):
                column.append(value)
            if slot >= self._width:
                self._widen(slot + 1)
        self.peak = max(self.peak, self.num_used)
        return slot

    @property
    def _columns(self) -> tuple[list[int], ...]:
        return self.tokens, self.parents, self.depths, self._holds

    def _widen(self, needed: int) -> None:
        self._width = min(-(-max(needed, 1) // WIDEN_BY) * WIDEN_BY, self.lane.width)

    def _rows(self, slots: list[int], mask_TC: Tensor) -> Rows:
        token_ids, positions = [self.tokens[slot] for slot in slots], [self.depths[slot] for slot in slots]
        return Rows(self.lane, token_ids, positions, slots, mask_TC, self.depths)
