"""Our engine on the bench."""

import io

import pytest
import torch
from rich.console import Console

from duologue.errors import ConfigError
from duologue.generation.engine import Engine
from duologue.generation.engine_speed import (
    OURS,
    measure_engine,
    measure_kv_memory,
    memory_load,
    random_engine,
    seconds_to_read,
    writing,
)
from duologue.generation.speed import Load, random_prompt
from duologue.generation.speed_report import render_speed


@pytest.fixture(scope="module")
def tiny() -> Engine:
    return random_engine("tiny")


@pytest.mark.parametrize("num_beams", [1, 3])
def test_replies_are_as_long_as_asked_for_and_read_their_prompt_anew(
    tiny: Engine, num_beams: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt, outputs, generate = random_prompt(40, tiny.model.vocab_size), [], tiny.generate
    monkeypatch.setattr(tiny, "generate", lambda *words: outputs.append(generate(*words)) or outputs[-1])
    first, second = (writing(tiny)(prompt, num_beams, 9) for _ in range(2))
    assert len(first) == 9
    assert first == second
    assert [output.stats.cached_tokens for output in outputs] == [0, 0]


def test_memory_is_that_of_the_slots_in_use(tiny: Engine) -> None:
    kv = measure_kv_memory(tiny)
    config = tiny.model.config
    token_bytes = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * 4
    last = 1  # is never run
    assert kv.one_stream_bytes == (kv.prompt_tokens + kv.new_tokens - last) * token_bytes
    assert kv.one_stream_bytes < kv.beams_bytes <= token_bytes * (kv.prompt_tokens + 8 * kv.new_tokens)
    assert kv.ratio == kv.beams_bytes / kv.one_stream_bytes


def test_memory_is_measured_with_what_the_context_holds() -> None:
    assert memory_load(4096) == (1000, 256)
    assert memory_load(1100) == (844, 256)
    assert memory_load(128) == (96, 32)


def test_what_is_told_is_what_was_measured(tiny: Engine) -> None:
    loads = [Load(1, 16), Load(2, 16)]
    other = {"other": writing(tiny)}
    found = measure_engine(tiny, loads, num_new_tokens=3, num_rounds=1, others=other)
    assert [(speed.engine, speed.load) for speed in found.speeds] == [
        (name, load) for load in loads for name in (OURS, "other")
    ]
    matrices = [weight.numel() for weight in tiny.model.parameters() if weight.ndim > 1]
    assert found.weight_bytes == 4 * sum(matrices)
    assert found.floor_ms == pytest.approx(found.weight_bytes / found.read_gb_per_s / 1e6)
    assert found.dtype == "float32"
    console = Console(file=io.StringIO(), width=80)
    console.print(render_speed(found))
    shown = console.file.getvalue()
    assert shown.count("other") == 2
    assert f"{found.floor_ms:.2f} ms" in shown
    assert "…" not in shown


def test_reading_more_takes_longer() -> None:
    small, large = (seconds_to_read(size, torch.device("cpu")) for size in (2**20, 2**26))
    assert small < large


def test_what_cannot_be_measured_is_refused(tiny: Engine) -> None:
    with pytest.raises(ConfigError, match=r"--contexts: is 4094; expected at most 4093"):
        measure_engine(tiny, [Load(1, 4094)], num_new_tokens=3, num_rounds=1)
    with pytest.raises(ConfigError, match="--shape: is 'huge'"):
        random_engine("huge")
    with pytest.raises(ConfigError, match="device: is 'warp'"):
        random_engine("tiny", "warp")
