"""Flags become settings, and the help page has them in groups."""

import dataclasses
import re

import pytest

from duologue.cli import generate
from duologue.cli.main import main
from duologue.cli.model_arguments import GROUPS, generation_config
from duologue.cli.parser import parse
from duologue.generation.config import GenerationConfig


def config_of(*flags: str, base: GenerationConfig | None = None) -> GenerationConfig:
    arguments = parse("generate", generate, ["model", "--input", "-", *flags])
    return generation_config(arguments, base or GenerationConfig())


@pytest.mark.parametrize(
    ("flags", "settings"),
    [
        ([], {}),
        (["--suppress-tokens", "5,9"], {"suppress_tokens": (5, 9)}),
        (["--suppress-tokens", "5", "--suppress-tokens", "[9,7]"], {"suppress_tokens": (5, 9, 7)}),
        (["--bad-words-ids", "5,9"], {"bad_words_ids": ((5, 9),)}),
        (["--bad-words-ids", "5,9", "--bad-words-ids", "7"], {"bad_words_ids": ((5, 9), (7,))}),
        (["--bad-words-ids", "[[5,9],[7]]"], {"bad_words_ids": ((5, 9), (7,))}),
        (["--sequence-bias", "[[[5,9],-2.0]]"], {"sequence_bias": (((5, 9), -2.0),)}),
        (["--sequence-bias", "[[5,9],-2]", "--sequence-bias", "[[7],1]"],
         {"sequence_bias": (((5, 9), -2.0), ((7,), 1.0))}),
        (["--stop-strings", "a,b", "--stop-strings", "[1]"], {"stop_strings": ("a,b", "[1]")}),
        (["--choices", "yes, of course", "--choices", "不"], {"choices": ("yes, of course", "不")}),
        (["--regex", "[0-9]+,?"], {"regex": "[0-9]+,?"}),
        (["--prefix", "Well, "], {"prefix": "Well, "}),
        (["--num-beams", "2", "--early-stopping", "true"], {"num_beams": 2, "early_stopping": True}),
        (["--num-beams", "2", "--early-stopping"], {"num_beams": 2, "early_stopping": True}),
        (["--num-beams", "2", "--early-stopping", "false"], {"num_beams": 2, "early_stopping": False}),
        (["--num-beams", "2", "--early-stopping", "never"], {"num_beams": 2, "early_stopping": "never"}),
        (["--num-beams", "2", "--beam-mode", "stochastic"], {"num_beams": 2, "beam_mode": "stochastic"}),
    ],
)  # fmt: skip
def test_flags_become_settings(flags: list[str], settings: dict[str, object]) -> None:
    assert config_of(*flags) == GenerationConfig(**settings)


def test_what_is_not_given_is_as_the_model_says() -> None:
    base = GenerationConfig(max_new_tokens=7, temperature=0.5, stop_strings=("x",))
    assert config_of("--top-k", "3", base=base) == dataclasses.replace(base, do_sample=True, top_k=3)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--suppress-tokens", "5,x"], "flag suppress_tokens: is '5,x'; expected a list, each a whole number"),
        (["--suppress-tokens=-1"], "suppress_tokens: is (-1,); expected token ids"),
        (["--bad-words-ids", "hello"], "flag bad_words_ids: is 'hello'; expected a list, each a list, each a whole"),
        (["--bad-words-ids", "[[]]"], "bad_words_ids: is ((),); expected runs of token ids"),
        (["--sequence-bias", "5,9,-2"], "flag sequence_bias: is '5,9,-2'; expected a list, each a list, each a whole"),
        (["--sequence-bias", "[[[5,9],"], "flag sequence_bias: is '[[[5,9],'"),
        (["--num-beams", "2", "--early-stopping", "soon"], "early_stopping: is 'soon'; expected true or false or one"),
        (["--early-stopping", "never"], "early_stopping: is 'never'; expected false without beams"),
        (["--beam-mode", "wild"], "beam_mode: is 'wild'; expected one of standard, stochastic"),
        (["--choices", ""], "choices: is ('',); expected texts that are not empty"),
        (["--choices", "a", "--regex", "b"], "regex: is 'b'; expected none where choices is given"),
        (["--regex", "("], "regex"),
        (["--num-beams", "many"], "num_beams: is 'many'; expected a whole number"),
        (["--logprobs", "-1"], "logprobs: is -1"),
        (["--suppress-tokens", "99999"], "suppress_tokens: is 99999; expected token ids below the model's"),
    ],
)
def test_a_wrong_value_is_one_line(
    flags: list[str], message: str, model_folder: object, tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"messages": [{"role": "user", "content": "hello"}]}\n')
    assert main(["generate", str(model_folder), "--input", str(rows), *flags]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.startswith("duologue generate: ")
    assert len(said.err.splitlines()) == 1
    assert said.out == ""


@pytest.mark.parametrize("verb", ["chat", "generate"])
def test_the_help_page_has_each_setting_in_its_group(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    page = capsys.readouterr().out
    places = [page.index(f"\n{title}:\n") for title, _ in GROUPS.values()]
    assert places == sorted(places)
    for field in dataclasses.fields(GenerationConfig):
        flag = f"--{field.name.replace('_', '-')}"
        [found] = re.finditer(rf"^  {flag} ", page, flags=re.MULTILINE)
        assert found.start() > places[0]
    beams = page[places[2] : places[3]]
    assert all(f"--{name}" in beams for name in ("num-beams", "early-stopping", "beam-mode", "prune"))
