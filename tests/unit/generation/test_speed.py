"""Engines take turns, and what is told of them is what the clock said."""

import pytest

from duologue.generation.speed import SHAPES, Load, measure_speed, random_prompt
from duologue.transformer.model import Transformer


class Clocked:
    """Engines that take a known time, on a clock of their own."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.calls: list[tuple[str, int, int, int]] = []

    def engine(self, name: str, first_s: list[float], step_s: list[float]):
        turns = iter([(first_s[0], step_s[0]), *zip(first_s, step_s, strict=True)])
        current = [0.0, 0.0]

        def write(prompt_ids: list[int], num_beams: int, num_new: int) -> None:
            self.calls.append((name, len(prompt_ids), num_beams, num_new))
            if num_new < 3:  # the turn that is not counted, or a new one
                current[:] = next(turns)
            self.now_s += current[0] + (num_new - 1) * current[1]

        return write


def test_times_are_medians_of_turns() -> None:
    machine, told = Clocked(), []
    engines = {
        "a": machine.engine("a", [0.010, 0.020, 0.040], [0.001, 0.002, 0.009]),
        "b": machine.engine("b", [0.020, 0.080, 0.040], [0.004, 0.002, 0.003]),
    }
    a, b = measure_speed(
        engines, [Load(4, 7)], vocab_size=50, num_new_tokens=11, num_rounds=3,
        on_progress=lambda done, total: told.append((done, total)), clock=lambda: machine.now_s,
    )  # fmt: skip
    assert (a.engine, b.engine, a.load) == ("a", "b", Load(4, 7))
    assert (a.first_token_ms, a.step_ms) == (pytest.approx(20), pytest.approx(2))
    assert (b.first_token_ms, b.step_ms) == (pytest.approx(40), pytest.approx(3))
    assert (a.times_first_token, a.times_step) == (1, 1)
    assert (b.times_first_token, b.times_step) == (pytest.approx(2), pytest.approx(1))
    assert b.rounds == [pytest.approx(each) for each in [(20, 4), (80, 2), (40, 3)]]
    turn = [("a", 7, 4, 1), ("a", 7, 4, 11), ("b", 7, 4, 1), ("b", 7, 4, 11)]
    assert machine.calls == [("a", 7, 4, 2), ("b", 7, 4, 2), *turn * 3]
    assert told == [(done, 6) for done in range(1, 7)]


def test_prompts_are_the_same_each_time() -> None:
    assert random_prompt(9, 20) == random_prompt(9, 20)
    assert set(random_prompt(500, 20)) == set(range(20))


@pytest.mark.parametrize("name", ["tiny", "10m", "30m"])
def test_shapes_are_as_large_as_they_are_called(name: str) -> None:
    config, vocab_size = SHAPES[name]
    millions = Transformer(config, vocab_size=vocab_size).num_parameters / 1e6
    expected = {"tiny": 0.1, "10m": 10, "30m": 30}[name]
    assert 0.8 * expected < millions < 1.4 * expected
