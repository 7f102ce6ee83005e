"""How fast this machine trains a model of some shape: tokens a second, and how near that is to what it could do."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch

from duologue.runtime import Machine, keep_freed_memory, measure_machine
from duologue.training.config import StageConfig
from duologue.training.cost import GIB, MemoryEstimate, estimate_memory
from duologue.training.native_kernels import attention_name
from duologue.training.timed_step import TimedStep, random_tokens
from duologue.transformer.config import TransformerConfig
from duologue.transformer.model import Transformer


@dataclass(frozen=True)
class TrainingSpeed:
    """What was measured, and on what.

    Attributes:
        first_step_s: what users wait for at the start, compiling included.
        step_s: median of the others.
        share_of_peak: operations a second over those of a large matrix product in the same number format.
        memory: what training was expected to hold.
    """

    machine: Machine
    num_parameters: int
    batch_tokens: int
    dtype: str
    is_compiled: bool
    is_native: bool
    matrix_optimizer: str
    first_step_s: float
    step_s: float
    tokens_per_s: float
    share_of_peak: float
    memory: MemoryEstimate

    def __str__(self) -> str:
        """Two lines."""
        ways = ["compiled" if self.is_compiled else "eager", "C++ kernels" if self.is_native else "torch's kernels"]
        how = f"{self.dtype}, {', '.join(ways)}, {self.matrix_optimizer}"
        peak = f"{self.machine.gflops[self.dtype]:,.0f} GFLOP/s"
        return (
            f"{self.num_parameters / 1e6:,.1f} M parameters, {self.batch_tokens:,} tokens a step; {how}\n"
            f"{self.tokens_per_s:,.0f} tokens/s, {self.share_of_peak:.0%} of {peak}; a step {self.step_s:.2f} s, "
            f"the first {self.first_step_s:.0f} s; {self.memory.total / GIB:.1f} GiB"
        )


def measure_training(
    shape: TransformerConfig,
    config: StageConfig,
    *,
    vocab_size: int,
    num_steps: int,
    on_step: Callable[[int], None] = lambda step: None,
) -> TrainingSpeed:
    """Takes steps on random tokens: one that warms up, then ``num_steps`` that count."""
    keep_freed_memory()
    if config.threads:
        torch.set_num_threads(config.threads)
    machine = measure_machine()
    dtype = machine.best_dtype if config.dtype == "auto" else config.dtype
    step = TimedStep(shape, config, vocab_size=vocab_size, dtype=dtype, is_compiled=config.compile == "on")
    tokens, rows, length = random_tokens(vocab_size), config.rows_a_step, config.sequence_length
    taken = []
    for number in range(num_steps + 1):
        on_step(number)
        taken.append(step.take(tokens(rows, length)).seconds)
    step_s, is_compiled = statistics.median(taken[1:]), step.compiler.is_compiled
    with torch.device("meta"):
        model = Transformer(shape, vocab_size=vocab_size)
    memory = estimate_memory(
        model, dtype=dtype, num_rows=config.rows_at_once, sequence_length=length,
        attention=attention_name(is_native=step.is_native, is_compiled=is_compiled), is_compiled=is_compiled,
        is_accumulating=config.rows_at_once < config.rows_a_step,
    )  # fmt: skip
    flops = shape.flops_per_token(vocab_size=vocab_size, sequence_length=length)
    tokens_per_s = rows * length / step_s
    return TrainingSpeed(
        machine, model.num_parameters, rows * length, dtype, is_compiled, step.is_native, config.matrix_optimizer,
        taken[0], step_s, tokens_per_s, tokens_per_s * flops / (machine.gflops[dtype] * 1e9), memory,
    )  # fmt: skip
