"""Draws depend on their key and on nothing else, and are spread evenly."""

import random
import subprocess
import sys
from collections import Counter

from duologue.adversarial.draws import Draws


def test_a_key_gives_known_numbers() -> None:
    """These never change: a change would give other noise for every seed that people have noted down."""
    draws = Draws(7, "dialogue", 2)
    assert [round(draws.unit(), 12) for _ in range(3)] == [0.953724736883, 0.249505495484, 0.884958455508]
    assert Draws("a", "bc").unit() != Draws("ab", "c").unit()
    assert Draws("a").unit() != Draws("a", "").unit()


def test_nothing_outside_is_read_or_changed() -> None:
    random.seed(1)
    before = random.getstate()
    first = [Draws(1).unit() for _ in range(3)]
    assert random.getstate() == before
    assert len(set(first)) == 1


def test_another_process_draws_the_same() -> None:
    code = "from duologue.adversarial.draws import Draws; d = Draws(7, 'dialogue', 2); print(d.unit(), d.below(1000))"
    runs = {
        subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True,
                       check=True).stdout
        for seed in ("0", "1234")
    }  # fmt: skip
    draws = Draws(7, "dialogue", 2)
    assert runs == {f"{draws.unit()} {draws.below(1000)}\n"}


def test_spread_evenly() -> None:
    """Chi-square over 20 cells, 20,000 draws: below 43.8 in 999 of 1,000 fair generators."""
    draws = Draws("even")
    counts = Counter(draws.below(20) for _ in range(20_000))
    assert sum((counts[cell] - 1000) ** 2 / 1000 for cell in range(20)) < 43.8


def test_weights_are_kept_to() -> None:
    draws = Draws("weights")
    counts = Counter(draws.pick_by("abc", (1.0, 2.0, 7.0)) for _ in range(20_000))
    assert abs(counts["a"] - 2000) < 200
    assert abs(counts["c"] - 14_000) < 350
    firsts = Counter(next(draws.in_order(3, (1.0, 2.0, 7.0))) for _ in range(20_000))
    assert abs(firsts[0] - 2000) < 200
    assert abs(firsts[2] - 14_000) < 350
    orders = Counter(tuple(draws.in_order(3)) for _ in range(12_000))
    assert len(orders) == 6
    assert all(abs(count - 2000) < 200 for count in orders.values())
    assert sorted(draws.some(5, 9)) == [0, 1, 2, 3, 4]
