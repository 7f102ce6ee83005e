"""GenerationConfig: ranges, the file, and whose word counts."""

import json
from pathlib import Path

import pytest
from transformers import GenerationConfig as HuggingFaceConfig

from duologue.errors import ConfigError, ModelFolderError
from duologue.generation.config import GenerationConfig, lay_over, read_generation_config, write_generation_config


def test_what_is_not_set_is_off() -> None:
    config = GenerationConfig()
    assert not config.is_sampling
    assert config.num_return_sequences == 1


@pytest.mark.parametrize(
    ("fields", "is_sampling"),
    [
        ({"temperature": 0.7}, True),
        ({"top_k": 5}, True),
        ({"do_sample": True}, True),
        ({"do_sample": False, "temperature": 0.7}, False),
        ({"do_sample": True, "temperature": 0}, False),
        ({"temperature": 0}, False),
        ({"repetition_penalty": 1.2}, False),
    ],
)
def test_when_tokens_are_drawn_by_chance(fields: dict[str, float], is_sampling: bool) -> None:
    assert GenerationConfig(**fields).is_sampling == is_sampling


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens: is 0"),
        ({"max_new_tokens": 5, "min_new_tokens": 6}, "min_new_tokens: is 6; expected 0 to max_new_tokens = 5"),
        ({"temperature": -0.1}, "temperature: is -0.1"),
        ({"top_k": -1}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"min_p": 2.0}, "min_p"),
        ({"repetition_penalty": 0.0}, "repetition_penalty"),
        ({"num_return_sequences": 0}, "num_return_sequences"),
        ({"num_return_sequences": 2}, "nothing is drawn by chance"),
        ({"stop_strings": ("",)}, "stop_strings"),
        ({"stop_strings": "END"}, "a list of texts"),
    ],
)
def test_a_setting_out_of_range_is_named(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GenerationConfig(**fields)


def test_the_file_is_read_back_and_transformers_reads_it(tmp_path: Path) -> None:
    config = GenerationConfig(temperature=0.7, top_p=0.9, max_new_tokens=60, stop_strings=("再见",))
    write_generation_config(tmp_path, config, eos_token_id=2, pad_token_id=0)
    read = read_generation_config(tmp_path)
    assert read.is_sampling
    assert (read.temperature, read.top_p, read.max_new_tokens, read.stop_strings) == (0.7, 0.9, 60, ("再见",))
    theirs = HuggingFaceConfig.from_pretrained(tmp_path)
    assert (theirs.do_sample, theirs.temperature, theirs.eos_token_id) == (True, 0.7, 2)


def test_a_greedy_file_holds_no_setting_of_sampling(tmp_path: Path) -> None:
    write_generation_config(tmp_path, GenerationConfig(temperature=0, top_k=5), eos_token_id=2, pad_token_id=0)
    fields = json.loads((tmp_path / "generation_config.json").read_text())
    assert fields == {"do_sample": False, "eos_token_id": 2, "pad_token_id": 0}


def test_what_others_wrote_is_left_alone(tmp_path: Path) -> None:
    fields = {"temperature": 0.6, "top_k": None, "num_beams": 4, "transformers_version": "5", "stop_strings": "END"}
    (tmp_path / "generation_config.json").write_text(json.dumps(fields))
    config = read_generation_config(tmp_path)
    assert not config.is_sampling  # as transformers: do_sample is not in the file
    assert config.stop_strings == ("END",)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_broken_file_is_one_clear_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "generation_config.json").write_text(text)
    with pytest.raises(ModelFolderError, match=r"generation_config\.json"):
        read_generation_config(tmp_path)


@pytest.mark.parametrize(
    ("base", "flags", "is_sampling"),
    [
        ({}, {}, False),
        ({}, {"temperature": "0.8"}, True),
        ({"do_sample": False}, {"top_k": "3"}, True),
        ({"do_sample": True, "temperature": 0.8, "num_return_sequences": 3}, {"temperature": "0"}, False),
        ({"do_sample": True, "temperature": 0.8, "top_p": 0.9}, {"do_sample": "false"}, False),
        ({"do_sample": True, "temperature": 0.8}, {"max_new_tokens": "7"}, True),
    ],
)
def test_a_flag_counts_more_than_the_file(base: dict[str, float], flags: dict[str, str], is_sampling: bool) -> None:
    assert lay_over(GenerationConfig(**base), flags).is_sampling == is_sampling


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"temperature": "0", "num_return_sequences": "2"}, "num_return_sequences"),
        ({"max_new_tokens": "many"}, "max_new_tokens: is 'many'; expected a whole number"),
        ({"temperature": "warm"}, "temperature: is 'warm'"),
        ({"temprature": "1"}, "did you mean temperature"),
    ],
)
def test_a_wrong_flag_is_named(flags: dict[str, str], message: str) -> None:
    base = GenerationConfig(do_sample=True, temperature=0.7, num_return_sequences=2)
    with pytest.raises(ConfigError, match=message):
        lay_over(base, flags)
