"""Whether a stage fits into the machine's memory, settled before anything long begins."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace

from duologue.errors import ConfigError
from duologue.runtime import Machine
from duologue.training.config import StageConfig
from duologue.training.cost import GIB, MemoryEstimate, estimate_memory, memory_bytes, shared_memory
from duologue.training.native_kernels import attention_name, is_native_here
from duologue.training.spread import way_of
from duologue.training.world import World
from duologue.transformer.lora import add_lora
from duologue.transformer.lora_config import LoRAConfig
from duologue.transformer.model import Transformer

USUAL_LORA = LoRAConfig(rank=8)
SHORTEST_ROW = 64


@dataclass(frozen=True)
class Setup:
    """A stage as it would be trained.

    Attributes:
        name: of the stage.
        model: may be on the meta device.
        is_compiled: whether torch.compile will be used.
        world: the processes that share the work.
    """

    name: str
    model: Transformer
    config: StageConfig
    is_compiled: bool
    world: World = World()  # noqa: RUF009

    def memory(self, machine: Machine) -> MemoryEstimate:
        """What it holds in memory."""
        config = self.config
        dtype = machine.best_dtype if config.dtype == "auto" else config.dtype
        is_native = is_native_here(config, dtype, machine.device, self.model.config.head_dim)
        attention = attention_name(is_native=is_native, is_compiled=self.is_compiled)
        needed = estimate_memory(
            self.model, dtype=dtype, num_rows=config.rows_at_once, sequence_length=config.sequence_length,
            attention=attention, is_compiled=self.is_compiled, is_counted=config.start == "counts",
            is_accumulating=config.rows_at_once < config.rows_a_step, vocabulary_share=config.vocabulary_share,
        )  # fmt: skip
        return shared_memory(needed, way_of(self.model, self.world, config.parallel), self.world.size)

    def limit(self, machine: Machine) -> int:
        """What there is for it in bytes; 0 where nobody knows."""
        return memory_bytes(machine) // (1 if machine.device == "cuda" else self.world.local_size)


def require_memory(setup: Setup, machine: Machine) -> MemoryEstimate:
    """What a stage needs, where the machine has as much.

    Raises:
        ConfigError: it has less; the message says which flags would make the stage fit.
    """
    limit, needed = setup.limit(machine), setup.memory(machine)
    if not limit or needed.total <= limit:
        return needed
    remedies = (_smaller_batches(setup), _shorter_rows(setup), _with_lora(setup), _without_compiler(setup),
                _without_counts(setup))  # fmt: skip
    fitting = [next((flags for flags, milder in way if milder.memory(machine).total <= limit), "") for way in remedies]
    remedy = ", or ".join(filter(None, fitting))
    remedy = f"what would fit: {remedy}" if remedy else "take a smaller model"
    raise ConfigError(f"{setup.name}: {describe_memory(needed, machine)}; {remedy}")


def describe_memory(needed: MemoryEstimate, machine: Machine) -> str:
    """``needs about 2.31 GiB (weights 0.51, ...) of memory; here are 23.5``."""
    limit = memory_bytes(machine)
    return f"needs about {needed} of memory" + (f"; here are {limit / GIB:.1f}" if limit else "")


def _smaller_batches(setup: Setup) -> Iterator[tuple[str, Setup]]:
    rows, length = setup.config.rows_at_once, setup.config.sequence_length
    while rows > 1:
        rows //= 2
        config = replace(setup.config, micro_batch_tokens=rows * length)
        yield f"--{setup.name}.micro_batch_tokens {rows * length}", replace(setup, config=config)


def _shorter_rows(setup: Setup) -> Iterator[tuple[str, Setup]]:
    length = setup.config.sequence_length
    while length > SHORTEST_ROW:
        length //= 2
        config = replace(setup.config, micro_batch_tokens=length, sequence_length=length)
        flags = f"--{setup.name}.sequence_length {length} --{setup.name}.micro_batch_tokens {length}"
        yield flags, replace(setup, config=config)


def _without_compiler(setup: Setup) -> Iterator[tuple[str, Setup]]:
    if setup.is_compiled:  # compiled attention keeps its weights, which grow with the square of the row
        yield f"--{setup.name}.compile off", replace(setup, is_compiled=False)


def _without_counts(setup: Setup) -> Iterator[tuple[str, Setup]]:
    if setup.config.start == "counts":
        yield f"--{setup.name}.start random", replace(setup, config=replace(setup.config, start="random"))


def _with_lora(setup: Setup) -> Iterator[tuple[str, Setup]]:
    if setup.name != "finetuning" or not setup.model.output_weight.requires_grad:
        return
    light = replace(setup, model=add_lora(copy.deepcopy(setup.model), USUAL_LORA, seed=0))
    flags = f"--lora.rank {USUAL_LORA.rank}"
    yield flags, light
    yield from ((f"{flags} {more}", milder) for more, milder in _smaller_batches(light))
