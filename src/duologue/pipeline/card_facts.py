"""What the model card of a stage says: data, training, evaluation, and under which terms."""

from __future__ import annotations

import math
from pathlib import Path

from duologue.pipeline.recipe import NamedRecipe
from duologue.training.loop import Trainer
from duologue.transformer.model_card import CardFacts

OUR_LICENCE = "apache-2.0"


def card_facts(named: NamedRecipe, stage: str, trainer: Trainer, init: Path | None) -> CardFacts:
    """The facts of a stage that has ended.

    Args:
        init: the model of other makers that the run began with, if any.
    """
    recipe, state = named.recipe, trainer.state
    data = [f"`{Path(name).name}`" for name in recipe.data.files]
    if recipe.data.builtin_dialogues and (stage == "pretraining" or not data):
        data.append(f"the built-in corpus of duologue, {recipe.data.builtin_dialogues:,} dialogues")
    if init is not None:
        data.append(f"before: all that `{init.parent.name}/{init.name}` had learned from")
    training = {"recipe": named.name, "stage": stage, "tokens seen": state.num_tokens, "steps": state.step,
                "minutes": round(trainer.elapsed_s / 60, 1)}  # fmt: skip
    if stage == "finetuning" and recipe.lora.rank:
        training["LoRA"] = recipe.lora.description
    looked = state.best_loss if math.isfinite(state.best_loss) else trainer.looks.last_loss or "no dialogues kept back"
    licence = "other" if recipe.data.files or init else OUR_LICENCE
    return CardFacts(licence, data, training, {"validation loss, nats a token": looked})
