"""How far a figure can be trusted: bootstrap intervals over dialogues, the same ones drawn for all that is compared.

Source: Efron and Tibshirani 1993, "An introduction to the bootstrap", chapter 13 (percentile intervals).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
NUM_DRAWS = 2_000
TAIL = 2.5  # percent on each side


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and where it lies in 95 of 100 such samples of dialogues."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    @property
    def is_above_zero(self) -> bool:
        """Whether zero is out of the question."""
        return self.low > 0


def bootstrap(statistic: Callable[[Floats], Floats], num_items: int, *, seed: int = 0) -> Interval:
    """The interval of a statistic.

    Args:
        statistic: (counts of each item in some samples, [S, N]) -> its value in each, [S].
    """
    rng = np.random.default_rng(seed)
    whole = statistic(np.ones((1, num_items)))[0]
    drawn = rng.multinomial(num_items, np.full(num_items, 1 / num_items), size=NUM_DRAWS).astype(np.float64)
    values = statistic(drawn)
    low, high = np.percentile(values[np.isfinite(values)], [TAIL, 100 - TAIL])
    return Interval(float(whole), float(low), float(high))


def ratio(numerators: Floats, denominators: Floats, *, seed: int = 0) -> Interval:
    """The ratio of two sums over items, such as bits by bytes."""
    if not len(numerators):
        return Interval(0.0, 0.0, 0.0)
    return bootstrap(lambda counts: (counts @ numerators) / (counts @ denominators), len(numerators), seed=seed)
