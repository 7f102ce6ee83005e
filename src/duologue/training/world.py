"""The processes of one training run: who is who, and what they have to agree on.

``torchrun`` starts them and says in the environment who each is; without it there is one. Numbers that a clock, a
signal or a disk gives differ between processes, so they are taken from the first, or added up, before anything follows
from them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from duologue.errors import DuologueError, ProcessLostError

T = TypeVar("T")

# Where in its own source the transport found the fault, and at which port of this run: neither helps anybody.
NOISE = re.compile(r"^\[[^\]]*:\d+\] | \[[0-9a-fA-F.:]+\]:\d+")

PATIENCE = timedelta(days=1)  # one process may tokenise a whole corpus while the others wait
STEP_PATIENCE = timedelta(minutes=30)


@dataclass(frozen=True)
class World:
    """All processes of a run, seen from one of them.

    Attributes:
        rank: which one this is, counted from 0.
        local_size: processes on this machine.
        host: the group in which numbers on the processor are exchanged; None where there is one process.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    host: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there is no other process."""
        return self.size == 1

    def sum(self, values: Sequence[float]) -> list[float]:
        """The sums over all processes, in float64."""
        if self.is_alone:
            return list(values)
        numbers = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(numbers, group=self.host)
        return numbers.tolist()

    def first(self, value: T) -> T:
        """What the first process has: anything that JSON holds."""
        if self.is_alone:
            return value
        data = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        size = torch.tensor([len(data)])
        dist.broadcast(size, src=0, group=self.host)
        data = data if self.is_first else torch.empty(int(size), dtype=torch.uint8)
        dist.broadcast(data, src=0, group=self.host)
        return json.loads(data.numpy().tobytes())

    def gather(self, value: T) -> list[T]:
        """What each process has, in their order."""
        if self.is_alone:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value, group=self.host)
        return found

    def wait(self) -> None:
        """Returns once all processes have come here."""
        if not self.is_alone:
            dist.barrier(group=self.host)

    @contextmanager
    def first_goes_first(self) -> Iterator[None]:
        """The first process does what is inside while the others wait; they find it done."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()

    @contextmanager
    def listening(self, where: Callable[[], str]) -> Iterator[None]:
        """Turns the failure of an exchange into one line: another process is gone.

        Raises:
            ProcessLostError: in place of what torch or its transport raised.
        """
        try:
            yield
        except RuntimeError as error:
            reason = _why_lost(error)
            if self.is_alone or not reason:
                raise
            remedy = "the one that failed first says why; the same command carries on from the newest checkpoint"
            raise ProcessLostError(f"{where()}: lost the other processes: {reason}; {remedy}") from error


@contextmanager
def joined_world(device: str) -> Iterator[World]:
    """The world that torchrun has started this process in; leaves it at the end."""
    environment = os.environ
    size = int(environment.get("WORLD_SIZE", "1"))
    if size == 1 or "RANK" not in environment:
        yield World()
        return
    rank, local_rank = int(environment["RANK"]), int(environment["LOCAL_RANK"])
    if device == "cuda":
        torch.cuda.set_device(local_rank)
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=STEP_PATIENCE)
    host = dist.new_group(backend="gloo", timeout=PATIENCE)
    yield World(rank, size, local_rank, int(environment["LOCAL_WORLD_SIZE"]), host)
    dist.destroy_process_group()  # not after a failure: the others may never answer again


def _why_lost(error: RuntimeError) -> str:
    """What torch or its transport says of an exchange between processes that failed; nothing of any other error."""
    if isinstance(error, DuologueError) or not (isinstance(error, dist.DistError) or "gloo" in str(error)):
        return ""
    return NOISE.sub("", str(error).splitlines()[0]).partition(". This is")[0]
