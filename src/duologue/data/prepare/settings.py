"""What is asked of a preparation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from duologue.config import require

ExecutorName = Literal["local", "ray"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides the outcome, and below what only decides how fast it comes.

    Attributes:
        tasks: how many parts the work is cut into; 0 = one for each 64 MB of text.
        validation_rows: how many rows to keep back, about, and at most one in ten.
        tokenizer: a folder with a tokenizer, where tokens are wanted.
        workers: how many tasks run at once.
    """

    tasks: int = 0
    keeps_duplicates: bool = False
    validation_rows: int = 500
    tokenizer: Path | None = None
    workers: int = 1
    executor: ExecutorName = "local"
    is_debug: bool = False

    def __post_init__(self) -> None:
        require(self.tasks >= 0, "--tasks", self.tasks, "at least 0 (0 = one for each 64 MB of text)")
        require(self.workers >= 1, "--workers", self.workers, "at least 1")
        require(self.validation_rows >= 0, "--validation-rows", self.validation_rows, "at least 0")
