"""Losses and gradients that are no numbers, or far too large, never reach weights, optimiser or checkpoint."""

from __future__ import annotations

import math
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from duologue.errors import NumericalError
from duologue.training.checkpoint import load_newest_checkpoint
from duologue.training.loop import Trainer
from duologue.training.metrics import StepMetrics, read_metrics
from duologue.training.stage import Hooks

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS = 40
LONG, LAST_STEPS = 100, 20
PARTS = (("loss", "gradient"), ("loss",), ("gradient",))


class StopError(Exception):
    """Ends a run as a kill would."""


def spoil(
    trainer: Trainer, at: dict[int, float], *, times: int = 1_000_000, parts: tuple[str, ...] = ("loss", "gradient")
) -> Trainer:
    """Multiplies loss and gradients of the steps ``at``; the same step again only so many times in all."""
    real, left = trainer.gradient.backward, {step: times for step in at}

    def backward(batch, candidates):
        total, step = real(batch, candidates), trainer.state.step
        if not left.get(step):
            return total
        left[step] -= 1
        for weight in trainer.masters.named.values():
            if weight.grad is not None and "gradient" in parts:
                weight.grad *= at[step]
        return total * at[step] if "loss" in parts else total

    trainer.gradient.backward = backward
    return trainer


def all_finite(trainer: Trainer) -> bool:
    tensors = [*trainer.masters.named.values(), *trainer.optimizers.state_tensors().values()]
    kept, damaged = load_newest_checkpoint(trainer.stage.folder / "checkpoints")
    assert not damaged
    tensors += [*kept.model.values(), *kept.optimizer.values()] if kept else []
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


@pytest.mark.parametrize("factor", [math.nan, math.inf, 1e4])
@pytest.mark.parametrize("steps", [(25,), (25, 26), (22, 30, 36)])
def test_bad_steps_are_skipped(
    build: Callable[..., Trainer], tmp_path: Path, factor: float, steps: tuple[int, ...]
) -> None:
    clean = build(tmp_path / "clean", steps=STEPS)
    clean.run()
    notes: list[str] = []
    trainer = spoil(build(tmp_path / "run", Hooks(on_note=notes.append), steps=STEPS), dict.fromkeys(steps, factor))
    trainer.run()
    assert all_finite(trainer)
    lines, expected = (list(read_metrics(tmp_path / name / "metrics.jsonl")) for name in ("run", "clean"))
    assert [line["step"] for line in lines] == list(range(STEPS))
    assert [line["step"] for line in lines if line["event"]] == list(steps)
    assert [line["event"].startswith("skipped: ") for line in lines if line["event"]] == [True] * len(steps)
    assert len(notes) == len(steps)
    assert lines[-1]["loss"] == pytest.approx(expected[-1]["loss"], rel=0.05)


def test_a_resume_between_skipped_steps_is_exact(build: Callable[..., Trainer], tmp_path: Path) -> None:
    at = {24: math.nan, 25: 1e4, 30: math.inf}
    whole = spoil(build(tmp_path / "whole", steps=STEPS), at).run().state_dict()

    def stop(metrics: StepMetrics, seconds_left: float | None) -> None:
        if metrics.step == 24:
            cut.save()
            raise StopError

    cut = spoil(build(tmp_path / "cut", Hooks(on_step=stop), steps=STEPS), at)
    with pytest.raises(StopError):
        cut.run()
    resumed = spoil(build(tmp_path / "cut", steps=STEPS), at)
    assert resumed.state.step == 25
    assert resumed.state.guard.skips_in_a_row == 1
    for name, tensor in resumed.run().state_dict().items():
        assert torch.equal(tensor, whole[name]), name


def test_three_in_a_row_go_back_with_a_lower_rate(build: Callable[..., Trainer], tmp_path: Path) -> None:
    notes: list[str] = []
    trainer = build(tmp_path / "run", Hooks(on_note=notes.append), steps=STEPS, anchor_every=20)
    spoil(trainer, dict.fromkeys((25, 26, 27), math.nan), times=1).run()
    assert trainer.state.guard.rate_scale == 0.5
    assert all_finite(trainer)
    lines = list(read_metrics(tmp_path / "run" / "metrics.jsonl"))
    assert [line["step"] for line in lines] == list(range(STEPS))
    (told,) = [line for line in lines if line["event"]]
    assert told["step"] == 20
    assert told["event"].startswith("went back to here from step 27, where loss is nan")
    assert notes[-1].endswith("learning rates times 0.5")
    assert lines[-1]["loss"] < lines[19]["loss"]


@pytest.mark.parametrize("anchor_every", [20, 1000])
def test_when_going_back_does_not_help_it_ends_with_one_line(
    build: Callable[..., Trainer], tmp_path: Path, anchor_every: int
) -> None:
    trainer = build(tmp_path / "run", steps=STEPS, anchor_every=anchor_every)
    spoil(trainer, dict.fromkeys(range(25, 40), math.nan))
    with pytest.raises(NumericalError, match=r"pretraining step 27: loss is nan.*3 steps in a row.*gone back [02] tim"):
        trainer.run()
    assert all_finite(trainer)


def final_loss(trainer: Trainer) -> float:
    """Nats a token, mean over the last steps, so that no single batch decides."""
    losses = [line["loss"] for line in read_metrics(trainer.stage.folder / "metrics.jsonl")]
    return sum(losses[-LAST_STEPS:]) / LAST_STEPS


@pytest.mark.soak
def test_five_hundred_bad_steps(build: Callable[..., Trainer], tmp_path: Path, tell: Callable[[str], None]) -> None:
    """One or two bursts a run of one to three bad steps each, once the first steps have shown what is usual."""
    changes = {"steps": LONG, "anchor_every": 10, "save_every_s": 0.5}
    clean, seed = build(tmp_path / "clean", **changes), random.randrange(2**32)
    clean.run()
    usual, rng, num_bad, num_back, off = final_loss(clean), random.Random(seed), 0, 0, list[float]()
    while num_bad < 500:
        at = bursts(rng)
        trainer = spoil(build(tmp_path / "run", **changes), at, times=1, parts=rng.choice(PARTS))
        trainer.run()
        assert all_finite(trainer), (seed, at)
        lines = list(read_metrics(tmp_path / "run" / "metrics.jsonl"))
        assert [line["step"] for line in lines] == list(range(LONG)), (seed, at)
        num_back += sum("went back" in line["event"] for line in lines if line["event"])
        off.append(final_loss(trainer) / usual - 1)
        num_bad += len(at)
        shutil.rmtree(tmp_path / "run")
    off.sort()
    shown = f"final loss {off[len(off) // 2]:+.2%} in the median, {off[0]:+.2%} to {off[-1]:+.2%} of that without"
    within = sum(abs(share) <= 0.01 for share in off)
    tell(f"{num_bad} bad steps in {len(off)} runs of {LONG}: 0 taken, {num_back} times gone back, {shown}, "
         f"{within} within 1% (seed {seed})")  # fmt: skip


def bursts(rng: random.Random) -> dict[int, float]:
    """Bad steps and their factors."""
    at: dict[int, float] = {}
    for _ in range(rng.randint(1, 2)):
        first, factor = rng.randrange(25, LONG - 2 * LAST_STEPS), rng.choice([math.nan, math.inf, 10.0, 1e4])
        at |= dict.fromkeys(range(first, first + rng.randint(1, 3)), factor)
    return at


def spoil_at_full_rate(trainer: Trainer, steps: tuple[int, ...]) -> Trainer:
    """Steps that fail each time they are taken, until the run has gone back with lower rates."""
    real = trainer.gradient.backward

    def backward(batch, candidates):
        is_bad = trainer.state.step in steps and trainer.state.guard.rate_scale == 1.0
        return real(batch, candidates) * (math.nan if is_bad else 1.0)

    trainer.gradient.backward = backward
    return trainer


@pytest.mark.parametrize("save_every_s", [0, 1000])
@pytest.mark.parametrize("stopped_after", [19, 24, 25, 26, 21, 33])
def test_a_run_that_went_back_is_the_same_killed_or_not(
    build: Callable[..., Trainer], tmp_path: Path, stopped_after: int, save_every_s: float
) -> None:
    """Where it goes back to does not depend on when it was saved, or killed: before, amid the bad steps, or after."""
    changes = {"steps": STEPS, "anchor_every": 20, "save_every_s": save_every_s}
    bad = (25, 26, 27)
    whole = spoil_at_full_rate(build(tmp_path / "whole", **changes | {"save_every_s": 1000}), bad)
    weights = {name: tensor.clone() for name, tensor in whole.run().state_dict().items()}
    assert whole.state.guard.rate_scale == 0.5
    seen: list[int] = []

    def stop(metrics: StepMetrics, seconds_left: float | None) -> None:
        seen.append(metrics.step)
        if seen.count(stopped_after) == (2 if 20 < stopped_after < 25 else 1):  # 21 and 24: the second time
            raise StopError

    with pytest.raises(StopError):
        spoil_at_full_rate(build(tmp_path / "cut", Hooks(on_step=stop), **changes), bad).run()
    resumed = spoil_at_full_rate(build(tmp_path / "cut", **changes), bad).run()
    for name, tensor in resumed.state_dict().items():
        assert torch.equal(tensor, weights[name]), name
    lines = [[(line["step"], line["loss"]) for line in read_metrics(tmp_path / name / "metrics.jsonl")]
             for name in ("whole", "cut")]  # fmt: skip
    assert lines[0] == lines[1]
