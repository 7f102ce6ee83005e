"""The tokens of a beam search: each knows the one before it, and the beams are the last ones.

Shapes: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from torch import Tensor

from duologue.generation.beam_search import BeamSearch, Finished
from duologue.generation.reply import Top
from duologue.generation.stochastic_beams import StochasticBeams


@dataclass
class Node:
    """A token of the tree.

    Attributes:
        slot: where it lies once it was run.
        score: of all tokens up to here, as the search ranks.
        token_ids: all tokens up to here.
        state: of the constraint.
        seen: which tokens stand in the prompt or up to here, [V]; None where nobody asks.
    """

    id: int
    parent: Node | None
    token_id: int
    logprob: float
    score: float
    token_ids: list[int]
    slot: int = -1
    top: Top = ()
    state: Hashable = None
    seen: Tensor | None = None

    @property
    def before(self) -> Node:
        """The token before it; the prompt has none."""
        assert self.parent is not None
        return self.parent

    def path(self) -> list[Node]:
        """The nodes from the first token of the reply to this one."""
        found, node = [], self
        while node.parent is not None:
            found.append(node)
            node = node.parent
        return found[::-1]

    def begins_with(self, token_ids: list[int]) -> bool:
        """Whether these are its first tokens."""
        return [node.token_id for node in self.path()[: len(token_ids)]] == token_ids


@dataclass
class Group:
    """A search with its live beams, the best first, and the last tokens of its finished replies."""

    search: BeamSearch | StochasticBeams
    beams: list[Node]
    finished: dict[Finished, Node]

    def in_order(self) -> list[tuple[Finished, Node]]:
        """The finished replies, the best first."""
        return [(done, self.finished[done]) for done in self.search.finished]

    def contenders(self) -> list[Node]:
        """The nodes of which one leads to this search's best reply, or is its end."""
        rows, is_finished = self.search.contenders()
        ended = [self.finished[self.search.finished[0]]] if is_finished else []
        return ended + [self.beams[row] for row in rows]
