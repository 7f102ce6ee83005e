"""How fast replies are written: the time to the first token and the time of a step, by beams and by context.

Any engine can be measured beside ours: it is a function that writes so many tokens after a prompt. The engines take
turns in each round, so that a slow phase of the machine hits all of them alike.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from duologue.transformer.config import TransformerConfig

# Writes exactly so many new tokens: (prompt_ids, num_beams, num_new_tokens).
Write = Callable[[list[int], int, int], object]
# Seconds; another clock for tests.
Clock = Callable[[], float]


def _shape(hidden: int, layers: int, heads: int, kv_heads: int, intermediate: int) -> TransformerConfig:
    return TransformerConfig(
        hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv_heads,
        intermediate_size=intermediate, max_position_embeddings=4096,
    )  # fmt: skip


# Models to measure with, by their parameters: shape and vocabulary.
SHAPES = {
    "tiny": (_shape(64, 2, 2, 1, 128), 512),
    "10m": (_shape(384, 6, 6, 2, 1024), 8192),
    "30m": (_shape(512, 8, 8, 4, 1344), 8192),
    "110m": (_shape(768, 16, 12, 4, 2048), 16384),
}


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of an engine: so many beams after a prompt of so many tokens."""

    num_beams: int
    context: int


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast one engine is under one load.

    Attributes:
        engine: its name.
        first_token_ms: from the call to the first token: the prompt is read in that time. Median of the rounds.
        step_ms: time of each further token, of all beams together. Median of the rounds.
        times_first_token, times_step: the same as multiples of what the first engine needs in the same round; medians.
        rounds: first_token_ms and step_ms of each.
    """

    engine: str
    load: Load
    first_token_ms: float
    step_ms: float
    times_first_token: float
    times_step: float
    rounds: list[tuple[float, float]]


def measure_speed(
    engines: Mapping[str, Write],
    loads: Sequence[Load],
    *,
    vocab_size: int,
    num_new_tokens: int,
    num_rounds: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    clock: Clock = time.perf_counter,
) -> Iterator[Speed]:
    """The speed of each engine under each load, a load after the other.

    Args:
        engines: by name; the first one is what the others are compared with.
        loads: with the contexts that all engines can see, new tokens included.
        vocab_size: prompts are drawn evenly from so many tokens.
        num_new_tokens: 2 or more; a step is what all but the first take on average.
        num_rounds: each engine has one turn in each, after one that is not counted.
        on_progress: told how many turns of how many are done.
        clock: in seconds.
    """
    num_done, total = 0, len(loads) * len(engines) * num_rounds
    for load in loads:
        prompt_ids = random_prompt(load.context, vocab_size)
        rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in engines}
        for write in engines.values():
            write(prompt_ids, load.num_beams, 2)
        for _ in range(num_rounds):
            for name, write in engines.items():
                rounds[name].append(_turn(write, prompt_ids, load.num_beams, num_new_tokens, clock))
                num_done += 1
                on_progress(num_done, total)
        base = next(iter(rounds.values()))
        yield from (_speed(name, load, found, base) for name, found in rounds.items())


def random_prompt(length: int, vocab_size: int) -> list[int]:
    """So many tokens, the same for the same length."""
    chances = random.Random(length)
    return [chances.randrange(vocab_size) for _ in range(length)]


def _turn(write: Write, prompt_ids: list[int], num_beams: int, num_new: int, clock: Clock) -> tuple[float, float]:
    start = clock()
    write(prompt_ids, num_beams, 1)
    middle = clock()
    write(prompt_ids, num_beams, num_new)
    first_s, all_s = middle - start, clock() - middle
    return first_s * 1e3, (all_s - first_s) / (num_new - 1) * 1e3


def _speed(name: str, load: Load, rounds: list[tuple[float, float]], base: list[tuple[float, float]]) -> Speed:
    pairs = list(zip(rounds, base, strict=True))
    return Speed(
        engine=name,
        load=load,
        first_token_ms=median(first for first, _ in rounds),
        step_ms=median(step for _, step in rounds),
        times_first_token=median(own[0] / other[0] for own, other in pairs),
        times_step=median(own[1] / other[1] for own, other in pairs),
        rounds=rounds,
    )
