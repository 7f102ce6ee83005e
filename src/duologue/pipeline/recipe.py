"""A recipe: one TOML file that describes a whole system. Its tables are the stages."""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from duologue.adversarial.config import AdversarialConfig
from duologue.config import did_you_mean, from_mapping, read_toml, require, with_flags
from duologue.data.config import DataConfig
from duologue.errors import ConfigError
from duologue.generation.config import GenerationConfig
from duologue.tokenizer.config import TokenizerConfig
from duologue.training.config import StageConfig
from duologue.transformer.config import TransformerConfig
from duologue.transformer.lora_config import LoRAConfig

# The settings of [transformer] that make a model's size.
SHAPE_SETTINGS = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
                  "intermediate_size")  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """All settings of a system; each stage reads its own table."""

    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    data: DataConfig = field(default_factory=DataConfig)
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)
    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    pretraining: StageConfig = field(default_factory=StageConfig)
    finetuning: StageConfig = field(default_factory=StageConfig)
    lora: LoRAConfig = field(default_factory=LoRAConfig)
    generation: GenerationConfig = field(default_factory=GenerationConfig)

    def __post_init__(self) -> None:
        for_fresh = "'random', since counts are a start for a fresh model"
        require(self.finetuning.start == "random", "finetuning.start", self.finetuning.start, for_fresh)
        can_count = self.pretraining.start == "random" or not self.transformer.tie_word_embeddings
        untied = "'random', or transformer.tie_word_embeddings = false: counts are fitted with a head apart"
        chosen = "'recipe', since the size is that of the model to fine-tune"
        require(self.finetuning.size == "recipe", "finetuning.size", self.finetuning.size, chosen)
        require(can_count, "pretraining.start", self.pretraining.start, untied)


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe with where it comes from.

    Attributes:
        name: names the run folder, ``runs/<name>``.
        given: the settings that flags have set, by dotted path.
    """

    name: str
    recipe: Recipe
    given: frozenset[str] = frozenset()


def load_recipe(name_or_file: str, flags: Mapping[str, Any]) -> NamedRecipe:
    """A recipe by its name in the package or by its file, with flags laid over it and its paths made absolute.

    Raises:
        ConfigError: there is no such recipe, or a key or flag is unknown or out of range.
    """
    path = Path(name_or_file)
    is_file = path.suffix == ".toml" or path.parent != Path()
    if not is_file:
        known = builtin_recipes()
        if name_or_file not in known:
            hint = did_you_mean(name_or_file, known)
            raise ConfigError(f"{name_or_file}: no recipe of that name{hint}; a file of your own ends in .toml")
        path = known[name_or_file]
    recipe = from_mapping(Recipe, read_toml(path), where=path.name)
    recipe = with_flags(recipe, _with_size(flags))
    folder = (path.parent if is_file else Path()).absolute()
    files = tuple(str(folder / name) for name in recipe.data.files)
    prepared = str(folder / recipe.data.prepared) if recipe.data.prepared else ""
    recipe = replace(recipe, data=replace(recipe.data, files=files, prepared=prepared))
    return NamedRecipe(path.stem, recipe, frozenset(flags))


def builtin_recipes() -> dict[str, Path]:
    """The recipes inside the package, by name."""
    folder = Path(str(importlib.resources.files("duologue"))) / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def _with_size(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The flags; one that asks for a shape of the model leaves nothing to be chosen."""
    is_shaped = any(f"transformer.{name}" in flags for name in SHAPE_SETTINGS)
    return ({"pretraining.size": "recipe"} if is_shaped else {}) | dict(flags)
