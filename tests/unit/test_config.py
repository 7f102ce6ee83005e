"""Settings from TOML and flags: strict, and clear about what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from duologue.config import from_mapping, read_toml, settings_of, to_mapping, with_flags
from duologue.errors import ConfigError
from duologue.pipeline.recipe import Recipe, builtin_recipes, load_recipe


def test_every_recipe_of_the_package_loads() -> None:
    assert {"quickstart", "tiny", "small", "dialogue-small"} <= set(builtin_recipes())
    for name in builtin_recipes():
        assert load_recipe(name, {}).name == name


def test_every_setting_says_what_it_does() -> None:
    for setting in settings_of(Recipe):
        assert setting.help, setting.path


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pretraining": {"max_step": 3}}, r"r\.toml \[pretraining\] max_step: unknown key; did you mean"),
        ({"pretrain": {}}, r"r\.toml pretrain: unknown key; did you mean pretraining"),
        ({"pretraining": 3}, r"pretraining: is 3; expected a table"),
        ({"pretraining": {"steps": 1.5}}, r"steps: is 1\.5; expected a whole number"),
        ({"pretraining": {"steps": "many"}}, r"steps: is 'many'; expected a whole number"),
        ({"pretraining": {"steps": -1}}, r"steps: is -1; expected at least 0"),
        ({"pretraining": {"cooldown": True}}, r"cooldown: is True; expected a number"),
        ({"pretraining": {"cooldown": float("nan")}}, r"cooldown: is nan; expected a number"),
        ({"pretraining": {"dtype": "int7"}}, r"dtype: is 'int7'; expected one of auto, float32, bfloat16"),
        ({"transformer": {"num_key_value_heads": 3}}, r"num_key_value_heads: is 3; expected a divisor"),
        ({"data": {"files": 3}}, r"files: is 3; expected a list"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        from_mapping(Recipe, values, where="r.toml")
    assert "\n" not in str(caught.value)


def test_order_is_defaults_parent_file_flags(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text("[pretraining]\nsteps = 1\nseed = 1\nbatch_tokens = 64\n")
    (tmp_path / "mine.toml").write_text('extends = "base.toml"\n[pretraining]\nsteps = 2\nseed = 2\n')
    recipe = load_recipe(str(tmp_path / "mine.toml"), {"pretraining.seed": "3"}).recipe
    stage = recipe.pretraining
    assert (stage.batch_tokens, stage.steps, stage.seed) == (64, 2, 3)
    assert stage.warmup_steps == Recipe().pretraining.warmup_steps


def test_settings_survive_their_mapping() -> None:
    recipe = with_flags(Recipe(), {"data.files": "a.jsonl,b.csv", "pretraining.minutes": "2.5"})
    assert recipe.data.files == ("a.jsonl", "b.csv")
    assert from_mapping(Recipe, to_mapping(recipe), where="x") == recipe


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such recipe file"),
        ("a = [", "not valid TOML"),
        (b"\xff", "cannot be read"),
        ("extends = 3", "extends: is 3"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: str | bytes | None, message: str) -> None:
    path = tmp_path / "r.toml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=message):
        read_toml(path)


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no recipe of that name; did you mean quickstart"):
        load_recipe("quickstrat", {})
