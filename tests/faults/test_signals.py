"""Ctrl-C and SIGTERM end a run with a checkpoint of that very step, and the same command carries on exactly."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from tests.faults.commands import Starter, await_file, words

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
