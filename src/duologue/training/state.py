"""What changes while a stage trains, but for weights and optimiser, and how it stands in a checkpoint."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from duologue.training.schedule import Schedule
from duologue.training.spike_guard import SpikeGuard


@dataclass
class TrainState:
    """Everything that changes while a stage trains, but for weights and optimiser."""

    schedule: Schedule
    step: int = 0
    num_tokens: int = 0
    spent_s: float = 0.0
    look_s: float = 0.0
    best_loss: float = math.inf
    looks_without_gain: int = 0
    guard: SpikeGuard = field(default_factory=SpikeGuard)
    step_seconds: deque[float] = field(default_factory=lambda: deque(maxlen=30))

    def to_dict(self, *, elapsed_s: float) -> dict[str, Any]:
        """For a checkpoint; how long steps take is measured anew after a resume."""
        return {
            "step": self.step,
            "num_tokens": self.num_tokens,
            "spent_s": elapsed_s,
            "look_s": self.look_s,
            "best_loss": self.best_loss if math.isfinite(self.best_loss) else None,
            "looks_without_gain": self.looks_without_gain,
            "schedule": self.schedule.to_dict(),
            "guard": self.guard.to_dict(),
        }

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> TrainState:
        """The state that to_dict gave."""
        best = math.inf if saved["best_loss"] is None else saved["best_loss"]
        return cls(
            Schedule(**saved["schedule"]), saved["step"], saved["num_tokens"], saved["spent_s"], saved["look_s"], best,
            saved["looks_without_gain"], SpikeGuard.from_dict(saved["guard"]),
        )  # fmt: skip
