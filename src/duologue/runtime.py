"""The machine: what it has, how fast it multiplies, and how torch is set up for it. Nothing happens at import."""

from __future__ import annotations

import ctypes
import os
import platform
import random
import sys
import time
from dataclasses import dataclass
from typing import Literal

import torch

DtypeName = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Machine:
    """What a plan needs to know of the machine that it runs on.

    Attributes:
        gflops: measured matrix-product rate in 10^9 operations a second, by dtype name.
    """

    processor: str
    num_cores: int
    memory_gib: float
    device: str
    gflops: dict[str, float]

    @property
    def best_dtype(self) -> DtypeName:
        """The number format that this machine multiplies faster; bfloat16 has to win clearly."""
        return "bfloat16" if self.gflops["bfloat16"] > 1.2 * self.gflops["float32"] else "float32"


def measure_machine() -> Machine:
    """Looks at the machine and times matrix products for about half a second."""
    device = best_device()
    rates = {name: _gemm_gflops(getattr(torch, name), device) for name in ("float32", "bfloat16")}
    return Machine(_processor_name(), num_cores(), memory_gib(), device, rates)


def best_device() -> str:
    """``"cuda"`` where there is a usable GPU, else ``"cpu"``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_gib() -> float:
    """Main memory of the machine in GiB; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, ValueError, OSError):
        return 0.0


def seed_everything(seed: int) -> None:
    """Seeds Python's and torch's generators."""
    random.seed(seed)
    torch.manual_seed(seed)


def keep_freed_memory() -> bool:
    """Tells glibc to keep freed blocks for the next step instead of giving them back page by page.

    A training step frees and takes the same large buffers again and again, and fresh pages cost ten times a reused
    buffer. Returns whether the C library took the setting (only glibc has it).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    trim_threshold, top_pad, mmap_max = -1, -2, -4
    settings = ((mmap_max, 0), (trim_threshold, 2**31 - 1), (top_pad, 2**26))
    return all(bool(mallopt(parameter, value)) for parameter, value in settings)


def _processor_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        return names[0] if names else platform.processor()
    except OSError:
        return platform.processor() or platform.machine()


def _gemm_gflops(dtype: torch.dtype, device: str, *, size: int = 1024, seconds: float = 0.2) -> float:
    a = torch.randn(size, size, device=device).to(dtype)
    best = float("inf")
    end = time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(2):
            a @ a
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, (time.perf_counter() - start) / 2)
    return 2 * size**3 / best / 1e9
