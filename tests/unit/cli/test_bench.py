"""``bench`` as it is called."""

import json
from pathlib import Path

import pytest

from duologue.cli.main import main

SHORT = ["--new-tokens", "3", "--rounds", "1"]


def test_a_random_model_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "generate", "--shape", "tiny", "--beams", "1", "2", "--contexts", "8", "32", "--rounds", "3"]
    assert main([*words, "--json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert [speed["load"] for speed in found["speeds"]] == [
        {"num_beams": beams, "context": context} for context in (8, 32) for beams in (1, 2)
    ]
    assert all(speed["step_ms"] > 0 for speed in found["speeds"])
    assert set(found["versions"]) == {"duologue", "python", "torch"}
    assert "floor of a step" in said.err


def test_a_model_of_ones_own_is_measured_as_far_as_it_sees(
    model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "generate", str(model_folder), "--beams", "1", *SHORT, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [speed["load"]["context"] for speed in found["speeds"]] == [64]
    assert found["shape"]["hidden_size"] == 32


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shape", "tinny"], "--shape: is tinny; did you mean tiny?"),
        (["model", "--shape", "tiny"], "--shape: is 'tiny'; expected none where a MODEL is given"),
        (["--rounds", "0"], "--rounds: is 0; expected 1 or more"),
        (["--new-tokens", "1"], "--new-tokens: is 1; expected 2 or more"),
        (["--beams", "4", "0"], "--beams: is [4, 0]; expected 1 or more"),
        (["--contexts", "0"], "--contexts: is [0]; expected 1 or more"),
        (["--threads", "0"], "--threads: is 0; expected 1 or more"),
        (["--shape", "tiny", "--contexts", "9999"], "--contexts: is 9999; expected at most"),
        (["--shape", "tiny", "--dtype", "int4"], "dtype: is 'int4'; expected one of float32, bfloat16, int8"),
    ],
)
def test_wrong_use_is_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "generate", *words]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert said.out == ""


def test_training_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--shape", "tiny", "--rows", "4", "--length", "32", "--rows-at-once", "2", "--steps", "2"]
    plain = ["--compile", "off", "--dtype", "float32", "--threads", "1"]
    assert main(["bench", "train", *size, *plain, "--json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["tokens_per_s"] == pytest.approx(4 * 32 / found["step_s"])
    assert found["is_compiled"] is False
    assert found["is_native"] is False
    assert "tokens/s" in said.err


@pytest.mark.parametrize("value", ["-1", "0"])
@pytest.mark.parametrize("name", ["rows", "length", "steps", "threads", "rows-at-once"])
def test_training_on_nothing_is_wrong_use(name: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "train", f"--{name}", value]) == 2
    assert f"--{name}: is {value}; expected" in capsys.readouterr().err
