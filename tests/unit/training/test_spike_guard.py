"""What a step is judged by: recent losses and gradients."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from duologue.training.spike_guard import MOST_SKIPS, SpikeGuard, Verdict


def calm(num_steps: int = 40) -> SpikeGuard:
    guard, rng = SpikeGuard(), np.random.default_rng(0)
    for step in range(num_steps):
        loss = 3 - 0.01 * step + 0.1 * rng.standard_normal()
        assert guard.judge(float(loss), float(1 + 0.2 * rng.standard_normal()))[0] is Verdict.TAKE
    return guard


@pytest.mark.parametrize(("loss", "norm"), [(30.0, 1.0), (2.8, 40.0), (6.0, 1.0)])
def test_a_spike_is_skipped_and_leaves_no_trace_in_what_is_usual(loss: float, norm: float) -> None:
    guard = calm()
    before = (list(guard.losses), list(guard.norms))
    verdict, reason = guard.judge(loss, norm)
    assert verdict is Verdict.SKIP
    assert "after a median of" in reason
    assert (list(guard.losses), list(guard.norms)) == before
    assert guard.judge(2.8, 1.0) == (Verdict.TAKE, "")
    assert guard.skips_in_a_row == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_never_taken(bad: float) -> None:
    for pair in ((bad, 1.0), (1.0, bad)):
        assert SpikeGuard().judge(*pair)[0] is Verdict.SKIP


def test_too_many_in_a_row_go_back() -> None:
    guard = calm()
    verdicts = [guard.judge(100.0, 1.0)[0] for _ in range(MOST_SKIPS)]
    assert verdicts == [Verdict.SKIP] * (MOST_SKIPS - 1) + [Verdict.ROLL_BACK]


def test_a_guard_comes_back_from_a_checkpoint_as_it_was() -> None:
    guard = calm(100)
    guard.judge(100.0, 1.0)
    again = SpikeGuard.from_dict(json.loads(json.dumps(guard.to_dict())))
    assert again == guard
    assert again.losses.maxlen == guard.losses.maxlen


def test_ordinary_training_is_let_be() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        guard = SpikeGuard()
        for step in range(500):  # a loss that falls, gradients with a heavy tail
            loss = 1 + 6 * math.exp(-step / 50) + 0.15 * rng.standard_normal()
            assert guard.judge(float(loss), float(rng.lognormal(0, 0.4)))[0] is Verdict.TAKE
