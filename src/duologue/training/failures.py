"""How often a run of many processors stops unasked, how often it should save, and what both cost; needs no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

# Of Llama 3's 405 B run: 419 unexpected stops in 54 days on 16,384 GPUs. Source: arXiv:2407.21783, section 3.3.4.
PROCESSOR_DAYS_PER_FAILURE = 54 * 16_384 / 419
RESTART_S = 600.0  # until a stopped run computes again: noticed, started, loaded (assumed)


@dataclass(frozen=True)
class Outlook:
    """What saving and failing take from a run.

    Attributes:
        failure_days: between two failures.
        expected_failures: in the whole run.
        checkpoint_bytes: weights and optimiser state in float32.
        checkpoint_s: training waits so long for each.
        interval_s: between two checkpoints, such that least is lost.
        saving_share: of the time, spent on saving.
        failing_share: of the time, lost by failures: half an interval and a restart each.
    """

    failure_days: float
    expected_failures: float
    checkpoint_bytes: int
    checkpoint_s: float
    interval_s: float
    saving_share: float
    failing_share: float

    @property
    def effective_share(self) -> float:
        """Of the time, spent on training."""
        return max(0.0, 1 - self.saving_share - self.failing_share)


def outlook_of(*, world_size: int, training_days: float, checkpoint_bytes: int, disk_gb_s: float) -> Outlook:
    """What to expect of a run of so many days on so many processors.

    The interval is that of Young 1974, sqrt(2 x time to save x time between failures), the first order of Daly 2006
    ("A higher order estimate of the optimum checkpoint interval for restart dumps").
    """
    failure_days = PROCESSOR_DAYS_PER_FAILURE / world_size
    failure_s, saving_s = failure_days * 86_400, checkpoint_bytes / (disk_gb_s * 1e9)
    interval_s = math.sqrt(2 * saving_s * failure_s)
    saving_share = saving_s / (interval_s + saving_s)
    failing_share = min(1.0, (interval_s / 2 + RESTART_S) / failure_s)
    failures = training_days / max(1e-9, 1 - saving_share - failing_share) / failure_days
    return Outlook(failure_days, failures, checkpoint_bytes, saving_s, interval_s, saving_share, failing_share)
