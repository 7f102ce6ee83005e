"""Beams: writes the best replies that a beam search finds, and tells what is settled as soon as it is settled.

The beams are leaves of the token tree. A beam that goes on leaves its slots where they are; a beam that is given up
frees those that no other beam shares.

Shapes: N live beams, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor

from duologue.generation.beam_nodes import Group, Node
from duologue.generation.beam_report import report_step
from duologue.generation.beam_search import BeamSearch, BeamStep, Candidate
from duologue.generation.events import BeamCommitEvent, Event, FinishReason, GenerationStats
from duologue.generation.logits import RowContext, process_scores, uses_history, warp_for_sampling
from duologue.generation.reply import Reply, Task, likeliest
from duologue.generation.rows import Rows
from duologue.generation.sampling import noise_of
from duologue.generation.stochastic_beams import StochasticBeams
from duologue.generation.writer import Writer


class Beams(Writer):
    """Standard, diverse or stochastic beam search."""

    def __init__(self, task: Task, stats: GenerationStats) -> None:
        """Nothing is said yet."""
        super().__init__(task, stats)
        self.tells_beams = False
        self._first = Reply(0, task.text_stream())  # told as it is settled
        self._num_ids = 0
        self._lags: list[int] = []
        self._last: list[Node] = []  # beams that nothing was allowed to follow

    def start_at(self, last_slot: int) -> None:
        """Every group begins with one beam at the end of the prompt."""
        constraint, device = self.task.constraint, self.tree.lane.arena.device
        state, seen = constraint.start if constraint else None, self.task.prompt_seen(device)
        root = Node(0, None, -1, 0.0, 0.0, [], slot=last_slot, state=state, seen=seen)
        self._root = self._told = root
        self._mask = self.tree.mask_of(last_slot)
        config = self.task.config
        for number in range(config.num_beam_groups):
            if number:
                self.tree.hold(last_slot)
        self._groups = [Group(self._search(), [root], {}) for _ in range(config.num_beam_groups)]
        self._rows = [0] * config.num_beam_groups  # of the last logits and masks, for each live beam

    @property
    def is_done(self) -> bool:
        """Whether the search is over."""
        return bool(self.replies)

    @property
    def num_rows(self) -> int:
        """One for each live beam."""
        return len(self._live)

    def rows(self) -> Rows:
        """The newest token of each beam, children of what was run before."""
        parents = [node.before.slot for node in self._live]
        rows = self.tree.branch(parents, self._mask[self._rows], [node.token_id for node in self._live])
        for node, slot in zip(self._live, rows.slots, strict=True):
            node.slot = slot
        self._mask, self._rows = rows.mask, list(range(len(self._live)))
        return rows

    @classmethod
    def take(cls, asked: Sequence[tuple[Self, Tensor]]) -> list[list[Event]]:
        """A step of each search."""
        return [list(writer._take(logits_TV)) for writer, logits_TV in asked]

    def cancel(self) -> list[Event]:
        """The best that was found so far, or is on its way; all of it begins with what was told."""
        return [] if self.is_done else list(self._end(FinishReason.CANCELLED))

    def best_slot(self) -> int:
        """Of the best reply, as far as it was run; of the prompt, where the reply came to a dead end."""
        node = self._best
        return node.slot if node.slot >= 0 or node.parent is None else node.parent.slot

    @property
    def _live(self) -> list[Node]:
        return [node for group in self._groups for node in group.beams]

    def _search(self) -> BeamSearch | StochasticBeams:
        config = self.task.config
        if config.is_stochastic:
            return StochasticBeams(width=config.num_beams, max_new_tokens=self.task.max_new_tokens)
        width = config.num_beams // config.num_beam_groups
        num_ends = len(self.task.eos_token_ids)
        return BeamSearch(config, width=width, max_new_tokens=self.task.max_new_tokens, num_ends=num_ends)

    def _take(self, logits_TV: Tensor) -> Iterator[Event]:
        logprobs_NV = logits_TV.log_softmax(dim=-1)[self._rows]
        old_rows, self._rows = self._rows, []
        chosen: list[int] = []  # by the groups before
        first = 0
        for group in self._groups:
            rows = slice(first, first + len(group.beams))
            if group.beams:
                step = self._advance(group, logprobs_NV[rows], chosen)
                self._rows += [old_rows[first + candidate.row] for candidate in step.live]
                chosen += [candidate.token_id for candidate in step.live]
                yield from self._grow(group, step, logprobs_NV[rows])
            first = rows.stop
        yield from self._commit()
        if not self._live:
            yield from self._end(FinishReason.DEAD_END)

    def _advance(self, group: Group, logprobs_NV: Tensor, chosen: list[int]) -> BeamStep:
        config, beams = self.task.config, group.beams
        if config.diversity_penalty and chosen:
            counts_V = torch.bincount(logprobs_NV.new_tensor(chosen, dtype=torch.long), minlength=logprobs_NV.shape[1])
            logprobs_NV = logprobs_NV - config.diversity_penalty * counts_V
        contexts = [self._context(node) for node in beams] if uses_history(config) else []
        scores_NV = process_scores(logprobs_NV, config, contexts)

        def ends(row: int, token_id: int) -> bool:
            return self._ends([*beams[row].token_ids, token_id])

        if isinstance(group.search, BeamSearch):
            return group.search.advance(scores_NV, ends)
        drawn_from_NV = warp_for_sampling(scores_NV, config).log_softmax(dim=-1)
        noise = [noise_of(self.task.chances, node.token_ids, self.task.vocab_size) for node in beams]
        return group.search.advance(drawn_from_NV, ends, torch.stack(noise).to(drawn_from_NV.device))

    def _grow(self, group: Group, step: BeamStep, logprobs_NV: Tensor) -> Iterator[Event]:
        """Puts the new nodes into the tree, and takes those out that lead nowhere."""
        parents = group.beams
        if not step.live and not group.search.finished:
            self._last = self._last or parents
        group.beams = [self._node(parents, candidate, logprobs_NV) for candidate in step.live]
        ended = {done: self._node(parents, done.candidate, logprobs_NV) for done in step.entered}
        left = [group.finished.pop(done) for done in step.left if done in group.finished]
        group.finished |= ended
        for node in left:
            self.tree.release(node.before.slot)
        for node in parents:
            self.tree.release(node.slot)
            node.token_ids, node.seen = [], None  # its children have their own
        self.stats.rows_pruned += len(step.bounded)
        if self.tells_beams:
            is_end = {node.id: self._ends(node.token_ids) for node in ended.values()}
            yield from report_step(group, step, parents, ended, is_end=is_end, decode=self.task.tokenizer.decode)

    def _node(self, parents: Sequence[Node], candidate: Candidate, logprobs_NV: Tensor) -> Node:
        parent, token_id, constraint = parents[candidate.row], candidate.token_id, self.task.constraint
        logprobs_V = logprobs_NV[candidate.row]
        self._num_ids += 1
        node = Node(self._num_ids, parent, token_id, float(logprobs_V[token_id]), candidate.score,
                    [*parent.token_ids, token_id], top=likeliest(logprobs_V, self.task.config.logprobs))  # fmt: skip
        self.tree.hold(parent.slot)
        if constraint is not None and token_id not in self.task.eos_token_ids:
            node.state = constraint.advance(parent.state, token_id)
        if parent.seen is not None:
            node.seen = parent.seen.clone()
            node.seen[token_id] = True
        return node

    def _context(self, node: Node) -> RowContext:
        task = self.task
        ids = [*task.prompt_ids, *node.token_ids]
        return RowContext(ids, len(task.prompt_ids), task.eos_token_ids, node.seen, task.constraint, node.state)

    def _ends(self, token_ids: Sequence[int]) -> bool:
        """Whether a reply ends with the last of these tokens."""
        if token_ids[-1] in self.task.eos_token_ids:
            return True
        stops = self.task.config.stop_strings
        return bool(stops) and any(stop in self.task.tokenizer.decode(token_ids) for stop in stops)

    def _commit(self) -> Iterator[Event]:
        """Tells the tokens on which all that may become the best reply agree."""
        contenders = [node for group in self._groups for node in group.contenders()]
        told = self._first.token_ids
        # None where all came to a dead end; others than were told of where that happened to the first beam of a draw.
        if not contenders or contenders[0].token_ids[: len(told)] != told:
            return
        ids = contenders[0].token_ids
        settled = min(_num_equal(ids, node.token_ids, start=len(told)) for node in contenders)
        for node in contenders[0].path()[len(told) : settled]:
            yield from self._say(node)
        self._lags.append(max(len(node.token_ids) for node in contenders) - settled)

    def _say(self, node: Node) -> Iterator[Event]:
        self._told = node
        yield self._first.add(node.token_id, node.logprob, node.top)
        if self.tells_beams:
            yield BeamCommitEvent(len(self._first.token_ids), node.id)

    def _end(self, reason: FinishReason) -> Iterator[Event]:
        """Ends the search; the reason is that of replies that were not complete."""
        ranked = [(done.score, node) for group in self._groups for done, node in group.in_order()]
        if len(self._groups) > 1:
            ranked.sort(key=lambda entry: -entry[0])
        unfinished = [node for node in (self._live or self._last) if not ranked or reason is FinishReason.CANCELLED]
        ranked += [(node.score, node) for node in sorted(unfinished, key=lambda node: -node.score)]
        # A draw has told of its first beam, which may rank lower, or have come to a dead end.
        place = next((i for i, (_, node) in enumerate(ranked) if node.begins_with(self._first.token_ids)), None)
        if place is None:
            unfinished.append(self._told)
        ranked.insert(0, (self._told.score, self._told) if place is None else ranked.pop(place))
        ranked = ranked[: self.task.config.num_return_sequences]
        held = [*self._live, *(node for group in self._groups for node in group.finished.values())]
        # What led to a dead end has lost its slots, and others may lie there.
        self._best = next((node for node in held if node is ranked[0][1]), self._root)
        for index, (score, node) in enumerate(ranked):
            reply = self._first if index == 0 else Reply(index, self.task.text_stream())
            reply.score = score
            self.replies.append(reply)
            yield from self._finish(reply, node, reason if node in unfinished else None)
        self.stats.commit_lag = sum(self._lags) / max(1, len(self._lags))
        for group in self._groups:
            group.beams = []

    def _finish(self, reply: Reply, node: Node, reason: FinishReason | None) -> Iterator[Event]:
        for step in node.path()[len(reply.token_ids) :]:
            if reply.index == 0:
                yield from self._say(step)
            else:
                reply.add(step.token_id, step.logprob, step.top)
        ends = bool(reply.token_ids) and (reply.token_ids[-1] in self.task.eos_token_ids or reply.text.is_stopped)
        shown = reply.text.text if reply.index else ""
        event = reply.finish(reason or (FinishReason.STOP if ends else FinishReason.LENGTH), self.stats)
        yield replace(event, text=shown + event.text)


def _num_equal(a: Sequence[int], b: Sequence[int], *, start: int) -> int:
    """The place of the first difference from ``start`` on; both are equal before it."""
    most = min(len(a), len(b))
    return next((place for place in range(start, most) if a[place] != b[place]), most)
