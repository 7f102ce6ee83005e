"""KVArena: keys and values of all that is being generated, in one slab a layer.

A *slot* holds the key and the value of one token. Keys are stored after RoPE, so a token's place in the text and its
slot are independent: who may see whom is said by a mask, never by order. Slots are lent as *lanes* of equal width that
lie side by side, one for each prompt, so that all of them are one view on which attention runs at once.

Shapes: R lanes, K key-value heads, C slots of a lane, D head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from duologue.errors import ContextLengthError
from duologue.transformer.config import TransformerConfig


@dataclass(frozen=True, slots=True)
class Lanes:
    """Slots lent from an arena: ``num_lanes`` lanes of ``width`` slots, from slot ``start`` on."""

    arena: KVArena
    start: int
    num_lanes: int
    width: int

    def part(self, first: int, end: int) -> Lanes:
        """Some neighbouring lanes of these; they are returned with the whole, not on their own."""
        return Lanes(self.arena, self.start + first * self.width, end - first, self.width)

    def keys(self, layer: int) -> Tensor:
        """A view of the keys of a layer, [R, K, C, D]."""
        return self.arena.view(self.arena.key_slabs[layer], self)

    def values(self, layer: int) -> Tensor:
        """A view of the values of a layer, [R, K, C, D]."""
        return self.arena.view(self.arena.value_slabs[layer], self)

    def copy_into(self, target: Lanes, slots: Sequence[int] | int) -> None:
        """Copies these slots of the (only) lane here to the first slots of the (only) lane of the target.

        A number stands for the first slots; source and target may be the same lane.
        """
        picked = slice(slots) if isinstance(slots, int) else torch.tensor(slots, device=self.arena.device)
        count = slots if isinstance(slots, int) else len(slots)
        for layer in range(self.arena.num_layers):
            for source, sink in ((self.keys(layer), target.keys(layer)), (self.values(layer), target.values(layer))):
                sink[0, :, :count] = source[0][:, picked]

    def free(self) -> None:
        """Gives the slots back."""
        self.arena.release(self)


class KVArena:
    """The slabs, and who has lent which slots of them."""

    def __init__(
        self, config: TransformerConfig, *, num_slots: int, dtype: torch.dtype, device: torch.device | str = "cpu"
    ) -> None:
        """Takes room for ``num_slots`` tokens; the system hands out the memory as it is first written."""
        self.num_slots, self.num_layers, self.device = num_slots, config.num_hidden_layers, torch.device(device)
        self._heads, self._head_dim = config.num_key_value_heads, config.head_dim
        size = num_slots * self._heads * self._head_dim
        slabs = [torch.empty(size, dtype=dtype, device=device) for _ in range(2 * self.num_layers)]
        self.key_slabs, self.value_slabs = slabs[::2], slabs[1::2]
        self._free: list[tuple[int, int]] = [(0, num_slots)]  # (first, end), in order, never touching
        self._lent: dict[int, int] = {}  # first -> end

    @property
    def num_free(self) -> int:
        """Slots that nobody has."""
        return sum(end - first for first, end in self._free)

    @property
    def num_lent(self) -> int:
        """Slots that somebody has; with num_free always num_slots."""
        return sum(end - first for first, end in self._lent.items())

    def lend(self, *, num_lanes: int, width: int) -> Lanes:
        """Lanes whose slots are all zero.

        Zero, because a slot that a mask closes is still multiplied by zero, and what lay in it may be no number.

        Raises:
            ContextLengthError: no run of free slots is long enough.
        """
        wanted = num_lanes * width
        for place, (first, end) in enumerate(self._free):
            if end - first >= wanted:
                rest = [(first + wanted, end)] if end - first > wanted else []
                self._free[place : place + 1] = rest
                self._lent[first] = first + wanted
                lanes = Lanes(self, first, num_lanes, width)
                self._clear(lanes)
                return lanes
        found = f"{wanted} slots of key-value memory are needed, {self.num_free} of {self.num_slots} are free"
        raise ContextLengthError(f"{found}; lower max_new_tokens or num_return_sequences, or load with more max_slots")

    def release(self, lanes: Lanes) -> None:
        """Takes back what ``lend`` gave; giving back twice is an error of the program."""
        end = self._lent.pop(lanes.start)
        spans: list[tuple[int, int]] = []
        for first, last in sorted([*self._free, (lanes.start, end)]):
            if spans and spans[-1][1] == first:
                spans[-1] = (spans[-1][0], last)
            else:
                spans.append((first, last))
        self._free = spans

    def view(self, slab: Tensor, lanes: Lanes) -> Tensor:
        """The slots of the lanes in a slab, [R, K, C, D]."""
        unit = self._heads * self._head_dim
        run = slab[lanes.start * unit : (lanes.start + lanes.num_lanes * lanes.width) * unit]
        return run.view(lanes.num_lanes, self._heads, lanes.width, self._head_dim)

    def _clear(self, lanes: Lanes) -> None:
        for slab in (*self.key_slabs, *self.value_slabs):
            self.view(slab, lanes).zero_()
