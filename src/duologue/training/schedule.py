"""The learning rate: warm-up, stable, decay. The stable part has no end of its own, so a run may stop at any time.

Source: Hägele et al. 2024, arXiv:2405.18392 (cooldown by 1 - sqrt).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

SETTLING = 0.6  # of the cooldown, after which what saved time at some cost is left off
TOLERATED = 0.02  # of the minutes: less than this past the end is no reason to change the plan


@dataclass
class Schedule:
    """Where in a stage the rate falls. In a stage that goes by minutes the clock decides that, and it is kept.

    Attributes:
        warmup_steps: steps in which the rate rises.
        cooldown_start: the step from which it falls; None while the clock has not decided.
        total_steps: the step at which the stage ends; None likewise.
    """

    warmup_steps: int
    cooldown_start: int | None = None
    total_steps: int | None = None

    @classmethod
    def of_steps(cls, steps: int, *, warmup_steps: int, cooldown: float) -> Schedule:
        """A schedule whose length is known from the start."""
        return cls(min(warmup_steps, max(1, steps // 10)), round(steps * (1 - cooldown)), steps)

    def rate(self, step: int) -> float:
        """The share of the peak rate at a step, counted from 0."""
        rising = min(1.0, (step + 1) / max(1, self.warmup_steps))
        if self.cooldown_start is None or self.total_steps is None or step < self.cooldown_start:
            return rising
        done = (step - self.cooldown_start + 1) / (self.total_steps - self.cooldown_start + 1)
        return rising * (1 - math.sqrt(min(1.0, done)))

    def is_settling(self, step: int) -> bool:
        """Whether the rate is so low at a step that the model should see its task as it is."""
        return self.total_steps is not None and step >= self._settling_start(self.total_steps)

    def settling_share(self, step: int) -> float:
        """Of the steps from this one on, at the start of the cooldown or in it, those that settle."""
        if self.total_steps is None or step >= self.total_steps:
            return 1 - SETTLING
        return (self.total_steps - max(step, self._settling_start(self.total_steps))) / (self.total_steps - step)

    def is_over(self, step: int) -> bool:
        """Whether the stage ends before this step."""
        return self.total_steps is not None and step >= self.total_steps

    def decide(self, step: int, *, elapsed_s: float, budget_s: float, step_s: float, cooldown: float) -> None:
        """Fixes the end once the time left is the cooldown's share; moves it where steps became slower, or quicker.

        While the rate settles the end is only drawn nearer: further away, it would rise again.
        """
        left_s = budget_s - elapsed_s
        fitting_steps = max(1, int(left_s / step_s))
        if self.total_steps is None:
            if left_s <= cooldown * budget_s:
                self.cooldown_start, self.total_steps = step, step + fitting_steps
            return
        over_s = (self.total_steps - step) * step_s - left_s
        is_early = over_s < -TOLERATED * budget_s and not self.is_settling(step)
        if over_s > TOLERATED * budget_s or is_early:
            self.total_steps = step + fitting_steps

    def _settling_start(self, total_steps: int) -> float:
        start = total_steps if self.cooldown_start is None else self.cooldown_start
        return start + SETTLING * (total_steps - start)

    def to_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return asdict(self)
