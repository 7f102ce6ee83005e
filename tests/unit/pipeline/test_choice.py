"""What was chosen for the minutes: laid over the recipe, kept, and compared with what came of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from duologue.errors import RunFolderError
from duologue.pipeline.choice import Choice, keep_choice, kept_choice
from duologue.pipeline.recipe import load_recipe
from duologue.training.chooser import Outcome
from duologue.transformer.config import TransformerConfig

SHAPE = TransformerConfig(
    hidden_size=320, num_hidden_layers=5, num_attention_heads=5, num_key_value_heads=1, intermediate_size=864
)
OUTCOME = Outcome(SHAPE, 512, 16_384, 4000.0, 7_000_000, 0.3, 4.0)
CHOICE = Choice(OUTCOME, 8192, 5.5, 4.0, 3, 17.0, foretells=True)
ASKED = {"minutes": 10.0, "tokens": 5}


def test_it_takes_the_place_of_the_recipes_settings() -> None:
    named = load_recipe("race", {})
    recipe, before = CHOICE.applied(named).recipe, named.recipe
    assert recipe.transformer == replace(
        SHAPE, max_position_embeddings=512, tie_word_embeddings=before.transformer.tie_word_embeddings
    )
    stage = recipe.pretraining
    assert (stage.batch_tokens, stage.micro_batch_tokens, stage.sequence_length) == (16_384, 8192, 512)
    assert stage.learning_rate == pytest.approx(2 * before.pretraining.learning_rate)  # four times the batch
    assert not stage.is_open
    assert recipe.tokenizer == before.tokenizer


def test_flags_win_over_it() -> None:
    flags = {"pretraining.batch_tokens": 2048, "pretraining.learning_rate": 0.5, "pretraining.sequence_length": 128}
    stage = CHOICE.applied(load_recipe("race", flags)).recipe.pretraining
    assert (stage.batch_tokens, stage.learning_rate, stage.sequence_length) == (2048, 0.5, 128)
    assert stage.embedding_learning_rate == load_recipe("race", {}).recipe.pretraining.embedding_learning_rate


@pytest.mark.parametrize(
    ("flags", "length", "context"),
    [
        ({"pretraining.sequence_length": 1024}, 1024, 1024),
        ({"transformer.max_position_embeddings": 128}, 128, 128),
        ({"transformer.max_position_embeddings": 2048}, 512, 2048),
    ],
)
def test_rows_and_context_fit_each_other(flags: dict[str, int], length: int, context: int) -> None:
    recipe = CHOICE.applied(load_recipe("race", flags)).recipe
    assert (recipe.pretraining.sequence_length, recipe.transformer.max_position_embeddings) == (length, context)


def test_a_shape_asked_for_leaves_nothing_to_choose() -> None:
    open_size = {"pretraining.size": "minutes", "pretraining.minutes": 5}
    assert load_recipe("tiny", open_size | {"pretraining.steps": 0}).recipe.pretraining.is_open
    asked = {"pretraining.minutes": 5, "pretraining.steps": 0, "transformer.hidden_size": 96}
    assert not load_recipe("race", asked).recipe.pretraining.is_open


def test_it_is_kept_and_read_back(tmp_path: Path) -> None:
    assert kept_choice(tmp_path, ASKED) is None
    keep_choice(tmp_path, ASKED, CHOICE)
    assert kept_choice(tmp_path, ASKED) == CHOICE


def test_other_minutes_are_another_choice_but_not_for_a_stage_that_has_begun(tmp_path: Path) -> None:
    keep_choice(tmp_path, ASKED, CHOICE)
    assert kept_choice(tmp_path, ASKED | {"minutes": 20.0}) is None
    (tmp_path / "decisions.json").write_text(json.dumps({}), encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"another minutes \(10.0, now 20.0\)"):
        kept_choice(tmp_path, ASKED | {"minutes": 20.0})
    assert kept_choice(tmp_path, ASKED) == CHOICE


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"asked": 1}', '{"asked": {}, "choice": {}}'])
def test_a_damaged_file_is_no_choice(tmp_path: Path, text: str) -> None:
    (tmp_path / "choice.json").write_text(text, encoding="utf-8")
    assert kept_choice(tmp_path, ASKED) is None


def test_a_person_reads_what_to_expect_and_what_came_of_it() -> None:
    said = " ".join(CHOICE.lines)
    assert "5 layers of 320" in said
    assert "validation loss 4.00, 1.44 bits per byte" in said
    assert "teach little" not in said
    assert "teach little" in " ".join(replace(CHOICE, outcome=replace(OUTCOME, epochs=4.5)).lines)
    assert CHOICE.reached(4.1) == "validation loss 4.10; 4.00 was expected, +2.5%"


def test_no_loss_is_foretold_for_a_start_by_chance() -> None:
    silent = replace(CHOICE, foretells=False)
    assert "expected" not in " ".join(silent.lines)
    assert silent.reached(4.1) == "validation loss 4.10"
