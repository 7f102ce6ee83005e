"""What a stage is: a name, settings, batches, a folder; and what it tells while it trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from duologue.data.loader import Loader
from duologue.runtime import Machine
from duologue.training.config import StageConfig
from duologue.training.harder_rows import HarderRows
from duologue.training.metrics import StepMetrics
from duologue.transformer.model import Transformer


@dataclass(frozen=True)
class Stage:
    """What is to be trained, on what, and where it is kept.

    Attributes:
        started: time.monotonic() when the stage began, from which ``minutes`` count.
        identity: what must be the same for a checkpoint to be continued.
        prepare: gives a model its first weights, by a number format to compute in; None where it has them.
        harder: makes the training rows harder as they are read; None where they stay as they are.
    """

    name: str
    config: StageConfig
    train: Loader
    validation: Loader | None
    folder: Path
    machine: Machine
    started: float
    identity: dict[str, Any]
    prepare: Callable[[Transformer, torch.dtype], None] | None = None
    harder: HarderRows | None = None


@dataclass
class Hooks:
    """What a stage tells while it trains; each is called on the training thread."""

    on_step: Callable[[StepMetrics, float | None], None] = lambda metrics, seconds_left: None
    on_look: Callable[[Transformer, StepMetrics], None] = lambda model, metrics: None
    on_note: Callable[[str], None] = lambda note: None
