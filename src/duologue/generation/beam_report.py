"""What a step of a beam search did, as events from which its tree can be drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from duologue.generation.beam_nodes import Group, Node
from duologue.generation.beam_search import BeamStep, Finished, PruneReason
from duologue.generation.events import (
    BeamEvent,
    BeamExpandEvent,
    BeamFinishEvent,
    BeamNode,
    BeamPruneEvent,
    FinishReason,
)


def report_step(
    group: Group,
    step: BeamStep,
    parents: Sequence[Node],
    ended: Mapping[Finished, Node],
    *,
    is_end: Mapping[int, bool],
    decode: Callable[[Sequence[int]], str],
) -> Iterator[BeamEvent]:
    """New tokens, then replies that are complete, then beams that were given up.

    Args:
        group: after the step.
        step: what the search did.
        parents: the beams before it.
        ended: the last tokens of replies that entered the list of the best.
        is_end: by the ids of these, whether the reply ended by itself, not by its length.
        decode: tokens to text.
    """
    nodes = [*group.beams, *ended.values()]
    if nodes:
        told = (BeamNode(node.id, node.before.id, node.token_id, decode([node.token_id]), node.logprob, node.score)
                for node in nodes)  # fmt: skip
        yield BeamExpandEvent(group.search.step, tuple(told))
    for done, node in ended.items():
        yield BeamFinishEvent(node.id, done.score, FinishReason.STOP if is_end[node.id] else FinishReason.LENGTH)
    followed, bounded = {node.before.id for node in nodes}, {candidate.row for candidate in step.bounded}
    lost = {row: node.id for row, node in enumerate(parents) if node.parent is not None and node.id not in followed}
    by_rank = tuple(name for row, name in lost.items() if row not in bounded)
    by_bound = tuple(name for row, name in lost.items() if row in bounded)
    if by_rank:
        yield BeamPruneEvent(by_rank, PruneReason.RANK if group.beams else PruneReason.DONE)
    if by_bound:
        yield BeamPruneEvent(by_bound, PruneReason.BOUND)
