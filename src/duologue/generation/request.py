"""Request: one prompt on its way through the engine: waiting, being read, being replied to, done."""

from __future__ import annotations

from collections import deque

from torch import Tensor

from duologue.generation.beams import Beams
from duologue.generation.events import Event, GenerationOutput, GenerationStats
from duologue.generation.kv_arena import Lanes
from duologue.generation.prompt_lookup import LookupReply
from duologue.generation.replies import Replies
from duologue.generation.reply import Reply, Task
from duologue.generation.rows import Rows
from duologue.generation.token_tree import ROOT, TokenTree
from duologue.generation.writer import Writer

RESERVE = 256  # new tokens for which room is taken at the start; a lane grows when they are used up


class Request:
    """A checked prompt, and the writer that replies to it.

    Attributes:
        tree: the slots of its lane; None while it waits.
        swapped: keys and values, while a request had to make room for others.
        events: what happened and was not yet looked at.
        error: why it failed.
        is_awaited: whether somebody waits for its tokens, and what was read stays for the next request; not in a batch.
    """

    def __init__(self, task: Task, *, tells_beams: bool = False, is_awaited: bool = True) -> None:
        """A request that nobody has admitted yet."""
        self.task, self.is_awaited = task, is_awaited
        self.stats = GenerationStats(prompt_tokens=len(task.prompt_ids))
        self.writer = _writer(task, self.stats)
        if isinstance(self.writer, Beams):
            self.writer.tells_beams = tells_beams
        self.tree: TokenTree | None = None
        self.swapped: list[Tensor] | None = None
        self.events: deque[Event] = deque()
        self.error: BaseException | None = None
        self._is_ended, self._num_read, self._num_sure = False, 0, 0

    @property
    def width(self) -> int:
        """Slots that its lane has at first."""
        config = self.task.config
        branches = max(config.num_return_sequences, config.num_beams)
        new = min(branches * min(self.task.max_new_tokens, RESERVE), 8 * RESERVE if config.num_beams == 1 else RESERVE)
        return len(self.task.prompt_ids) + max(new, branches + config.prompt_lookup_num_tokens + 1)

    @property
    def num_branches(self) -> int:
        """Rows of a step, at most."""
        config = self.task.config
        return max(config.num_return_sequences, config.num_beams, 1 + config.prompt_lookup_num_tokens)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self._is_ended or self.error is not None

    @property
    def is_reading(self) -> bool:
        """Whether some of the prompt has still to be read."""
        return self._num_read < len(self.task.prompt_ids)

    @property
    def num_rows(self) -> int:
        """Rows of its next step; of a prompt, what is left of it."""
        return len(self.task.prompt_ids) - self._num_read if self.is_reading else self.writer.num_rows

    def admit(self, lane: Lanes, num_ready: int) -> None:
        """Gives it a lane that holds the first tokens of its prompt."""
        ids = self.task.prompt_ids
        self.tree = TokenTree(lane, ids[:num_ready])
        self.stats.cached_tokens = self._num_read = num_ready
        self._last_slot = num_ready - 1 if num_ready else ROOT
        self._mask = self.tree.mask_of(self._last_slot)

    def rows(self, most: int) -> Rows:
        """The rows of its next step; of a prompt at most so many."""
        assert self.tree is not None
        self._num_sure = self._num_read  # the pass before this one was finished
        if not self.is_reading:
            rows = self.writer.rows()
            self.stats.steps += 1
            self.stats.rows += len(rows)
        else:
            piece = self.task.prompt_ids[self._num_read : self._num_read + most]
            rows = self.tree.chain(self._last_slot, self._mask, piece)
            self._num_read += len(piece)
            self._last_slot, self._mask = rows.slots[-1], rows.mask[-1:]
            if not self.is_reading:
                self.writer.begin(self.tree, self._last_slot)
        self.stats.peak_slots = self.tree.peak
        return rows

    def tell(self, events: list[Event]) -> None:
        """Takes what the writer said."""
        self.writer.has_taken = True
        self.events += events
        self._is_ended = self.writer.is_done
        if self._is_ended:
            self.stats.completion_tokens = sum(len(reply.token_ids) for reply in self.writer.replies)

    def cancel(self) -> None:
        """Ends it as it is."""
        if self.is_over:
            return
        if self.writer.has_begun:
            self.tell(self.writer.cancel())
        self._is_ended = True

    def swap_out(self) -> None:
        """Moves its keys and values out of the arena; the lane can be given to others."""
        assert self.tree is not None
        lane, used = self.tree.lane, len(self.tree.tokens)
        self.swapped = [slab[lane.start : lane.start + used].clone() for slab in lane.arena.slabs]

    def swap_in(self, lane: Lanes) -> None:
        """Takes them into a new lane, the same slots as before."""
        assert self.tree is not None
        assert self.swapped is not None
        for slab, saved in zip(lane.arena.slabs, self.swapped, strict=True):
            slab[lane.start : lane.start + len(saved)] = saved
        self.swapped = None
        self.tree.move(lane)

    def best_path(self) -> tuple[list[int], list[int]]:
        """Ids and slots of what can be used again: the prompt and the best reply, as far as they were run.

        After Ctrl-C in the middle of a pass: the prompt, as far as passes before that one read it.
        """
        if self.tree is None or isinstance(self.error, Exception):
            return [], []
        is_whole = self.error is None
        slots = self.tree.path(self.writer.best_slot() if is_whole and self.writer.has_begun else self._last_slot)
        slots = slots if is_whole else slots[: self._num_sure]
        return [self.tree.tokens[slot] for slot in slots], slots

    def output(self) -> GenerationOutput:
        """The replies, the best first.

        Raises:
            DuologueError: why it failed.
        """
        if self.error is not None:
            raise self.error
        ranked = sorted(self.writer.replies, key=lambda reply: -_rank(reply, self.task))
        return GenerationOutput(
            sequences=[reply.token_ids for reply in ranked],
            sequences_scores=[reply.sum_logprob if reply.score is None else reply.score for reply in ranked],
            sum_logprobs=[reply.sum_logprob for reply in ranked],
            token_logprobs=[reply.token_logprobs for reply in ranked],
            finish_reasons=[reply.finish_reason for reply in ranked if reply.finish_reason is not None],
            texts=[reply.text.text for reply in ranked],
            stats=self.stats,
            top_logprobs=[reply.top_logprobs for reply in ranked] if self.task.config.logprobs else [],
        )


def _writer(task: Task, stats: GenerationStats) -> Writer:
    config = task.config
    if config.num_beams > 1:
        return Beams(task, stats)
    if config.prompt_lookup_num_tokens:
        return LookupReply(task, stats)
    return Replies(task, stats)


def _rank(reply: Reply, task: Task) -> float:
    """Samples come in the order of their probability; beams are in their order already."""
    return reply.sum_logprob if task.config.num_beams == 1 else -reply.index
