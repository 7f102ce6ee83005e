"""Looks at the validation rows now and then: when, how good, and whether it still gets better."""

from __future__ import annotations

from functools import partial

import torch

from duologue.data.loader import Batch
from duologue.training.compiled import Compiler
from duologue.training.decisions import DecisionFile
from duologue.training.objective import Forward, tensors_of
from duologue.training.sharing import micro_batches, rows_of_piece
from duologue.training.spread import Spread, Way
from duologue.training.stage import Stage
from duologue.training.state import TrainState
from duologue.training.world import World

LOOKS_PER_STAGE = 10
LOOK_TOKENS = 16_384  # of the validation rows at most, so that looking takes a small part of the time


class Looks:
    """When a stage looks at its validation rows, and what it sees."""

    def __init__(
        self,
        stage: Stage,
        spread: Spread,
        compiler: Compiler,
        decided: DecisionFile,
        world: World,
        *,
        elapsed_s: float,
        judged: int,
    ) -> None:
        """Counts the stage's time from ``elapsed_s`` on; of the first ``judged`` steps the clock has no more to say."""
        self._judged = judged
        self.last_loss: float | None = None
        self._stage, self._spread, self._compiler = stage, spread, compiler
        self._decided, self._world, self._looked_until_s = decided, world, elapsed_s

    def is_due(self, state: TrainState, *, elapsed_s: float) -> bool:
        """Whether there is a look after the step that ``state`` has just taken."""
        every, is_over = self._stage.config.evaluate_every, state.schedule.is_over(state.step)
        if not every and self._stage.config.minutes:
            return self._is_due_by_clock(state.step, elapsed_s) or is_over
        every = every or max(1, (state.schedule.total_steps or 0) // LOOKS_PER_STAGE)
        return state.step % every == 0 or is_over

    def validation_loss(self) -> float | None:
        """Nats a label over the first of the validation rows; None where there are none."""
        loader = self._stage.validation
        if loader is None or not loader.plan.num_rows:
            return None
        world, length = self._world, loader.plan.sequence_length - loader.plan.reserve
        # In the shape of a training step, so that nothing is compiled once more.
        at_once = rows_of_piece(self._stage.config.rows_a_step, world.size, self._decided.now.rows_at_once)
        num_rows = min(loader.plan.num_rows, max(at_once, LOOK_TOKENS // length))
        total, num_labels = 0.0, 0.0
        for rows in micro_batches(num_rows, rank=world.rank, world_size=world.size, rows_at_once=at_once):
            batch = loader.rows(rows, num_rows=at_once)
            total += self._compiler.call(partial(self._loss_only, batch))
            num_labels += batch.num_labels
        total, num_labels = world.sum([total, num_labels])
        self.last_loss = total / max(1.0, num_labels)
        return self.last_loss

    def _loss_only(self, batch: Batch, forward: Forward) -> float:
        tensors = tensors_of(batch, self._stage.machine.device)
        # What is compiled for gradients would be compiled once more without; parts have to be put away again.
        with torch.set_grad_enabled(self._compiler.is_compiled and self._spread.way is not Way.FSDP):
            return self._spread.loss_only(forward, *tensors, learns=False).item()

    def _is_due_by_clock(self, step: int, elapsed_s: float) -> bool:
        share_s = self._stage.config.minutes * 60 / LOOKS_PER_STAGE
        before_s, self._looked_until_s = self._looked_until_s, elapsed_s
        if step <= self._judged or self._decided.now.is_look_known(step):
            return step in self._decided.now.looks
        has_passed = int(elapsed_s / share_s) > int(before_s / share_s)
        if has_passed:
            self._decided.change(looks=(*self._decided.now.looks, step))
        return has_passed
