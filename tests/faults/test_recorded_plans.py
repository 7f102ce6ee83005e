"""What a clock decided is kept: who has the decisions of a timed run ends with its bits, killed or not."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.commands import COLUMNS, Starter, await_file, result, short_words

from duologue.training.metrics import read_metrics

SECONDS, SEED, KILLS = 6, 17, 6


def timed_words(data: Path, out: Path) -> list[str]:
    """Pretraining by the clock, with looks by the clock too."""
    return short_words("pretrain", data, out, "--minutes", str(SECONDS / 60), "--pretraining.evaluate_every", "0")


def lines(out: Path) -> list[list[object]]:
    return [[line[name] for name in COLUMNS] for line in read_metrics(out / "pretraining" / "metrics.jsonl")]


def kill_after(starter: Starter, seconds: float, words: list[str]) -> int:
    process = starter.start(*words)
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    return starter.wait(process)


def test_a_timed_run_is_done_again_from_its_decisions(
    starter: Starter, data: Path, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    whole, again = tmp_path / "whole", tmp_path / "again"
    assert starter.run(*timed_words(data, whole)) == 0, starter.said()
    kept = json.loads((whole / "pretraining" / "decisions.json").read_text())
    assert kept["looks"]
    assert kept["ends"][-1][0] == kept["ends"][-1][2] == len(lines(whole))
    (again / "pretraining").mkdir(parents=True)
    (again / "pretraining" / "decisions.json").write_text(json.dumps(kept))
    rng, num_kills = random.Random(SEED), 0
    while num_kills < KILLS and kill_after(starter, rng.uniform(0.2, 1), timed_words(data, again)) != 0:
        num_kills += 1
    assert starter.run(*timed_words(data, again)) == 0, starter.said()
    assert result(again) == result(whole)
    tell(f"a timed run of {len(lines(whole))} steps from its decisions: {num_kills} kills, exact (seed {SEED})")


def test_a_killed_timed_run_takes_the_same_steps_again(starter: Starter, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = starter.start(*timed_words(data, out), "--pretraining.save_every_s", "1000")
    await_file("pretraining/decisions.json", out)
    while not json.loads((out / "pretraining" / "decisions.json").read_text())["ends"]:
        time.sleep(0.05)
    time.sleep(0.3)  # into the cooldown
    os.kill(process, signal.SIGKILL)
    assert starter.wait(process) == -signal.SIGKILL
    before = lines(out)[:-1]  # the last one may be cut short
    assert starter.run(*timed_words(data, out)) == 0, starter.said()
    assert lines(out)[: len(before)] == before
    assert len(lines(out)) > len(before)
