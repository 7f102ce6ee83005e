"""Writer: what writes the replies of a request, one step after the other. Each way of writing is a class of its own.

Shapes: T rows that the writer asked for, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

from torch import Tensor

from duologue.generation.events import Event, GenerationStats
from duologue.generation.reply import Reply, Task
from duologue.generation.rows import Rows
from duologue.generation.token_tree import TokenTree


class Writer(ABC):
    """Chooses tokens from logits, and asks for the rows that give the next logits.

    Attributes:
        task: what is asked for.
        stats: what the request costs.
        replies: the replies so far; in the end those that are returned, the best first.
        tree: the slots of the request's lane, from ``begin`` on.
        has_begun: whether the prompt is read.
        has_taken: whether logits were taken, those after the prompt first.
    """

    tree: TokenTree

    def __init__(self, task: Task, stats: GenerationStats) -> None:
        """Nothing is written yet."""
        self.task, self.stats = task, stats
        self.replies: list[Reply] = []
        self.has_begun = self.has_taken = False

    def begin(self, tree: TokenTree, last_slot: int) -> None:
        """The prompt is read, its last token lies in that slot, of which the writer now has the hold."""
        self.tree, self.has_begun = tree, True
        self.start_at(last_slot)

    @abstractmethod
    def start_at(self, last_slot: int) -> None:
        """Sets up what is kept of each reply."""

    @property
    @abstractmethod
    def is_done(self) -> bool:
        """Whether all replies are complete."""

    @property
    @abstractmethod
    def num_rows(self) -> int:
        """Rows of the next step."""

    @abstractmethod
    def rows(self) -> Rows:
        """The next step: the newest tokens, each to be run through the model; their slots are taken now."""

    @classmethod
    @abstractmethod
    def take(cls, asked: Sequence[tuple[Self, Tensor]]) -> list[list[Event]]:
        """Goes on with the logits [T, V] of each writer's rows; the first logits are those after the prompt, [1, V].

        All have the same config.
        """

    @abstractmethod
    def cancel(self) -> list[Event]:
        """Ends what still grows, as it is."""

    @abstractmethod
    def best_slot(self) -> int:
        """The last slot of what is best kept for the next turn: of the best reply, as far as it was run."""
