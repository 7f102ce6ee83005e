"""The only training loop. A stage hands it a model, batches and settings; it hands back a trained model.

Each step: batches -> loss -> gradients -> clip -> optimiser -> metrics; at times: validation, sample, checkpoint.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from duologue.data.loader import Batch
from duologue.durable_files import remove_leftovers
from duologue.errors import NumericalError, RunFolderError
from duologue.training.checkpoint import Checkpoint, load_newest_checkpoint, save_checkpoint
from duologue.training.compiled import Compiler
from duologue.training.cost import flops_per_token
from duologue.training.decisions import Decisions, decide_once
from duologue.training.identity import difference
from duologue.training.interruption import Interruption
from duologue.training.metrics import MetricsFile, StepMetrics
from duologue.training.objective import Forward, next_token_loss
from duologue.training.optim import Optimizers
from duologue.training.precision import MasterWeights
from duologue.training.schedule import Schedule
from duologue.training.spike_guard import Verdict
from duologue.training.stage import Hooks, Stage
from duologue.training.state import TrainState
from duologue.transformer.model import Transformer

LOOKS_PER_STAGE = 10
FEWEST_TIMED_STEPS = 3  # before the clock may decide anything
SAVING_S = 1.0  # kept for the plot and the model folder at the end
LOOK_TOKENS = 16_384  # of the validation rows at most, so that looking takes a small part of the time


class Trainer:
    """One stage under way."""

    def __init__(self, stage: Stage, model: Transformer, hooks: Hooks) -> None:
        """Takes the model as it is, or the newest whole checkpoint of the stage where there is one."""
        self.stage, self.config, self.model, self.hooks = stage, stage.config, model, hooks
        self.device = stage.machine.device
        with contextlib.suppress(OSError):  # what stays takes room and does no harm
            remove_leftovers(self._checkpoints)
        saved = self._newest_checkpoint()
        self.state = TrainState(self._first_schedule())
        self.decisions = self._decide(saved)
        self.masters = MasterWeights(model, getattr(torch, self.decisions.dtype))
        self.optimizers = Optimizers(self.masters.named, self.config)
        if saved:
            self._restore(saved)
            hooks.on_note(f"going on from step {self.state.step}")
        self.interruption = Interruption()
        self.compiler = Compiler(
            model,
            is_wanted=self.decisions.is_compiled,
            on_note=hooks.on_note,
            is_stopping=lambda: self.interruption.is_asked,
        )
        self.metrics = MetricsFile(stage.folder / "metrics.jsonl", first_step=self.state.step)
        self._saved_step, self._events = self.state.step if saved else None, list[str]()
        self._resumed_at = time.monotonic()
        self._looked_until_s = self.elapsed_s

    def run(self) -> Transformer:
        """Trains to the end of the schedule; returns the model in float32, the best one where patience asks for it.

        Raises:
            KeyboardInterrupt: stopped by a signal; a checkpoint has been written.
            NumericalError: the loss or the gradient is not finite or far too large, and going back did not help.
        """
        last_save = time.monotonic()
        with self.interruption, self.decisions.in_force():
            while not self.state.schedule.is_over(self.state.step) and not self._has_stalled():
                self._step()
                if self.interruption.is_asked:
                    self.save()
                    raise KeyboardInterrupt
                is_calm = not self.state.guard.skips_in_a_row  # one may still have to go back to before this
                if is_calm and time.monotonic() - last_save >= self.config.save_every_s:
                    self.save()
                    last_save = time.monotonic()
            self.save()
        return self._finished_model()

    def save(self) -> None:
        """Writes a checkpoint of this very step, where there is none of it."""
        if self._saved_step == self.state.step:
            return
        self.metrics.sync()
        decisions = replace(self.decisions, is_compiled=self.compiler.is_compiled)
        fields = self.state.to_dict(elapsed_s=self.elapsed_s)
        fields |= {"decisions": asdict(decisions), "identity": self.stage.identity}
        checkpoint = Checkpoint(self._weights(), self.optimizers.state_tensors(), fields)
        save_checkpoint(self._checkpoints, self.state.step, checkpoint, keep=self.config.keep_checkpoints)
        self._saved_step = self.state.step

    @property
    def elapsed_s(self) -> float:
        """Seconds spent on the stage, those before a resume included."""
        start = self._resumed_at if self.state.spent_s else self.stage.started
        return self.state.spent_s + time.monotonic() - start

    def _step(self) -> None:
        start, state, is_typical = time.monotonic(), self.state, self.compiler.is_proven
        if self.config.minutes:
            self._let_clock_decide()
        first = state.step * self.stage.micro_batches
        batches = [self.stage.train.batch(first + i) for i in range(self.stage.micro_batches)]
        num_labels = sum(batch.num_labels for batch in batches)
        loss = sum(self._backward(batch) for batch in batches) / max(1, num_labels)
        self.masters.scale_gradients(1 / max(1, num_labels))
        norm = self.masters.clip_gradients(self.config.max_gradient_norm)
        verdict, fault = state.guard.judge(loss, float(norm))
        rate = state.schedule.rate(state.step) * state.guard.rate_scale
        if verdict is Verdict.TAKE:
            self.optimizers.step(rate=rate)
            self.masters.publish()
        self.masters.clear_gradients()
        if verdict is Verdict.ROLL_BACK:
            self._roll_back(fault)
            return
        num_places = sum(batch.input_ids.size for batch in batches)
        state.step, state.num_tokens = state.step + 1, state.num_tokens + num_places
        if is_typical:  # a step in which the compiler worked is none
            state.step_seconds.append(time.monotonic() - start)
        if fault:
            self._tell(state.step - 1, f"skipped: {fault}")
        self._report(loss, rate, float(norm), num_places, time.monotonic() - start)

    def _tell(self, step: int, event: str) -> None:
        self._events.append(event)
        self.hooks.on_note(f"{self.stage.name} step {step}: {event}")

    def _roll_back(self, fault: str) -> None:
        """Goes back to the newest checkpoint, with lower rates.

        Raises:
            NumericalError: there is none, or this did not help before.
        """
        failed, step, spent_s = self.state.guard, self.state.step, self.elapsed_s
        saved = None if failed.is_exhausted else self._newest_checkpoint()
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

    def _backward(self, batch: Batch) -> float:
        def loss_and_gradients(forward: Forward) -> float:
            loss = next_token_loss(forward, self.model, batch, self.device)
            loss.total.backward()
            return loss.total.item()

        total = self.compiler.call(loss_and_gradients, on_retry=self.masters.clear_gradients)
        self.masters.collect_gradients()
        return total

    def _report(self, loss: float, rate: float, norm: float, num_places: int, seconds: float) -> None:
        is_look, start = self._is_look(), time.monotonic()
        validation_loss = self._validation_loss() if is_look and self.stage.validation else None
        tokens_per_s = num_places / seconds
        metrics = StepMetrics(
            step=self.state.step - 1, loss=loss, rate=rate, gradient_norm=norm, num_tokens=self.state.num_tokens,
            tokens_per_s=tokens_per_s, share_of_peak=self._share_of_peak(tokens_per_s), elapsed_s=self.elapsed_s,
            validation_loss=validation_loss, event="; ".join(self._events) or None,
        )  # fmt: skip
        self._events.clear()
        self.metrics.append(metrics)
        self.hooks.on_step(metrics, self.seconds_left())
        if is_look:
            self._keep_best(validation_loss)
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
        peak = self.stage.machine.gflops.get(self.decisions.dtype, 0.0)
        length = self.stage.train.plan.sequence_length
        flops = flops_per_token(self.model, sequence_length=length)
        return tokens_per_s * flops / (peak * 1e9) if peak else 0.0

    def _is_look(self) -> bool:
        every = self.config.evaluate_every
        if not every and self.config.minutes:
            share_of_look = self.config.minutes * 60 / LOOKS_PER_STAGE
            before_s, self._looked_until_s = self._looked_until_s, self.elapsed_s
            has_passed = int(self._looked_until_s / share_of_look) > int(before_s / share_of_look)
            return has_passed or self.state.schedule.is_over(self.state.step)
        every = every or max(1, (self.state.schedule.total_steps or 0) // LOOKS_PER_STAGE)
        return self.state.step % every == 0 or self.state.schedule.is_over(self.state.step)

    def _validation_loss(self) -> float | None:
        loader, total, num_labels = self.stage.validation, 0.0, 0
        if loader is None or not loader.plan.num_rows:
            return None
        most_rows = min(loader.plan.num_rows, max(loader.batch_rows, LOOK_TOKENS // loader.plan.sequence_length))
        for start in range(0, most_rows, loader.batch_rows):
            batch = loader.rows(start)
            total += self.compiler.call(partial(self._loss_only, batch))
            num_labels += batch.num_labels
        return total / num_labels

    def _loss_only(self, batch: Batch, forward: Forward) -> float:
        return next_token_loss(forward, self.model, batch, self.device, learns=False).total.item()

    def _keep_best(self, validation_loss: float | None) -> None:
        if not self.config.patience or validation_loss is None:
            return
        if validation_loss < self.state.best_loss:
            self.state.best_loss, self.state.looks_without_gain = validation_loss, 0
            save_checkpoint(self.stage.folder / "best", self.state.step, Checkpoint(self._weights(), {}, {}), keep=1)
        else:
            self.state.looks_without_gain += 1

    def _has_stalled(self) -> bool:
        return 0 < self.config.patience <= self.state.looks_without_gain

    def _finished_model(self) -> Transformer:
        tensors = self._weights()
        if self.config.patience and math.isfinite(self.state.best_loss):
            best, _ = load_newest_checkpoint(self.stage.folder / "best")
            tensors = best.model if best else tensors
        self.compiler.release()
        model = self.model.float()
        model.load_state_dict(model.state_dict() | tensors, strict=True)
        return model.eval()

    def _first_schedule(self) -> Schedule:
        config = self.config
        if config.minutes:
            return Schedule(config.warmup_steps)
        rows_a_step = self.stage.train.batch_rows * self.stage.micro_batches
        epoch_steps = config.epochs * self.stage.train.plan.num_rows / rows_a_step
        steps = config.steps or max(1, math.ceil(epoch_steps))
        return Schedule.of_steps(steps, warmup_steps=config.warmup_steps, cooldown=config.cooldown)

    def _let_clock_decide(self) -> None:
        state, seconds = self.state, self.state.step_seconds
        if len(seconds) < FEWEST_TIMED_STEPS:
            return
        budget_s = self.config.minutes * 60
        share_of_looks = self.state.look_s / max(1.0, self.elapsed_s)  # they will take as much of what is left
        step_s = statistics.median(seconds) * 1.02 / (1 - min(0.5, share_of_looks))
        elapsed_s = self.elapsed_s + SAVING_S
        state.schedule.decide(
            state.step, elapsed_s=elapsed_s, budget_s=budget_s, step_s=step_s, cooldown=self.config.cooldown
        )

    def _decide(self, saved: Checkpoint | None) -> Decisions:
        if saved:
            return Decisions(**saved.state["decisions"])
        total_steps = self.state.schedule.total_steps or 0
        first = Decisions.of(self.config, self.stage.machine, total_steps=total_steps)
        return decide_once(self.stage.folder / "decisions.json", first, self.stage.identity)

    @property
    def _checkpoints(self) -> Path:
        return self.stage.folder / "checkpoints"

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: weight.detach() for name, weight in self.masters.named.items()}

    def _newest_checkpoint(self) -> Checkpoint | None:
        checkpoint, damaged = load_newest_checkpoint(self._checkpoints)
        for line in damaged:
            self.hooks.on_note(line)
        if checkpoint is not None:
            _refuse_other_plan(checkpoint.state["identity"], self.stage)
        return checkpoint

    def _restore(self, checkpoint: Checkpoint) -> None:
        for name, weight in self.masters.named.items():
            weight.data.copy_(checkpoint.model[name])
        self.masters.publish()
        self.optimizers.load_state_tensors(checkpoint.optimizer)
        self.state = TrainState.from_dict(checkpoint.state)


def _refuse_other_plan(saved: dict[str, Any], stage: Stage) -> None:
    if found := difference(saved, stage.identity):
        raise RunFolderError(f"{stage.folder}: holds a run with another {found}; give another --out, or delete that "
                             "folder")  # fmt: skip
