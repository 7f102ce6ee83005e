"""Writes a whole model folder: weights, tokenizer, template, generation settings, card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from duologue.generation.config import GenerationConfig, write_generation_config
from duologue.tokenizer.chat_template import JINJA_TEMPLATE
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.transformer.model import Transformer
from duologue.transformer.model_card import model_card
from duologue.transformer.weights import save_weights


def write_model_folder(
    folder: Path, model: Transformer, tokenizer: Tokenizer, generation: GenerationConfig, facts: Mapping[str, Any]
) -> None:
    """A folder that this package, transformers and vLLM load as it is.

    Args:
        facts: what the card says of the training, in its own words.
    """
    save_weights(model, folder, tokenizer)
    length = model.config.max_position_embeddings
    tokenizer.save_pretrained(folder, chat_template=JINJA_TEMPLATE, max_length=length)
    ends = {"eos_token_id": tokenizer.end_of_turn_id, "pad_token_id": tokenizer.end_of_text_id}
    write_generation_config(folder, generation, **ends)
    (folder / "README.md").write_text(model_card(model, facts), encoding="utf-8")
