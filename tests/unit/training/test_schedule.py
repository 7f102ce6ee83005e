"""The learning rate over a stage, and the clock's one decision."""

from __future__ import annotations

from itertools import pairwise

import pytest

from duologue.training.schedule import Schedule


def test_rate_rises_stays_and_falls() -> None:
    schedule = Schedule.of_steps(100, warmup_steps=10, cooldown=0.4)
    rates = [schedule.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:60] == [1.0] * 51
    assert all(later < earlier for earlier, later in pairwise(rates[60:]))
    assert 0 < rates[-1] < 0.02
    assert not schedule.is_over(99)
    assert schedule.is_over(100)


def test_a_stage_settles_when_most_of_the_cooldown_is_over() -> None:
    schedule = Schedule.of_steps(100, warmup_steps=10, cooldown=0.5)
    assert [step for step in range(100) if schedule.is_settling(step)] == list(range(80, 100))
    assert schedule.settling_share(50) == pytest.approx(20 / 50)
    assert schedule.settling_share(90) == 1
    assert not any(Schedule.of_steps(100, warmup_steps=10, cooldown=0.0).is_settling(step) for step in range(100))
    assert not Schedule(warmup_steps=10).is_settling(10_000)  # the clock has not decided yet
    assert Schedule(warmup_steps=10).settling_share(10_000) == pytest.approx(0.4)


def test_the_clock_decides_once_while_steps_stay_as_fast() -> None:
    schedule = Schedule(warmup_steps=0)
    schedule.decide(5, elapsed_s=50, budget_s=100, step_s=1, cooldown=0.4)
    assert schedule.total_steps is None
    schedule.decide(6, elapsed_s=61, budget_s=100, step_s=1.5, cooldown=0.4)
    assert (schedule.cooldown_start, schedule.total_steps) == (6, 6 + 26)
    schedule.decide(7, elapsed_s=62.4, budget_s=100, step_s=1.55, cooldown=0.4)
    assert (schedule.cooldown_start, schedule.total_steps) == (6, 32)


def test_a_slower_machine_draws_the_end_nearer() -> None:
    schedule = Schedule(warmup_steps=0, cooldown_start=6, total_steps=32)
    schedule.decide(10, elapsed_s=80, budget_s=100, step_s=4, cooldown=0.4)
    assert (schedule.cooldown_start, schedule.total_steps) == (6, 15)
    schedule.decide(14, elapsed_s=130, budget_s=100, step_s=4, cooldown=0.4)
    assert schedule.is_over(15)


def test_a_quicker_machine_moves_the_end_away_until_the_rate_settles() -> None:
    schedule = Schedule(warmup_steps=0, cooldown_start=6, total_steps=32)
    schedule.decide(10, elapsed_s=80, budget_s=100, step_s=0.85, cooldown=0.4)  # within a fiftieth of the minutes
    assert schedule.total_steps == 32
    schedule.decide(10, elapsed_s=80, budget_s=100, step_s=0.5, cooldown=0.4)
    assert (schedule.cooldown_start, schedule.total_steps) == (6, 50)
    assert schedule.is_settling(40)
    schedule.decide(40, elapsed_s=80, budget_s=100, step_s=0.5, cooldown=0.4)
    assert schedule.total_steps == 50


def test_a_schedule_survives_being_saved() -> None:
    schedule = Schedule(3, 6, 20)
    assert Schedule(**schedule.to_dict()) == schedule


def test_a_stage_of_one_step_learns() -> None:
    assert Schedule.of_steps(1, warmup_steps=20, cooldown=0.4).rate(0) > 0
