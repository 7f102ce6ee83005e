"""What a stage decides by looking at the machine: once, at its first start, and kept from then on.

A second start might measure another speed or find other cores, and so compute other numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from duologue.durable_files import replace_file
from duologue.errors import RunFolderError
from duologue.runtime import DtypeName, Machine
from duologue.training.config import StageConfig


@dataclass(frozen=True)
class Decisions:
    """How a stage computes.

    Attributes:
        num_threads: torch's on the processor; sums are added up in another order with another number of them.
    """

    dtype: DtypeName
    is_compiled: bool
    num_threads: int

    @classmethod
    def of(cls, config: StageConfig, machine: Machine, *, total_steps: int) -> Decisions:
        """Those of a stage that begins."""
        dtype = machine.best_dtype if config.dtype == "auto" else config.dtype
        return cls(dtype, config.is_worth_compiling(total_steps), config.threads or torch.get_num_threads())

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Computes on as many threads as were decided, then on as many as before."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.num_threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def decide_once(path: Path, first: Decisions, identity: Mapping[str, Any]) -> Decisions:
    """The decisions that a run of this identity has kept in a file; where there are none, ``first``, which is kept.

    Raises:
        RunFolderError: the file cannot be written.
    """
    kept = _kept(path, identity)
    if kept is not None:
        return kept
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, (json.dumps(asdict(first) | {"identity": identity}, indent=2) + "\n").encode())
    except OSError as error:
        reason = error.strerror or error
        raise RunFolderError(f"{path}: cannot be written: {reason}; free space and start again") from None
    return first


def _kept(path: Path, identity: Mapping[str, Any]) -> Decisions | None:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        is_ours = fields.pop("identity") == json.loads(json.dumps(identity))
        return Decisions(**fields) if is_ours else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
