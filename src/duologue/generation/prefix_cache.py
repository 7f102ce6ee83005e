"""PrefixCache: keys and values of finished requests, kept so that a chat's next turn reads only what is new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from duologue.errors import ContextLengthError
from duologue.generation.kv_arena import KVArena, Lanes


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """What was read: ``ids``, and the lane whose first slots hold their keys and values, in order."""

    ids: tuple[int, ...]
    lane: Lanes


class PrefixCache:
    """All lending goes through here, so that what is kept makes room when room is needed, the oldest first."""

    def __init__(self, arena: KVArena) -> None:
        """An empty cache over the arena."""
        self.arena = arena
        self._entries: list[Entry] = []  # the one used last stands last

    @property
    def num_slots(self) -> int:
        """Slots of the arena."""
        return self.arena.num_slots

    def lend(self, ids: Sequence[int], *, width: int) -> tuple[Lanes, int]:
        """A lane of this width, and how many of the ids, never the last one, it already holds.

        Raises:
            ContextLengthError: there is no room; what is kept stays.
        """
        found, common = self._longest(ids[:-1])
        if found is None:
            return self.lend_empty(width), 0
        self._entries.remove(found)
        if common == len(found.ids):
            try:
                return self.grow(found.lane, width, used=common), common
            except ContextLengthError:
                self._entries.append(found)
                raise
        self._entries.append(found)  # used last, so given up last
        lane = self.lend_empty(width)  # where nothing else helps, over what was found; that still lies there
        found.lane.copy_into(lane, common)
        return lane, common

    def lend_empty(self, width: int) -> Lanes:
        """A fresh lane; kept prefixes are given up as far as that is needed, and only where it helps.

        Raises:
            ContextLengthError: there is no room; what is kept stays.
        """
        self._check_room(width)
        while self.arena.longest_run() < width:
            self._give_up(self._entries[0])
        return self.arena.lend(width)

    def grow(self, lane: Lanes, width: int, *, used: int) -> Lanes:
        """A longer lane in place of this one, with its first ``used`` slots; kept prefixes are given up as needed.

        Raises:
            ContextLengthError: there is no room; the lane and what is kept stay.
        """
        longer = self.arena.resize(lane, width)
        if longer is None:
            self._check_room(width, lane)
            lane.free()  # first, so that the two may overlap: nothing is written before it is copied
            longer = self.lend_empty(width)
            lane.copy_into(longer, used)
        return longer

    def keep(self, ids: Sequence[int], slots: Sequence[int], lane: Lanes) -> None:
        """Keeps the part of a lane in which these ids were read, at these slots."""
        if not ids:
            lane.free()
            return
        if list(slots) != list(range(len(slots))):
            lane.copy_into(lane, slots)
        self._entries.append(Entry(tuple(ids), self.arena.resize(lane, len(ids)) or lane))

    def clear(self) -> None:
        """Gives up all that is kept."""
        while self._entries:
            self._give_up(self._entries[0])

    def _longest(self, ids: Sequence[int]) -> tuple[Entry | None, int]:
        lengths = [_common_length(entry.ids, ids) for entry in self._entries]
        longest = max(lengths, default=0)
        return (self._entries[lengths.index(longest)], longest) if longest else (None, 0)

    def _give_up(self, entry: Entry) -> None:
        self._entries.remove(entry)
        entry.lane.free()

    def _check_room(self, width: int, *given_back: Lanes) -> None:
        if self.arena.longest_run([*given_back, *(entry.lane for entry in self._entries)]) < width:
            raise self.arena.no_room(width)


def _common_length(a: Sequence[int], b: Sequence[int]) -> int:
    for place, (one, other) in enumerate(zip(a, b, strict=False)):
        if one != other:
            return place
    return min(len(a), len(b))
