"""What a stage decides by looking at machine and clock: once, and kept from then on.

A second start might measure another speed, find other cores or come to a step at another time, and so compute other
numbers. What is written here holds for all later starts, also for those that come to the step a second time: with the
file of one run, another one ends with the same bits.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from duologue.durable_files import make_folder, replace_file
from duologue.errors import RunFolderError
from duologue.runtime import DtypeName, Machine
from duologue.training.config import StageConfig
from duologue.training.native_kernels import is_native_here
from duologue.training.world import World


class End(NamedTuple):
    """Where the clock has laid the end of a stage: from ``step`` on, these two hold."""

    step: int
    cooldown_start: int
    total_steps: int


@dataclass(frozen=True)
class Decisions:
    """How a stage computes.

    Attributes:
        is_native: attention and loss by kernels of our own.
        num_threads: torch's on the processor; sums are added up in another order with another number of them.
        num_processes: likewise.
        rows_asked: rows that the settings want to go through the model at once in a process.
        rows_at_once: rows that do; fewer where memory ended.
        ends: where the clock has laid the end, each one from its step on.
        looks: the steps after which the clock asked for a look at the validation data.
    """

    dtype: DtypeName
    is_compiled: bool
    is_native: bool
    num_threads: int
    num_processes: int
    rows_asked: int
    rows_at_once: int
    ends: tuple[End, ...] = ()
    looks: tuple[int, ...] = ()

    @classmethod
    def of(
        cls, config: StageConfig, machine: Machine, world: World, *, total_steps: int, head_dim: int
    ) -> Decisions:
        """Those of a stage that begins."""
        dtype = machine.best_dtype if config.dtype == "auto" else config.dtype
        num_threads = config.threads or torch.get_num_threads()
        rows, is_compiled = config.rows_at_once, config.is_worth_compiling(total_steps)
        is_native = is_native_here(config, dtype, machine.device, head_dim)
        return cls(dtype, is_compiled, is_native, num_threads, world.size, rows_asked=rows, rows_at_once=rows)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Decisions:
        """What JSON has made of them."""
        ends = tuple(End(*end) for end in fields["ends"])
        return cls(**(dict(fields) | {"ends": ends, "looks": tuple(fields["looks"])}))

    def adapted(self, now: Decisions) -> Decisions:
        """The same for a start as it would be decided ``now``: with other processes, threads are shared out anew."""
        adapted = replace(self, is_native=self.is_native and now.is_native)
        if self.num_processes != now.num_processes:
            adapted = replace(adapted, num_processes=now.num_processes, num_threads=now.num_threads)
        if self.rows_asked != now.rows_asked:
            adapted = replace(adapted, rows_asked=now.rows_asked, rows_at_once=now.rows_asked)
        return adapted

    def end_at(self, step: int) -> End | None:
        """What was decided at this step."""
        return next((end for end in self.ends if end.step == step), None)

    def is_end_known(self, step: int) -> bool:
        """Whether a run has been past this step's start, so that the clock has nothing more to say there."""
        return any(end.step > step for end in self.ends) or any(look > step for look in self.looks)

    def is_look_known(self, step: int) -> bool:
        """Whether a run has been past the look after this step."""
        return any(look >= step for look in self.looks) or any(end.step >= step for end in self.ends)

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Computes on as many threads as were decided, then on as many as before."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.num_threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@dataclass
class DecisionFile:
    """The decisions of a stage, in ``decisions.json``; written by the first process, the same in all.

    Attributes:
        now: those in force.
        is_kept: whether they were there before this start.
    """

    path: Path
    identity: Mapping[str, Any]
    world: World
    now: Decisions
    is_kept: bool

    @classmethod
    def open(
        cls, path: Path, identity: Mapping[str, Any], world: World, *, first: Decisions, saved: Mapping[str, Any] | None
    ) -> DecisionFile:
        """What the file says of a run of this identity, else the checkpoint ``saved``, else ``first``; then kept.

        Raises:
            RunFolderError: the file cannot be written.
        """
        written = _kept(path, identity)
        kept = written or (Decisions.from_dict(saved) if saved else None)
        now = kept.adapted(first) if kept else first
        agreed = Decisions.from_dict(world.first(asdict(now)))
        file = cls(path, identity, world, agreed, is_kept=world.first(kept is not None))
        if file.now != written:
            file._write()
        return file

    def change(self, **changes: Any) -> None:
        """Decides something, for good."""
        self.now = replace(self.now, **changes)
        self._write()

    def _write(self) -> None:
        if not self.world.is_first:
            return
        try:
            make_folder(self.path.parent)
            text = json.dumps(asdict(self.now) | {"identity": self.identity}, indent=2) + "\n"
            replace_file(self.path, text.encode())
        except OSError as error:
            reason = error.strerror or error
            raise RunFolderError(f"{self.path}: cannot be written: {reason}; free space and start again") from None


def _kept(path: Path, identity: Mapping[str, Any]) -> Decisions | None:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        is_ours = fields.pop("identity") == json.loads(json.dumps(identity))
        return Decisions.from_dict(fields) if is_ours else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
