"""A stage that does not fit into memory is refused before it starts, with flags that would make it fit."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from duologue.errors import ConfigError
from duologue.pipeline.memory import Setup, require_memory
from duologue.runtime import Machine
from duologue.training.config import StageConfig
from duologue.training.cost import GIB
from duologue.transformer.config import TransformerConfig
from duologue.transformer.lora import add_lora
from duologue.transformer.lora_config import LoRAConfig
from duologue.transformer.model import Transformer

CONFIG = StageConfig(sequence_length=128, batch_tokens=1024, dtype="float32")
LORA = LoRAConfig(rank=8)


def setup_of(
    name: str = "finetuning",
    config: StageConfig = CONFIG,
    lora: LoRAConfig | None = None,
    *,
    is_compiled: bool = False,
) -> Setup:
    shape = TransformerConfig(hidden_size=512, num_hidden_layers=4, intermediate_size=1536)
    model = add_lora(Transformer(shape, vocab_size=1000), lora or LoRAConfig(), seed=0)
    return Setup(name, model, config, is_compiled=is_compiled)


def machine_of(size_bytes: float) -> Machine:
    return Machine("test", 1, size_bytes / GIB, "cpu", {"float32": 1.0, "bfloat16": 1.0})


def needs(config: StageConfig = CONFIG, lora: LoRAConfig | None = None) -> int:
    return setup_of(config=config, lora=lora).memory(machine_of(0)).total


def test_what_fits_is_let_through() -> None:
    assert require_memory(setup_of(), machine_of(needs())).total == needs()


def test_a_machine_that_does_not_say_is_believed() -> None:
    assert require_memory(setup_of(), machine_of(0)).total == needs()


def refusal(setup: Setup, size_bytes: float) -> str:
    with pytest.raises(ConfigError) as caught:
        require_memory(setup, machine_of(size_bytes))
    return str(caught.value)


def test_what_does_not_fit_names_each_way_that_would() -> None:
    said = refusal(setup_of(), needs() - 1)
    assert said.startswith("finetuning: needs about 0.")
    assert re.search(r"\(weights 0\.\d+, gradients 0\.\d+, optimiser 0\.\d+, activations 0\.\d+\) of memory; h", said)
    assert "--finetuning.micro_batch_tokens 512, or --finetuning.sequence_length 64 " in said
    assert said.endswith("or --lora.rank 8")


def test_the_flags_that_it_names_do_fit() -> None:
    limit = needs(lora=LORA) * 0.7
    said = refusal(setup_of(), limit)
    tokens = int(re.search(r"--lora\.rank 8 --finetuning\.micro_batch_tokens (\d+)", said)[1])
    assert needs(replace(CONFIG, micro_batch_tokens=tokens), LORA) <= limit


def test_lora_is_no_remedy_for_pretraining_nor_for_lora() -> None:
    assert "lora" not in refusal(setup_of("pretraining"), needs() - 1)
    assert "--lora" not in refusal(setup_of(lora=LORA), needs(lora=LORA) - 1)


def test_long_rows_fit_where_the_compiler_is_left_out() -> None:
    config = replace(CONFIG, sequence_length=2048)
    assert refusal(setup_of(config=config, is_compiled=True), needs(config)).endswith("or --finetuning.compile off")
    assert "compile" not in refusal(setup_of(config=config), needs(config) - 1)


def test_a_machine_far_too_small_needs_a_smaller_model() -> None:
    assert refusal(setup_of(), 1000).endswith("; take a smaller model")
