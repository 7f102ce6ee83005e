"""KVArena: keys and values of all that is being generated, in one slab a layer.

A *slot* holds the key and the value of one token. Keys are stored after RoPE, so a token's place in the text and its
slot are independent: who may see whom is said by a mask, never by order. Slots are lent as *lanes*, one for each
prompt. Lanes of equal width that lie side by side are one view, on which attention runs at once.

Shapes: R lanes, K key-value heads, C slots of a lane, D head width, N rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from duologue.errors import ContextLengthError
from duologue.transformer.config import TransformerConfig


@dataclass(frozen=True, slots=True)
class Lanes:
    """Slots lent from an arena: ``num_lanes`` lanes of ``width`` slots, from slot ``start`` on; most often one."""

    arena: KVArena
    start: int
    num_lanes: int
    width: int

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
        picked = range(slots) if isinstance(slots, int) else slots
        places = torch.tensor([self.start + slot for slot in picked], dtype=torch.long, device=self.arena.device)
        for slab in self.arena.slabs:
            slab[target.start : target.start + len(places)] = slab[places]

    def clear(self, first: int, end: int) -> None:
        """Sets slots to zero: one that a mask closes is still multiplied by zero, and may hold what is no number."""
        for slab in self.arena.slabs:
            slab[self.start + first : self.start + end] = 0

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
        shape = (num_slots, config.num_key_value_heads, config.head_dim)
        self.slabs = [torch.empty(shape, dtype=dtype, device=device) for _ in range(2 * self.num_layers)]
        self.key_slabs, self.value_slabs = self.slabs[::2], self.slabs[1::2]
        self._free: list[tuple[int, int]] = [(0, num_slots)]  # (first, end), in order, never touching
        self._lent: dict[int, int] = {}  # first -> end

    @property
    def slot_bytes(self) -> int:
        """Memory of one token."""
        return sum(slab[0].numel() * slab.element_size() for slab in self.slabs)

    @property
    def num_free(self) -> int:
        """Slots that nobody has."""
        return sum(end - first for first, end in self._free)

    @property
    def num_lent(self) -> int:
        """Slots that somebody has; with num_free always num_slots."""
        return sum(end - first for first, end in self._lent.items())

    def lend(self, width: int) -> Lanes:
        """A lane; what lies in its slots is left over from others.

        Raises:
            ContextLengthError: no run of free slots is long enough.
        """
        for place, (first, end) in enumerate(self._free):
            if end - first >= width:
                self._free[place : place + 1] = [(first + width, end)] if end - first > width else []
                self._lent[first] = first + width
                return Lanes(self, first, 1, width)
        raise self.no_room(width)

    def no_room(self, width: int) -> ContextLengthError:
        """The error where so many slots are not to be had."""
        found = f"{width} slots of key-value memory are needed, {self.num_free} of {self.num_slots} are free"
        return ContextLengthError(f"{found}; lower max_new_tokens or num_return_sequences, or load with more max_slots")

    def longest_run(self, given_back: Iterable[Lanes] = ()) -> int:
        """The most slots that could be lent at once, were these lanes given back."""
        runs = _joined([*self._free, *((lane.start, lane.start + lane.width) for lane in given_back)])
        return max((end - first for first, end in runs), default=0)

    def resize(self, lane: Lanes, width: int) -> Lanes | None:
        """The lane made shorter, or longer where the slots behind it are free; None where they are not."""
        behind = lane.start + lane.width
        room = next((end - first for first, end in self._free if first == behind), 0)
        if width > lane.width + room:
            return None
        self.release(lane)
        place = next(i for i, (first, end) in enumerate(self._free) if first <= lane.start < end)
        first, end = self._free[place]
        spans = [(first, lane.start), (lane.start + width, end)]
        self._free[place : place + 1] = [(a, b) for a, b in spans if b > a]
        self._lent[lane.start] = lane.start + width
        return Lanes(self, lane.start, 1, width)

    def release(self, lanes: Lanes) -> None:
        """Takes back what ``lend`` gave; giving back twice is an error of the program."""
        end = self._lent.pop(lanes.start)
        self._free = _joined([*self._free, (lanes.start, end)])

    def write(self, layer: int, places_N: Tensor, k_NKD: Tensor, v_NKD: Tensor) -> None:
        """Writes keys and values of N rows to these slots of the arena."""
        self.key_slabs[layer].index_copy_(0, places_N, k_NKD)
        self.value_slabs[layer].index_copy_(0, places_N, v_NKD)

    def view(self, slab: Tensor, lanes: Lanes) -> Tensor:
        """The slots of the lanes in a slab, [R, K, C, D]."""
        run = slab[lanes.start : lanes.start + lanes.num_lanes * lanes.width]
        return run.unflatten(0, (lanes.num_lanes, lanes.width)).transpose(1, 2)


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """(first, end) of each run of slots, in order, those that touch made one."""
    found: list[tuple[int, int]] = []
    for first, end in sorted(spans):
        if found and found[-1][1] == first:
            found[-1] = (found[-1][0], end)
        else:
            found.append((first, end))
    return found
