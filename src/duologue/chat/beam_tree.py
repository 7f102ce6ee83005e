"""BeamTree: a beam search as its events tell it: what is settled, which beam leads, which replies are complete."""

from __future__ import annotations

from dataclasses import dataclass

from duologue.generation.events import (
    BeamCommitEvent,
    BeamExpandEvent,
    BeamFinishEvent,
    BeamNode,
    BeamPruneEvent,
    Event,
    FinishReason,
)


@dataclass(frozen=True, slots=True)
class CompleteReply:
    """A reply that a search came to, and what it is ranked by."""

    token_ids: list[int]
    score: float
    reason: FinishReason


class BeamTree:
    """Takes the events of one search, in order; those that are not of a search change nothing."""

    def __init__(self, *, length_penalty: float) -> None:
        """Nothing has been told yet; live beams are compared as complete replies are, by their length too."""
        self._length_penalty = length_penalty
        self._nodes: dict[int, BeamNode] = {}
        self._live: set[int] = set()
        self._complete: dict[int, BeamFinishEvent] = {}
        self._settled: BeamCommitEvent | None = None

    def take(self, event: Event) -> None:
        """Learns what an event tells."""
        if isinstance(event, BeamExpandEvent):
            self._nodes |= {node.id: node for node in event.nodes}
            self._live -= {node.parent for node in event.nodes}
            self._live |= {node.id for node in event.nodes}
        elif isinstance(event, BeamFinishEvent):
            self._live.discard(event.id)
            self._complete[event.id] = event
        elif isinstance(event, BeamPruneEvent):
            self._live -= set(event.ids)
        elif isinstance(event, BeamCommitEvent):
            self._settled = event

    def ahead(self) -> list[int]:
        """What the leading beam says beyond the settled tokens; it leads among those that begin with them."""
        settled = self._settled.num_tokens if self._settled else 0
        paths = [path for beam in (*self._live, *self._complete) if self._is_settled_in(path := self._path(beam))]
        leading = max(paths, key=self._score, default=[])
        return [node.token_id for node in leading[settled:]]

    def replies(self) -> list[CompleteReply]:
        """All complete replies, the best first."""
        ranked = sorted(self._complete.values(), key=lambda event: -event.score)
        return [
            CompleteReply([node.token_id for node in self._path(event.id)], event.score, event.reason)
            for event in ranked
        ]

    def _path(self, beam: int) -> list[BeamNode]:
        """The nodes from the first token of the reply to this one."""
        found = []
        while beam in self._nodes:
            found.append(self._nodes[beam])
            beam = found[-1].parent
        return found[::-1]

    def _is_settled_in(self, path: list[BeamNode]) -> bool:
        settled = self._settled
        return settled is None or (len(path) >= settled.num_tokens and path[settled.num_tokens - 1].id == settled.id)

    def _score(self, path: list[BeamNode]) -> float:
        last = path[-1]
        complete = self._complete.get(last.id)
        return complete.score if complete else float(last.score / len(path) ** self._length_penalty)
