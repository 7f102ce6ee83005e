"""``--minutes``, where the recipe leaves the size open: a plan, a run in time, and the same model when it goes on."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from duologue.cli.main import main
from duologue.config import read_toml
from duologue.transformer.weights import load_transformer

COUNTED = ["--pretraining.start", "counts", "--transformer.tie_word_embeddings", "false"]
OPEN = ["pretrain", "tiny", "--pretraining.size", "minutes", *COUNTED, "--data.builtin_dialogues", "300"]
MINUTES = 0.2


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_plan_says_what_to_expect(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*OPEN, "--minutes", "2", "--dry-run", "--json"]) == 0
    said = capsys.readouterr()
    plan = json.loads(said.out)["pretraining"]
    assert plan["minutes"] == 2
    assert 0 < plan["expected_loss"] < 7
    assert plan["tokens_per_s"] > 0
    assert plan["memory_gib"] > 0
    assert "expected after" in said.err
    assert not Path("runs/tiny/pretraining/checkpoints").exists()


def test_the_minutes_are_kept_and_the_choice_too(capsys: pytest.CaptureFixture[str]) -> None:
    words = [*OPEN, "--minutes", str(MINUTES)]
    assert main(["tokenizer", "train", "tiny", *OPEN[2:]]) == 0
    start = time.monotonic()
    assert main(words) == 0
    seconds = time.monotonic() - start
    assert 0.5 * MINUTES * 60 < seconds < MINUTES * 60 + 10  # tokenising and what the process loads come on top
    said = capsys.readouterr().err
    assert "was expected" in said
    model = load_transformer("runs/tiny/model")
    written = read_toml(Path("runs/tiny/recipe.toml"))
    assert written["transformer"]["hidden_size"] == model.config.hidden_size
    assert written["pretraining"]["size"] == "recipe"
    assert main(words) == 0
    said = capsys.readouterr().err
    assert "done already" in said
    assert "measuring" not in said
    assert main([*OPEN, "--minutes", "0.3"]) == 1
    assert "holds a run with another minutes (0.2, now 0.3)" in capsys.readouterr().err


def test_a_shape_asked_for_is_the_shape() -> None:
    assert main([*OPEN, "--steps", "2", "--transformer.hidden_size", "32"]) == 0
    assert load_transformer("runs/tiny/model").config.hidden_size == 32


def test_without_minutes_the_recipe_says_the_size() -> None:
    assert main([*OPEN, "--steps", "2"]) == 0
    assert load_transformer("runs/tiny/model").config.hidden_size == 64


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--pretraining.size", "best"], "pretraining.size: is 'best'; expected one of recipe, minutes"),
        (["--finetuning.size", "minutes"], "finetuning.size: is 'minutes'; expected 'recipe', since"),
    ],
)
def test_bad_input_is_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*OPEN, *words]) == 2
    said = capsys.readouterr().err
    assert message in said.replace("[pretraining] ", "pretraining.")
    assert "Traceback" not in said
