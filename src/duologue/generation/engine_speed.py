"""Our engine on the bench: how fast it replies, what the machine would allow, and what its beams keep in memory."""

from __future__ import annotations

import dataclasses
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

import duologue
from duologue.config import require
from duologue.errors import ConfigError
from duologue.generation.config import GenerationConfig
from duologue.generation.engine import DTYPES, Engine
from duologue.generation.speed import SHAPES, Load, Speed, Write, measure_speed, random_prompt
from duologue.runtime import Machine, measure_machine
from duologue.tokenizer.config import TokenizerConfig
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.transformer.int8 import to_int8
from duologue.transformer.model import Transformer

OURS = "duologue"
SECONDS_OF_READING = 0.3
MEMORY_BEAMS, MEMORY_PROMPT, MEMORY_NEW = 8, 1000, 256  # less where the model's context is shorter


@dataclass(frozen=True, slots=True)
class KVMemory:
    """Keys and values of a search beside those of one stream.

    Attributes:
        one_stream_bytes, beams_bytes: the most that was in use at once, the prompt's included.
        ratio: of the two.
    """

    num_beams: int
    prompt_tokens: int
    new_tokens: int
    one_stream_bytes: int
    beams_bytes: int
    ratio: float


@dataclass(frozen=True, slots=True)
class EngineSpeed:
    """What was measured, and on what.

    Attributes:
        shape: the model's, in Hugging Face's names.
        weight_bytes: of the weights that each token is multiplied by.
        read_gb_per_s: 10^9 bytes a second at which the machine reads a buffer of that size again and again.
        floor_ms: the least time of a step: reading all these weights once.
    """

    machine: Machine
    versions: dict[str, str]
    num_threads: int
    device: str
    dtype: str
    shape: dict[str, Any]
    vocab_size: int
    num_parameters: int
    weight_bytes: int
    read_gb_per_s: float
    floor_ms: float
    num_new_tokens: int
    num_rounds: int
    speeds: list[Speed]
    kv_memory: dict[str, KVMemory]


def random_engine(shape: str, device: str = "cpu", dtype: str = "float32") -> Engine:
    """An engine over a model of a named shape whose weights were drawn by chance.

    Raises:
        ConfigError: there is no such shape, or no such device or number format here.
    """
    require(shape in SHAPES, "--shape", shape, f"one of {', '.join(SHAPES)}")
    require(dtype in DTYPES, "dtype", dtype, f"one of {', '.join(DTYPES)}")
    config, vocab_size = SHAPES[shape]
    torch.manual_seed(0)
    model = Transformer(config, vocab_size=vocab_size).eval().requires_grad_(False)
    for weight in model.parameters():
        if weight.ndim > 1:  # training starts with some of them at zero, which would make all tokens alike
            weight.normal_(std=0.02)
    # The bytes and the control tokens are enough: what the other tokens are called is not asked here.
    tokenizer = Tokenizer.train([], TokenizerConfig(vocab_size=300))
    try:
        model = model.to(device, DTYPES[dtype])
        return Engine(to_int8(model) if dtype == "int8" else model, tokenizer)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device: is {device!r}, which cannot hold the model here ({reason}); try cpu") from None


def measure_engine(
    engine: Engine,
    loads: Sequence[Load],
    *,
    num_new_tokens: int,
    num_rounds: int,
    others: Mapping[str, Write] | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> EngineSpeed:
    """Measures an engine; others with the same weights may take turns with it.

    Raises:
        ConfigError: a load does not fit into the model's context.
    """
    most = engine.context_length - num_new_tokens
    for load in loads:
        require(load.context <= most, "--contexts", load.context, f"at most {most}, which leaves room for the reply")
    model, weight = engine.model, engine.model.output_weight
    # An input embedding of its own is not read as a whole: a token takes one row of it.
    num_read = model.config.num_matrix_parameters + weight.numel()
    weight_bytes = num_read * weight.element_size()
    seconds = seconds_to_read(weight_bytes, weight.device)
    speeds = measure_speed(
        {OURS: writing(engine), **(others or {})}, loads, vocab_size=model.vocab_size,
        num_new_tokens=num_new_tokens, num_rounds=num_rounds, on_progress=on_progress,
    )  # fmt: skip
    return EngineSpeed(
        machine=measure_machine(),
        versions={"duologue": duologue.__version__, "python": platform.python_version(), "torch": torch.__version__},
        num_threads=torch.get_num_threads(),
        device=str(weight.device),
        dtype=str(weight.dtype).removeprefix("torch."),
        shape=dataclasses.asdict(model.config),
        vocab_size=model.vocab_size,
        num_parameters=model.num_parameters,
        weight_bytes=weight_bytes,
        read_gb_per_s=weight_bytes / seconds / 1e9,
        floor_ms=seconds * 1e3,
        num_new_tokens=num_new_tokens,
        num_rounds=num_rounds,
        speeds=list(speeds),
        kv_memory={OURS: measure_kv_memory(engine)},
    )


def writing(engine: Engine) -> Write:
    """The engine as what can be measured: each prompt is read anew."""

    def write(prompt_ids: list[int], num_beams: int, num_new_tokens: int) -> list[int]:
        engine.forget()
        return engine.generate(prompt_ids, exactly(num_beams, num_new_tokens)).sequences[0]

    return write


def exactly(num_beams: int, num_new_tokens: int) -> GenerationConfig:
    """A reply that may neither end earlier nor later."""
    return GenerationConfig(num_beams=num_beams, min_new_tokens=num_new_tokens, max_new_tokens=num_new_tokens)


def measure_kv_memory(engine: Engine) -> KVMemory:
    """What a search keeps in memory, as a multiple of what one stream keeps."""
    prompt_tokens, new_tokens = memory_load(engine.context_length)
    prompt_ids, found = random_prompt(prompt_tokens, engine.model.vocab_size), []
    for num_beams in (1, MEMORY_BEAMS):
        engine.forget()
        stats = engine.generate(prompt_ids, exactly(num_beams, new_tokens)).stats
        found.append(stats.peak_slots * engine.arena.slot_bytes)
    one, beams = found
    return KVMemory(MEMORY_BEAMS, prompt_tokens, new_tokens, one, beams, beams / one)


def memory_load(context_length: int) -> tuple[int, int]:
    """Tokens of the prompt and of the reply with which memory is measured."""
    new_tokens = min(MEMORY_NEW, context_length // 4)
    return min(MEMORY_PROMPT, context_length - new_tokens), new_tokens


def seconds_to_read(num_bytes: int, device: torch.device) -> float:
    """The least time in which a buffer is read, when it was read just before: small ones stay in the processor."""
    buffer, best = torch.ones(max(1, num_bytes // 4), device=device), float("inf")
    end = time.perf_counter() + SECONDS_OF_READING
    while best == float("inf") or time.perf_counter() < end:
        start = time.perf_counter()
        buffer.sum().item()  # item() waits for a device that works on its own
        best = min(best, time.perf_counter() - start)
    return best
