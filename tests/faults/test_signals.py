"""Ctrl-C and SIGTERM end a run with a checkpoint of that very step, and the same command carries on exactly."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.faults.commands import STEPS, Starter, await_file, result, short_words, words

from duologue.training.checkpoint import checkpoint_folders
from duologue.training.metrics import read_metrics


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_ends_within_a_step(
    starter: Starter, data: Path, tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "run"
    process = starter.start(*words(data, out, "--pretraining.save_every_s", "1000", "--steps", "5000"))
    metrics = out / "pretraining" / "metrics.jsonl"
    await_file("pretraining/metrics.jsonl", out)
    while not (lines := list(read_metrics(metrics))):
        time.sleep(0.01)
    os.kill(process, number)
    assert starter.wait(process) == 130
    last_line = list(read_metrics(metrics))[-1]["step"]
    assert [path.name for path in checkpoint_folders(out / "pretraining" / "checkpoints")] == [
        f"step-{last_line + 1:g}"
    ]
    assert last_line >= lines[-1]["step"]
    assert starter.said().splitlines()[-1] == "duologue pretrain: stopped; the same command carries on"


def test_a_second_signal_quits_at_once(starter: Starter, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    # One step of these is far longer than the wait for it may be.
    process = starter.start(*words(data, out, "--pretraining.batch_tokens", "2000000",
                                   "--pretraining.micro_batch_tokens", "1024"))  # fmt: skip
    await_file("pretraining/metrics.jsonl", out)
    time.sleep(0.2)
    os.kill(process, signal.SIGTERM)
    time.sleep(0.2)
    begin = time.monotonic()
    os.kill(process, signal.SIGTERM)
    assert starter.wait(process) == 130
    assert time.monotonic() - begin < 5
    assert not list(checkpoint_folders(out / "pretraining" / "checkpoints"))


@pytest.mark.parametrize("num_signals", [10, pytest.param(200, marks=pytest.mark.soak)])
def test_signals_at_random_moments(
    starter: Starter, data: Path, tmp_path: Path, tell: Callable[[str], None], num_signals: int
) -> None:
    def command(out: Path) -> list[str]:
        return short_words("pretrain", data, out, "--pretraining.save_every_s", "1000")

    assert starter.run(*command(tmp_path / "whole")) == 0, starter.said()
    whole, seed = result(tmp_path / "whole"), num_signals
    rng, num_sent, runs, longest_s = random.Random(seed), 0, 0, 0.0
    while num_sent < num_signals:
        out, runs = tmp_path / f"run-{runs}", runs + 1
        metrics = out / "pretraining" / "metrics.jsonl"
        for step in sorted(rng.sample(range(1, STEPS - 5), 5)):
            # Before training goes on, a signal simply ends the process.
            begun = max(step, len(list(read_metrics(metrics))) + 1)
            process = starter.start(*command(out))
            while sum(1 for _ in read_metrics(metrics)) < begun:
                time.sleep(0.005)
            time.sleep(rng.uniform(0, 0.02))
            begin = time.monotonic()
            os.kill(process, rng.choice([signal.SIGTERM, signal.SIGINT]))
            code = starter.wait(process)
            num_steps = len(list(read_metrics(metrics)))
            if num_steps == STEPS:
                break  # it had trained to its end before the signal came
            assert code == 130, starter.said()
            longest_s = max(longest_s, time.monotonic() - begin)
            assert next(checkpoint_folders(out / "pretraining" / "checkpoints")).name == f"step-{num_steps}"
            num_sent += 1
        assert starter.run(*command(out)) == 0, starter.said()
        assert result(out) == whole, out
    assert longest_s < 5
    tell(f"{num_sent} signals, each with a checkpoint of its very step, at most {longest_s:.2f} s later, {runs} runs "
         f"gone on with exactly (seed {seed})")  # fmt: skip
