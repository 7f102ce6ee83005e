"""The only training loop. A stage hands it a model, batches and settings; it hands back a trained model.

Each step: batches -> loss -> gradients -> clip -> optimiser -> metrics; at times: validation, sample, checkpoint. It
runs alike in one process and in many: what differs lies in World and Spread.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from duologue.durable_files import remove_leftovers
from duologue.errors import ConfigError, NumericalError, RunFolderError
from duologue.training.adversary import Adversary
from duologue.training.checkpoint import Checkpoint, StoredCheckpoint, load_newest_checkpoint, save_checkpoint
from duologue.training.compiled import Compiler
from duologue.training.cost import HEAD_SHARE_OF_PEAK, flops_per_token
from duologue.training.decisions import DecisionFile, Decisions, End
from duologue.training.gradient import StepGradient
from duologue.training.identity import difference
from duologue.training.interruption import Interruption
from duologue.training.looks import Looks
from duologue.training.metrics import MetricsFile, StepMetrics, finite
from duologue.training.optim import Optimizers
from duologue.training.schedule import Schedule
from duologue.training.spike_guard import Verdict
from duologue.training.spread import Way, spread, way_of
from duologue.training.stage import Hooks, Stage
from duologue.training.state import TrainState
from duologue.training.world import World
from duologue.transformer.model import Transformer

FEWEST_TIMED_STEPS = 3  # before the clock may decide anything
SAVING_S = 1.0  # kept for the plot and the model folder at the end
ALONE = World()


class Trainer:
    """One stage under way."""

    def __init__(self, stage: Stage, model: Transformer, hooks: Hooks, world: World = ALONE) -> None:
        """Takes the model as it is, or the newest whole checkpoint of the stage where there is one."""
        self.stage, self.config, self.model, self.hooks, self.world = stage, stage.config, model, hooks, world
        if world.is_first:
            with contextlib.suppress(OSError):  # what stays takes room and does no harm
                remove_leftovers(self._checkpoints)
        saved = self._newest_checkpoint()
        self.state = TrainState(self._first_schedule())
        self.decided = self._decide(saved)
        self.interruption = Interruption()
        self.compiler = Compiler(
            model,
            is_wanted=self.decided.now.is_compiled,
            is_native=self.decided.now.is_native,
            on_note=hooks.on_note,
            is_stopping=lambda: self.interruption.is_asked,
        )
        if saved is None and stage.prepare:
            with self.decided.now.in_force():
                stage.prepare(model, getattr(torch, self.decided.now.dtype))
        dtype, way = getattr(torch, self.decided.now.dtype), way_of(model, world, self.config.parallel)
        is_native, device = self.decided.now.is_native, stage.machine.device
        self.spread = spread(model, world, dtype=dtype, way=way, device=device, is_native=is_native)
        self.masters = self.spread.masters
        self.optimizers = Optimizers(self.masters.named, self.config, is_divided=way is Way.DDP)
        self.adversary = self._adversary(way)
        if saved:
            self._restore(saved)
            hooks.on_note(f"going on from step {self.state.step}")
        self.gradient = StepGradient(
            stage, self.spread, self.compiler, self.decided, world, hooks.on_note, self.adversary
        )
        self.metrics = MetricsFile(
            stage.folder / "metrics.jsonl", first_step=self.state.step, is_writer=world.is_first
        )
        self._saved_step, self._events = self.state.step if saved else None, list[str]()
        self._resumed_at = self._saved_at = time.monotonic()
        # The clock has had its say about steps that a killed run had taken, also where it left things as they were.
        self._steps_judged = world.first(self.metrics.steps_seen) if self.decided.is_kept else 0
        self.looks = Looks(
            stage, self.spread, self.compiler, self.decided, world, elapsed_s=self.elapsed_s, judged=self._steps_judged
        )

    def run(self) -> Transformer:
        """Trains to the end of the schedule; returns the model in float32, the best one where patience asks for it.

        Raises:
            KeyboardInterrupt: stopped by a signal; a checkpoint has been written.
            NumericalError: the loss or the gradient is not finite or far too large, and going back did not help.
            OutOfMemoryError: there is no room for a single row.
            ProcessLostError: another process of the run is gone.
        """
        self._saved_at = time.monotonic()
        with self.interruption, self.decided.now.in_force(), self.world.listening(self._where):
            while not self.state.schedule.is_over(self.state.step) and not self._has_stalled():
                self._step()
                self._save_if_due()
            self.save()
            self._seal()
            return self._finished_model()

    def _where(self) -> str:
        return f"{self.stage.name} step {self.state.step}"

    def save(self) -> None:
        """Writes a checkpoint of this very step, where there is none of it."""
        if self._saved_step == self.state.step:
            return
        self.metrics.sync()
        if self.compiler.is_compiled != self.decided.now.is_compiled:
            self.decided.change(is_compiled=self.compiler.is_compiled)
        fields = self.state.to_dict(elapsed_s=self.elapsed_s)
        fields |= {"decisions": asdict(self.decided.now), "identity": self.stage.identity}
        fields |= {"adversary": self.adversary.to_dict()} if self.adversary else {}
        checkpoint = Checkpoint(self._weights(), self.optimizers.state_tensors(), fields)
        keep, is_anchor = self.config.keep_checkpoints, self.config.is_anchor
        save_checkpoint(
            self._checkpoints, self.state.step, checkpoint, keep=keep, is_anchor=is_anchor, world=self.world
        )
        self._saved_step, self._saved_at = self.state.step, time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds spent on the stage, those before a resume included."""
        start = self._resumed_at if self.state.spent_s else self.stage.started
        return self.state.spent_s + time.monotonic() - start

    def _step(self) -> None:
        start, state, is_typical = time.monotonic(), self.state, self.compiler.is_proven
        if self.config.minutes:
            self._let_clock_decide()
        is_settling = state.schedule.is_settling(state.step)
        if self.adversary:
            self._teach(self.adversary, is_settling=is_settling)
        loss, norm = self.gradient.work_out(state.step, is_settling=is_settling)
        verdict, fault = state.guard.judge(loss, norm)
        rate = state.schedule.rate(state.step) * state.guard.rate_scale
        if verdict is Verdict.TAKE:
            self.optimizers.step(rate=rate)
            self.masters.publish()
        self.masters.clear_gradients()
        if verdict is Verdict.ROLL_BACK:
            self._roll_back(fault)
            return
        num_places = self.config.rows_a_step * self.stage.train.plan.sequence_length
        state.step, state.num_tokens = state.step + 1, state.num_tokens + num_places
        if is_typical:  # a step in which the compiler worked is none
            state.step_seconds.append(time.monotonic() - start)
        if fault:
            self._tell(state.step - 1, f"skipped: {fault}")
        self._report(loss, rate, norm, num_places, time.monotonic() - start)

    def _adversary(self, way: Way) -> Adversary | None:
        if self.stage.harder is None:
            return None
        folder = self.stage.folder / "repairs"
        adversary = Adversary(self.stage.harder, self.stage.train, folder, vocab_size=self.model.vocab_size)
        if way is Way.FSDP and adversary.config.repair_share:
            expected = f"0, or {self.stage.name}.parallel = 'ddp': who is asked has to have the whole model"
            raise ConfigError(f"adversarial.repair_share: is {adversary.config.repair_share}; expected {expected}")
        return adversary

    def _teach(self, adversary: Adversary, *, is_settling: bool) -> None:
        """Shows an adversary some rows; all processes the same, and what the first one learns holds for all."""
        if adversary.is_mining_due(self.state.step, self.state.schedule.cooldown_start):
            self._mine(adversary)
        if is_settling:
            return
        num_rows = min(self.decided.now.rows_at_once, self.config.rows_a_step)
        first = self.state.step * self.config.rows_a_step
        numbers = range(first, first + num_rows)
        if adversary.learn(self.state.step, numbers, num_rows=num_rows, loss=self.gradient.loss_by_place):
            adversary.restore(self.world.first(adversary.to_dict()))

    def _mine(self, adversary: Adversary) -> None:
        if self.world.is_first:
            with torch.compiler.set_stance("force_eager"):
                total_steps = self.state.schedule.total_steps
                num_rows = adversary.mine(self.model.eval(), self.state.step, total_steps=total_steps)
            self.model.train()
            self._tell(self.state.step, f"asked for its errors: {num_rows} dialogues with repairs")
        self.world.wait()
        adversary.has_mined(self.state.step)

    def _save_if_due(self) -> None:
        """Saves after a signal, and stops; at steps to go back to; and when the last time was long ago."""
        is_late = self.world.is_first and time.monotonic() - self._saved_at >= self.config.save_every_s
        num_asked, num_late = self.world.sum([self.interruption.is_asked, is_late])
        if num_asked or num_late or self.config.is_anchor(self.state.step):
            self.save()
        if num_asked:
            raise KeyboardInterrupt

    def _tell(self, step: int, event: str) -> None:
        self._events.append(event)
        self.hooks.on_note(f"{self.stage.name} step {step}: {event}")

    def _roll_back(self, fault: str) -> None:
        """Goes back to an anchor, with lower rates; which one that is does not depend on when the run was saved.

        Raises:
            NumericalError: there is none, or this did not help before.
        """
        failed, step, spent_s = self.state.guard, self.state.step, self.elapsed_s
        is_anchor = partial(self.config.is_anchor, before=step)
        saved = None if failed.is_exhausted else self._newest_checkpoint(is_anchor)
        if saved is None:
            tried = f"{failed.skips_in_a_row} steps in a row, and the run has gone back {failed.rollbacks} times"
            remedy = f"the weights are untouched; lower {self.stage.name}.learning_rate and give another --out"
            raise NumericalError(f"{self.stage.name} step {step}: {fault}; so it was {tried}; {remedy}")
        self._restore(saved)
        self.state.guard.rolled_back(failed)
        self.state.spent_s, self._resumed_at = spent_s, time.monotonic()
        self.metrics.rewind(self.state.step)
        self._saved_step = None  # the checkpoint of this step does not know the lower rate
        rates = f"learning rates times {self.state.guard.rate_scale:g}"
        self._tell(self.state.step, f"went back to here from step {step}, where {fault}; {rates}")

    def _report(self, loss: float, rate: float, norm: float, num_places: int, seconds: float) -> None:
        start, elapsed_s = time.monotonic(), self._agreed_s()
        is_look = self.looks.is_due(self.state, elapsed_s=elapsed_s)
        validation_loss = self.looks.validation_loss() if is_look else None
        tokens_per_s = num_places / seconds
        metrics = StepMetrics(
            step=self.state.step - 1, loss=finite(loss), rate=rate, gradient_norm=finite(norm),
            num_tokens=self.state.num_tokens, tokens_per_s=tokens_per_s,
            share_of_peak=self._share_of_peak(tokens_per_s), elapsed_s=elapsed_s, validation_loss=validation_loss,
            event="; ".join(self._events) or None,
        )  # fmt: skip
        self._events.clear()
        self.metrics.append(metrics)
        self.hooks.on_step(metrics, self.seconds_left())
        if is_look:
            self._keep_best(validation_loss)
            if self.adversary and (told := self.adversary.heed(self.state.step - 1, validation_loss)):
                self._tell(self.state.step - 1, told)
            if self.spread.way is not Way.FSDP:  # whoever looks would have to have the whole model
                with torch.compiler.set_stance("force_eager"):  # texts of any length are not worth compiling for
                    self.hooks.on_look(self.model, metrics)
            self.state.look_s += time.monotonic() - start

    def seconds_left(self) -> float | None:
        """How long the stage will still take; None before anything is known."""
        if self.config.minutes:
            return max(0.0, self.config.minutes * 60 - self.elapsed_s)
        if self.state.schedule.total_steps is None or not self.state.step_seconds:
            return None
        return (self.state.schedule.total_steps - self.state.step) * statistics.median(self.state.step_seconds)

    def _share_of_peak(self, tokens_per_s: float) -> float:
        num_outputs = None if self.state.schedule.is_settling(self.state.step - 1) else self.gradient.num_outputs
        return tokens_per_s * self._flops(num_outputs) / self._peak if self._peak else 0.0

    def _slower_s(self) -> float:
        """What the steps ahead take longer than those so far, on average: the last ones see the whole vocabulary."""
        schedule, step = self.state.schedule, self.state.step
        if not self._peak or schedule.is_settling(step):
            return 0.0
        more = self._flops(None) - self._flops(self.gradient.num_outputs)
        return schedule.settling_share(step) * self.config.batch_tokens * more / (HEAD_SHARE_OF_PEAK * self._peak)

    def _flops(self, num_outputs: int | None) -> float:
        length = self.stage.train.plan.sequence_length
        return flops_per_token(self.model, sequence_length=length, num_outputs=num_outputs)

    @property
    def _peak(self) -> float:
        """Operations a second of a large matrix product, in all processes; 0 where nobody knows."""
        return self.stage.machine.gflops.get(self.decided.now.dtype, 0.0) * self.world.size * 1e9

    def _keep_best(self, validation_loss: float | None) -> None:
        if not self.config.patience or validation_loss is None:
            return
        if validation_loss < self.state.best_loss:
            self.state.best_loss, self.state.looks_without_gain = validation_loss, 0
            best = Checkpoint(self._weights(), {}, {})
            save_checkpoint(self.stage.folder / "best", self.state.step, best, keep=1, world=self.world)
        else:
            self.state.looks_without_gain += 1

    def _has_stalled(self) -> bool:
        return 0 < self.config.patience <= self.state.looks_without_gain

    def _finished_model(self) -> Transformer:
        if self.config.patience and math.isfinite(self.state.best_loss):
            best, _ = load_newest_checkpoint(self.stage.folder / "best", world=self.world)
            if best:
                best.stored.copy_into(self._weights())
        self.compiler.release()
        return self.spread.whole_model(self.world).eval()

    def _first_schedule(self) -> Schedule:
        config = self.config
        if config.minutes:
            return Schedule(config.warmup_steps)
        epoch_steps = config.epochs * self.stage.train.plan.num_rows / self.config.rows_a_step
        steps = config.steps or max(1, math.ceil(epoch_steps))
        return Schedule.of_steps(steps, warmup_steps=config.warmup_steps, cooldown=config.cooldown)

    def _let_clock_decide(self) -> None:
        state, known = self.state, self.decided.now
        if end := known.end_at(state.step):
            state.schedule.cooldown_start, state.schedule.total_steps = end.cooldown_start, end.total_steps
        if end or known.is_end_known(state.step) or state.step < self._steps_judged:
            return
        end = self._end_by_clock()
        if end:
            self.decided.change(ends=(*known.ends, end))

    def _end_by_clock(self) -> End | None:
        """Where the end of the stage comes to lie by what the clock says now; None where it does not move."""
        state, seconds = self.state, self.state.step_seconds
        elapsed_s, step_s, num_timed = self.world.first(
            [self.elapsed_s, statistics.median(seconds) if seconds else 0.0, len(seconds)]
        )
        if num_timed < FEWEST_TIMED_STEPS:
            return None
        share_of_looks = self.world.first(state.look_s) / max(1.0, elapsed_s)  # they will take as much of what is left
        before = (state.schedule.cooldown_start, state.schedule.total_steps)
        state.schedule.decide(
            state.step,
            elapsed_s=elapsed_s + SAVING_S,
            budget_s=self.config.minutes * 60,
            step_s=(step_s + self._slower_s()) * 1.02 / (1 - min(0.5, share_of_looks)),
            cooldown=self.config.cooldown,
        )
        start, total = state.schedule.cooldown_start, state.schedule.total_steps
        if start is None or total is None or (start, total) == before:
            return None
        return End(state.step, start, total)

    def _agreed_s(self) -> float:
        """The time spent, as the first process has it, where something follows from it."""
        return self.world.first(self.elapsed_s) if self.config.minutes else self.elapsed_s

    def _seal(self) -> None:
        """With the end itself among the decisions, nothing is left to a clock for whoever has this file."""
        step, schedule = self.state.step, self.state.schedule
        if self.config.minutes and schedule.cooldown_start is not None and not self.decided.now.end_at(step):
            self.decided.change(ends=(*self.decided.now.ends, End(step, schedule.cooldown_start, step)))

    def _decide(self, saved: Checkpoint | None) -> DecisionFile:
        total_steps = self.state.schedule.total_steps or 0
        shape = {"total_steps": total_steps, "head_dim": self.model.config.head_dim}
        first = Decisions.of(self.config, self.stage.machine, self.world, **shape)
        path, identity = self.stage.folder / "decisions.json", self.stage.identity
        before = saved.state["decisions"] if saved else None
        return DecisionFile.open(path, identity, self.world, first=first, saved=before)

    @property
    def _checkpoints(self) -> Path:
        return self.stage.folder / "checkpoints"

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: weight.detach() for name, weight in self.masters.named.items()}

    def _newest_checkpoint(self, is_wanted: Callable[[int], bool] = lambda step: True) -> StoredCheckpoint | None:
        checkpoint, damaged = load_newest_checkpoint(self._checkpoints, is_wanted=is_wanted, world=self.world)
        for line in damaged:
            self.hooks.on_note(line)
        if checkpoint is not None:
            _refuse_other_plan(checkpoint.state["identity"], self.stage)
        return checkpoint

    def _restore(self, checkpoint: StoredCheckpoint) -> None:
        room = self.optimizers.room_for(checkpoint.stored.shapes_of(checkpoint.optimizer))
        checkpoint.stored.copy_into(self._weights() | room)
        self.masters.publish()
        self.state = TrainState.from_dict(checkpoint.state)
        if self.adversary:
            self.adversary.restore(checkpoint.state["adversary"])


def _refuse_other_plan(saved: dict[str, Any], stage: Stage) -> None:
    if found := difference(saved, stage.identity):
        raise RunFolderError(f"{stage.folder}: holds a run with another {found}; give another --out, or delete that "
                             "folder")  # fmt: skip
