"""The only training loop. A stage hands it a model, batches and settings; it hands back a trained model.

Each step: batches -> loss -> gradients -> clip -> optimiser -> metrics; at times: validation, sample, checkpoint.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from duologue.data.loader import Batch, Loader
from duologue.errors import NumericalError, RunFolderError
from duologue.runtime import DtypeName, Machine
from duologue.training.checkpoint import Checkpoint, load_newest_checkpoint, save_checkpoint
from duologue.training.compiled import Compiler
from duologue.training.config import StageConfig
from duologue.training.cost import flops_per_token
from duologue.training.interruption import Interruption
from duologue.training.metrics import MetricsFile, StepMetrics
from duologue.training.objective import Forward, next_token_loss
from duologue.training.optim import Optimizers, is_finite
from duologue.training.precision import MasterWeights
from duologue.training.schedule import Schedule
from duologue.transformer.model import Transformer

LOOKS_PER_STAGE = 10
FEWEST_TIMED_STEPS = 3  # before the clock may decide anything
SAVING_S = 1.0  # kept for the plot and the model folder at the end
LOOK_TOKENS = 16_384  # of the validation rows at most, so that looking takes a small part of the time


@dataclass(frozen=True)
class Stage:
    """What is to be trained, on what, and where it is kept.

    Attributes:
        started: time.monotonic() when the stage began, from which ``minutes`` count.
        identity: what must be the same for a checkpoint to be continued.
    """

    name: str
    config: StageConfig
    train: Loader
    validation: Loader | None
    folder: Path
    machine: Machine
    started: float
    identity: dict[str, Any]

    @property
    def micro_batches(self) -> int:
        """Batches of the loader in one optimiser step."""
        return max(1, self.config.batch_tokens // (self.train.batch_rows * self.train.plan.sequence_length))


@dataclass
class Hooks:
    """What a stage tells while it trains; each is called on the training thread."""

    on_step: Callable[[StepMetrics, float | None], None] = lambda metrics, seconds_left: None
    on_look: Callable[[Transformer, StepMetrics], None] = lambda model, metrics: None
    on_note: Callable[[str], None] = lambda note: None


@dataclass
class TrainState:
    """Everything that changes while a stage trains, but for weights and optimiser."""

    schedule: Schedule
    step: int = 0
    num_tokens: int = 0
    spent_s: float = 0.0
    best_loss: float = math.inf
    looks_without_gain: int = 0
    step_seconds: deque[float] = field(default_factory=lambda: deque(maxlen=30))


class Trainer:
    """One stage under way."""

    def __init__(self, stage: Stage, model: Transformer, hooks: Hooks) -> None:
        """Takes the model as it is, or the newest whole checkpoint of the stage where there is one."""
        self.stage, self.config, self.model, self.hooks = stage, stage.config, model, hooks
        self.device = stage.machine.device
        saved = self._newest_checkpoint()
        self.dtype_name: DtypeName = saved.state["dtype"] if saved else self._choose_dtype()
        self.masters = MasterWeights(model, getattr(torch, self.dtype_name))
        self.optimizers = Optimizers(self.masters.named, self.config)
        self.state = TrainState(self._first_schedule())
        if saved:
            self._restore(saved)
        total_steps = self.state.schedule.total_steps or 0
        is_wanted = saved.state["compiled"] if saved else self.config.is_worth_compiling(total_steps)
        self.interruption = Interruption()
        self.compiler = Compiler(
            model, is_wanted=is_wanted, on_note=hooks.on_note, is_stopping=lambda: self.interruption.is_asked
        )
        self.metrics = MetricsFile(stage.folder / "metrics.jsonl", first_step=self.state.step)
        self._resumed_at, self._look_s = time.monotonic(), saved.state["look_s"] if saved else 0.0
        self._looked_until_s = self.elapsed_s

    def run(self) -> Transformer:
        """Trains to the end of the schedule; returns the model in float32, the best one where patience asks for it.

        Raises:
            KeyboardInterrupt: stopped by a signal; a checkpoint has been written.
            NumericalError: the loss or the gradient is not finite; the weights are those of the step before.
        """
        last_save = time.monotonic()
        with self.interruption:
            while not self.state.schedule.is_over(self.state.step) and not self._has_stalled():
                self._step()
                if self.interruption.is_asked:
                    self.save()
                    raise KeyboardInterrupt
                if time.monotonic() - last_save >= self.config.save_every_s:
                    self.save()
                    last_save = time.monotonic()
            self.save()
        return self._finished_model()

    def save(self) -> None:
        """Writes a checkpoint of this very step."""
        state = self.state
        fields = {
            "step": state.step,
            "num_tokens": state.num_tokens,
            "spent_s": self.elapsed_s,
            "look_s": self._look_s,
            "best_loss": state.best_loss if math.isfinite(state.best_loss) else None,
            "looks_without_gain": state.looks_without_gain,
            "schedule": state.schedule.to_dict(),
            "dtype": self.dtype_name,
            "compiled": self.compiler.is_compiled,
            "identity": self.stage.identity,
        }
        tensors = {name: weight.detach() for name, weight in self.masters.named.items()}
        checkpoint = Checkpoint(tensors, self.optimizers.state_tensors(), fields)
        folder = self.stage.folder / "checkpoints"
        save_checkpoint(folder, state.step, checkpoint, keep=self.config.keep_checkpoints)

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
        if not math.isfinite(loss) or not is_finite(norm):
            found = f"{self.stage.name} step {state.step}: loss is {loss}, gradient {float(norm)}"
            remedy = f"lower {self.stage.name}.learning_rate and give another --out"
            raise NumericalError(f"{found}; the weights are untouched; {remedy}")
        rate = state.schedule.rate(state.step)
        self.optimizers.step(rate=rate)
        self.masters.clear_gradients()
        self.masters.publish()
        num_places = sum(batch.input_ids.size for batch in batches)
        state.step, state.num_tokens = state.step + 1, state.num_tokens + num_places
        if is_typical:  # a step in which the compiler worked is none
            state.step_seconds.append(time.monotonic() - start)
        self._report(loss, rate, float(norm), num_places, time.monotonic() - start)

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
            validation_loss=validation_loss,
        )  # fmt: skip
        self.metrics.append(metrics)
        self.hooks.on_step(metrics, self.seconds_left())
        if is_look:
            self._keep_best(validation_loss)
            with torch.compiler.set_stance("force_eager"):  # texts of any length are not worth compiling for
                self.hooks.on_look(self.model, metrics)
            self._look_s += time.monotonic() - start

    def seconds_left(self) -> float | None:
        """How long the stage will still take; None before anything is known."""
        if self.config.minutes:
            return max(0.0, self.config.minutes * 60 - self.elapsed_s)
        if self.state.schedule.total_steps is None or not self.state.step_seconds:
            return None
        return (self.state.schedule.total_steps - self.state.step) * statistics.median(self.state.step_seconds)

    def _share_of_peak(self, tokens_per_s: float) -> float:
        peak = self.stage.machine.gflops.get(self.dtype_name, 0.0)
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
            tensors = {name: weight.detach() for name, weight in self.masters.named.items()}
            save_checkpoint(self.stage.folder / "best", self.state.step, Checkpoint(tensors, {}, {}), keep=1)
        else:
            self.state.looks_without_gain += 1

    def _has_stalled(self) -> bool:
        return 0 < self.config.patience <= self.state.looks_without_gain

    def _finished_model(self) -> Transformer:
        tensors = {name: weight.detach() for name, weight in self.masters.named.items()}
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
        share_of_looks = self._look_s / max(1.0, self.elapsed_s)  # they will take as much of what is left
        step_s = statistics.median(seconds) * 1.02 / (1 - min(0.5, share_of_looks))
        elapsed_s = self.elapsed_s + SAVING_S
        state.schedule.decide(
            state.step, elapsed_s=elapsed_s, budget_s=budget_s, step_s=step_s, cooldown=self.config.cooldown
        )

    def _choose_dtype(self) -> DtypeName:
        return self.stage.machine.best_dtype if self.config.dtype == "auto" else self.config.dtype

    def _newest_checkpoint(self) -> Checkpoint | None:
        checkpoint, damaged = load_newest_checkpoint(self.stage.folder / "checkpoints")
        for line in damaged:
            self.hooks.on_note(line)
        if checkpoint is not None:
            _refuse_other_plan(checkpoint.state["identity"], self.stage)
        return checkpoint

    def _restore(self, checkpoint: Checkpoint) -> None:
        saved = checkpoint.state
        for name, weight in self.masters.named.items():
            weight.data.copy_(checkpoint.model[name])
        self.masters.publish()
        self.optimizers.load_state_tensors(checkpoint.optimizer)
        best = math.inf if saved["best_loss"] is None else saved["best_loss"]
        self.state = TrainState(
            Schedule(**saved["schedule"]), saved["step"], saved["num_tokens"], saved["spent_s"], best,
            saved["looks_without_gain"],
        )  # fmt: skip
        self.hooks.on_note(f"going on from step {self.state.step}")


def _refuse_other_plan(saved: dict[str, Any], stage: Stage) -> None:
    differing = sorted(key for key in saved.keys() | stage.identity.keys() if saved.get(key) != stage.identity.get(key))
    if differing:
        key = differing[0]
        raise RunFolderError(f"{stage.folder}: holds a run with another {key} ({saved.get(key)!r}, now "
                             f"{stage.identity.get(key)!r}); give another --out, or delete that folder")  # fmt: skip
