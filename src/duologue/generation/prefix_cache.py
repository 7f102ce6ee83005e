"""PrefixCache: keys and values of finished requests, kept so that a chat's next turn reads only what is new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from duologue.errors import ContextLengthError
from duologue.generation.kv_arena import KVArena, Lanes


@dataclass(frozen=True, slots=True)
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

    def lend(self, ids: Sequence[int], *, width: int) -> tuple[Lanes, int]:
        """A lane of at least this width, and how many of the ids, never the last one, it already holds."""
        found, common = self._longest(ids[:-1])
        if found is None:
            return self.lend_empty(num_lanes=1, width=width), 0
        self._entries.remove(found)
        is_whole = common == len(found.ids)
        if is_whole and found.lane.width >= width:
            return found.lane, common
        return self._copy(found, common, is_superseded=is_whole, width=width)

    def lend_empty(self, *, num_lanes: int, width: int) -> Lanes:
        """Fresh lanes; kept prefixes are given up as far as that is needed."""
        while True:
            try:
                return self.arena.lend(num_lanes=num_lanes, width=width)
            except ContextLengthError:
                if not self._entries:
                    raise
                self._entries.pop(0).lane.free()

    def keep(self, ids: Sequence[int], slots: Sequence[int], lane: Lanes) -> None:
        """Keeps a lane in which these ids were read, at these slots."""
        if not ids:
            lane.free()
            return
        if list(slots) != list(range(len(slots))):
            lane.copy_into(lane, slots)
        self._entries.append(Entry(tuple(ids), lane))

    def clear(self) -> None:
        """Gives up all that is kept."""
        while self._entries:
            self._entries.pop().lane.free()

    def _longest(self, ids: Sequence[int]) -> tuple[Entry | None, int]:
        lengths = [_common_length(entry.ids, ids) for entry in self._entries]
        longest = max(lengths, default=0)
        return (self._entries[lengths.index(longest)], longest) if longest else (None, 0)

    def _copy(self, source: Entry, common: int, *, is_superseded: bool, width: int) -> tuple[Lanes, int]:
        """A new lane with the common tokens; the source goes where the new lane will hold all that it held."""
        try:
            lane = self.lend_empty(num_lanes=1, width=width)
        except ContextLengthError:  # no room for both
            source.lane.free()
            return self.lend_empty(num_lanes=1, width=width), 0
        source.lane.copy_into(lane, common)
        if is_superseded:
            source.lane.free()
        else:
            self._entries.append(source)
        return lane, common


def _common_length(a: Sequence[int], b: Sequence[int]) -> int:
    for place, (one, other) in enumerate(zip(a, b, strict=False)):
        if one != other:
            return place
    return min(len(a), len(b))
