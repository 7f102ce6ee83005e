"""Starts ``duologue`` in forks of a process that has loaded everything, so that a start takes milliseconds.

Reads a JSON object a line: ``{"start": words, "log": path, "faults": {...}}`` is answered by the process number,
``{"wait": number}`` by its exit code, negative for the signal that ended it. ``faults`` are what is wrong with the
machine of that one process: see ``_FAULTS``.
"""

from __future__ import annotations

import ctypes
import functools
import io
import json
import os
import random
import resource
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import matplotlib.backends.backend_agg  # noqa: F401
import torch._dynamo
import torch.distributed.checkpoint
import torch.distributed.fsdp
import torch.distributed.optim
from matplotlib.figure import Figure
from tests.faults.faulty_os import FaultyOs

import duologue.cli.finetune
import duologue.cli.pretrain
import duologue.cli.up
import duologue.pipeline.plan
import duologue.pipeline.stages
import duologue.pipeline.up
import duologue.transformer.lora  # noqa: F401
from duologue import durable_files, runtime
from duologue.cli.main import main

CAPABILITY_VERSION, CAP_DAC_OVERRIDE = 0x20080522, 1  # linux/capability.h


def start(words: list[str], log: str, faults: dict[str, Any]) -> int:
    """The number of a new process with a process group of its own."""
    return os.fork() or become(words, log, faults)


def become(words: list[str], log: str, faults: dict[str, Any]) -> NoReturn:
    os.setpgid(0, 0)
    sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    code = 70
    try:
        for name, value in faults.items():
            _FAULTS[name](value)
        code = main(words)
        if "operation" in faults and code == 0:
            print(f"operations: {durable_files.os.count}", file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _fail_an_operation(fault: tuple[int, str]) -> None:
    durable_files.os = FaultyOs(*fault)


def _limit_files(size_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))


def _limit_memory(more_bytes: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + more_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _obey_permissions(must: bool) -> None:
    """Root may write what nobody may; without this capability it may not."""
    header, sets = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    assert must
    assert libc.capget(header, sets) == 0
    sets[0] &= ~(1 << CAP_DAC_OVERRIDE)  # effective
    assert libc.capset(header, sets) == 0


def _make_clock_jump(years: float) -> None:
    real = time.time
    time.time = lambda: max(0.0, real() + random.uniform(-years, years) * 365 * 86400)


_FAULTS: dict[str, Callable[[Any], None]] = {
    "operation": _fail_an_operation,
    "file_bytes": _limit_files,
    "more_memory_bytes": _limit_memory,
    "environment": os.environ.update,
    "obeys_permissions": _obey_permissions,
    "clock_years": _make_clock_jump,
}


def _load_all() -> None:
    """What else each start would do again: measuring the machine, finding fonts."""
    torch.set_num_threads(1)
    runtime._gemm_gflops = functools.cache(runtime._gemm_gflops)
    runtime.measure_machine()
    figure = Figure(layout="constrained")
    figure.add_subplot().set(title="title", xlabel="x", ylabel="y")
    figure.savefig(io.BytesIO())


if __name__ == "__main__":
    _load_all()
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if "start" in order:
            print(start(order["start"], order["log"], order["faults"]), flush=True)
        else:
            print(os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1]), flush=True)
