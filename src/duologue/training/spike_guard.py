"""Judges each step before it is taken: a loss or gradient that is no number, or far above the recent ones, is not.

Source: the rule is that of OLMo-core's SkipStepOptimizer (steps far outside the recent spread are left out), with
median and median deviation in place of mean and standard deviation, since a spike moves those less.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

RECENT_STEPS = 64
FEWEST_STEPS = 20  # before anything can be called unusual
MOST_SPREADS = 10.0
DEVIATION_TO_SPREAD = 1.4826  # median deviation to standard deviation, for normal numbers
# The least spread that is assumed, so that a quiet stretch makes no spike of what is harmless.
LEAST_LOSS_SPREAD, LEAST_LOSS_SHARE = 0.05, 0.05  # nats, and of the median
LEAST_NORM_SHARE = 0.5  # gradients vary more, and are cut to a length anyway
MOST_SKIPS = 3  # in a row
MOST_ROLLBACKS = 2  # for one place
ROLLBACK_RATE = 0.5


class Verdict(StrEnum):
    """What becomes of a step."""

    TAKE = "take"
    SKIP = "skip"
    ROLL_BACK = "roll back"


@dataclass
class SpikeGuard:
    """The recent steps, and what has been done about unusual ones; part of a checkpoint.

    Attributes:
        skips_in_a_row: up to this step.
        rate_scale: what all learning rates are multiplied by.
        rollbacks: since the steps became calm.
        calm_steps: taken since the last rollback.
    """

    losses: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_STEPS))
    norms: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_STEPS))
    skips_in_a_row: int = 0
    rate_scale: float = 1.0
    rollbacks: int = 0
    calm_steps: int = 0

    def judge(self, loss: float, norm: float) -> tuple[Verdict, str]:
        """Whether the step is taken, and what is wrong with it if not."""
        reason = self._fault(loss, norm)
        if not reason:
            self._take(loss, norm)
            return Verdict.TAKE, ""
        self.skips_in_a_row += 1
        return (Verdict.ROLL_BACK if self.skips_in_a_row >= MOST_SKIPS else Verdict.SKIP), reason

    def rolled_back(self, failed: SpikeGuard) -> None:
        """Makes the guard of a checkpoint the one to go on with after ``failed`` gave up."""
        self.rollbacks, self.rate_scale = failed.rollbacks + 1, failed.rate_scale * ROLLBACK_RATE
        self.skips_in_a_row = self.calm_steps = 0

    @property
    def is_exhausted(self) -> bool:
        """Whether rolling back has been tried often enough."""
        return self.rollbacks >= MOST_ROLLBACKS

    def to_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return vars(self) | {"losses": list(self.losses), "norms": list(self.norms)}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> SpikeGuard:
        """What to_dict gave."""
        recent = {name: deque(fields[name], maxlen=RECENT_STEPS) for name in ("losses", "norms")}
        return cls(**(fields | recent))

    def _fault(self, loss: float, norm: float) -> str:
        if not (math.isfinite(loss) and math.isfinite(norm)):
            return f"loss is {loss}, gradient {norm}"
        if len(self.losses) < FEWEST_STEPS:
            return ""
        usual = statistics.median(self.losses)
        if loss > _limit(self.losses, least_spread=max(LEAST_LOSS_SPREAD, LEAST_LOSS_SHARE * usual)):
            return f"loss {loss:.3g} after a median of {usual:.3g}"
        usual = statistics.median(self.norms)
        if norm > _limit(self.norms, least_spread=LEAST_NORM_SHARE * usual):
            return f"gradient {norm:.3g} after a median of {usual:.3g}"
        return ""

    def _take(self, loss: float, norm: float) -> None:
        self.losses.append(loss)
        self.norms.append(norm)
        self.skips_in_a_row = 0
        self.calm_steps += 1
        if self.calm_steps >= RECENT_STEPS:
            self.rollbacks = 0


def _limit(values: Sequence[float], *, least_spread: float) -> float:
    usual = statistics.median(values)
    spread = DEVIATION_TO_SPREAD * statistics.median(abs(value - usual) for value in values)
    return usual + MOST_SPREADS * max(spread, least_spread)
