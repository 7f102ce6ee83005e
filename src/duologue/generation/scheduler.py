"""Scheduler: requests of all kinds share the steps. Every step is one pass through the model.

A step takes the rows of all requests that are being replied to, and a piece of the oldest prompt that is being read, so
that long prompts do not hold replies up. Requests are admitted as there is room; when a lane can grow no more, the
youngest request is moved out of the arena and goes on later, from the same bits.

Shapes: N rows, M model width, V vocabulary.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from duologue.errors import ContextLengthError, NumericalError
from duologue.generation.prefix_cache import PrefixCache
from duologue.generation.request import RESERVE, Request
from duologue.generation.rows import MAX_ROWS, Rows
from duologue.generation.scoring import Scorer
from duologue.generation.token_tree import TokenTree

MAX_REPLYING = 64  # rows of replies in a step
PIECE_BESIDE = 64  # rows of a prompt in a step that others wait for
REFILL_AT = 1 / 8  # share of the rows that have to be free before a batch is filled up again, several prompts at once
ROUND_TO = 256  # lanes are rounded up to this, so that neighbours are alike and attention runs on them at once


class Scheduler:
    """Runs requests, many at once."""

    def __init__(
        self, scorer: Scorer, prefixes: PrefixCache, *, max_rows: int = MAX_ROWS
    ) -> None:
        """Nothing runs yet.

        Args:
            scorer: the model that all requests are run through.
            prefixes: lends the lanes, and keeps what was read.
            max_rows: of a prompt in one pass.
        """
        self._prefixes, self._max_rows = prefixes, max_rows
        self.scorer = scorer
        self._waiting: deque[Request] = deque()
        self._running: list[Request] = []

    @property
    def num_waiting(self) -> int:
        """Requests that have no lane."""
        return len(self._waiting)

    @property
    def num_running(self) -> int:
        """Requests that have one."""
        return len(self._running)

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do."""
        return not (self._waiting or self._running)

    def submit(self, request: Request) -> None:
        """Puts a request at the end of the queue."""
        self._waiting.append(request)

    def cancel(self, request: Request) -> None:
        """Ends a request as it is; what was read of it is kept."""
        request.cancel()
        if request in self._waiting:
            self._waiting.remove(request)
        self._drop_ended()

    @torch.inference_mode()
    def step(self) -> None:
        """One pass; what happened stands in the requests' events, and an error in the request that it hit."""
        start = time.perf_counter()
        self._admit()
        try:
            stepping = self._rows_of_step()
            is_reading = [not request.writer.has_taken for request, _ in stepping]
            if stepping:
                self._pass(stepping)
        except BaseException as error:  # Ctrl-C too: nobody knows how far the pass came
            for request in self._running:
                request.error = error
            self._drop_ended()
            raise
        spent_ms = (time.perf_counter() - start) * 1e3
        for (request, _), reads in zip(stepping, is_reading, strict=True):
            request.stats.ms_prefill += spent_ms * reads
            request.stats.ms_decode += spent_ms * (not reads)
        self._drop_ended()

    def fail_all(self, error: Exception) -> None:
        """Ends all requests with an error that is not any one's own."""
        for request in (*self._waiting, *self._running):
            request.error = error
        self._waiting.clear()
        self._drop_ended()

    def _admit(self) -> None:
        num_rows = sum(request.num_branches for request in self._running)
        if self._is_batch() and num_rows > MAX_REPLYING * (1 - REFILL_AT):
            return
        while self._waiting:
            request = self._waiting[0]
            if self._running and num_rows + request.num_branches > MAX_REPLYING:
                return
            try:
                self._lend(request)
            except ContextLengthError as error:
                if self._running:
                    return  # it waits until one of them is done
                request.error = error
                self._waiting.popleft()
                continue
            num_rows += request.num_branches
            self._running.append(self._waiting.popleft())

    def _lend(self, request: Request) -> None:
        if request.swapped is not None:
            assert request.tree is not None
            width = _rounded(len(request.tree.tokens) + request.num_rows)
            request.swap_in(self._prefixes.lend_empty(min(width, self._prefixes.num_slots)))
            return
        width = min(_rounded(request.width), max(request.width, self._prefixes.num_slots))
        lane, num_ready = self._prefixes.lend(request.task.prompt_ids, width=width)
        request.admit(lane, num_ready)

    def _rows_of_step(self) -> list[tuple[Request, Rows]]:
        plan = self._plan()
        for request, count in plan:
            self._make_room(request, count)  # may move another one of them out
        return [(request, request.rows(count)) for request, count in plan if request in self._running]

    def _plan(self) -> list[tuple[Request, int]]:
        """Who takes part in this step, and with how many rows; neighbours in the arena stand side by side."""
        replying = [request for request in self._running if not request.is_reading]
        plan = [(request, request.num_rows) for request in sorted(replying, key=_place)]
        is_awaited = replying and not self._is_batch()
        budget = min(PIECE_BESIDE, self._max_rows) if is_awaited else self._max_rows
        for request in self._running:
            if request.is_reading and budget:
                count = min(budget, request.num_rows)
                plan.append((request, count))
                budget -= count
        return plan

    def _is_batch(self) -> bool:
        """Whether nobody waits for a single token, so that only the sum of all work counts."""
        return not any(request.is_awaited for request in (*self._running, *self._waiting))

    def _make_room(self, request: Request, count: int) -> None:
        """Lets the request's lane grow where it is full; where there is no room, the youngest of all has to go."""
        while request in self._running and request.tree is not None and not request.tree.has_room_for(count):
            try:
                self._grow(request.tree, count)
            except ContextLengthError as error:
                others = [other for other in self._running if other is not request]
                if not others:
                    request.error = error
                    self._drop_ended()
                    return
                self._move_out(self._running[-1])

    def _grow(self, tree: TokenTree, count: int) -> None:
        used = len(tree.tokens)
        width = min(_rounded(used + max(count, RESERVE)), max(used + count, self._prefixes.num_slots))
        tree.move(self._prefixes.grow(tree.lane, width, used=used))

    def _move_out(self, request: Request) -> None:
        assert request.tree is not None
        request.swap_out()
        request.tree.lane.free()
        self._running.remove(request)
        self._waiting.appendleft(request)

    def _pass(self, stepping: Sequence[tuple[Request, Rows]]) -> None:
        """Runs the rows, and lets each writer go on with the logits that it asked for."""
        hidden_NM = self.scorer.run([rows for _, rows in stepping])
        counts = [len(rows) for _, rows in stepping]
        asked = []
        for (request, _), part in zip(stepping, hidden_NM.split(counts), strict=True):
            if not request.is_reading:
                asked.append((request, part if request.writer.has_taken else part[-1:]))
        if not asked:
            return
        logits_NV = self.scorer.logits(torch.cat([part for _, part in asked])).float()
        logits = logits_NV.split([len(part) for _, part in asked])
        told = [(request, part) for (request, _), part in zip(asked, logits, strict=True)]
        self._tell(told if bool(logits_NV.sum().isfinite()) else _without_broken(told))

    def _tell(self, asked: Sequence[tuple[Request, Tensor]]) -> None:
        for alike in _by_config(asked):
            kind = type(alike[0][0].writer)
            try:
                events = kind.take([(request.writer, part) for request, part in alike])
            except Exception as error:  # of what this config asks for: the others have nothing to do with it
                for request, _ in alike:
                    request.error = error
                continue
            for (request, _), told in zip(alike, events, strict=True):
                request.tell(told)

    def _drop_ended(self) -> None:
        for request in [request for request in self._running if request.is_over]:
            self._running.remove(request)
            assert request.tree is not None
            ids, slots = request.best_path() if request.is_awaited else ([], [])
            self._prefixes.keep(ids, slots, request.tree.lane)


def _without_broken(asked: Sequence[tuple[Request, Tensor]]) -> list[tuple[Request, Tensor]]:
    """Those with finite logits; the others end with an error."""
    for request, part in asked:
        if not bool(part.isfinite().all()):
            place = f"step {request.stats.steps} after a prompt of {len(request.task.prompt_ids)} tokens"
            request.error = NumericalError(f"{place}: the logits are not finite; the model's weights are damaged or "
                                           "overflow")  # fmt: skip
    return [(request, part) for request, part in asked if request.error is None]


def _by_config(asked: Sequence[tuple[Request, Tensor]]) -> list[list[tuple[Request, Tensor]]]:
    """Those with the same config, which have their tokens chosen together."""
    found: dict[int, list[tuple[Request, Tensor]]] = {}
    for request, part in asked:
        found.setdefault(id(request.task.config), []).append((request, part))
    return list(found.values())


def _place(request: Request) -> int:
    return request.tree.lane.start if request.tree is not None else 0


def _rounded(width: int) -> int:
    return -(-width // ROUND_TO) * ROUND_TO
