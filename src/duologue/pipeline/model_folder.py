"""Writes a whole model folder: weights, tokenizer, template, generation settings, card, hashes."""

from __future__ import annotations

from pathlib import Path

from duologue.generation.config import GenerationConfig, write_generation_config
from duologue.hub.hashes import write_hashes
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.transformer.model import Transformer
from duologue.transformer.model_card import CardFacts, model_card
from duologue.transformer.weights import save_weights


def write_model_folder(
    folder: Path, model: Transformer, tokenizer: Tokenizer, generation: GenerationConfig, facts: CardFacts
) -> None:
    """A folder that this package, transformers and vLLM load as it is.

    Args:
        facts: what the card says.
    """
    save_weights(model, folder, tokenizer)
    length = model.config.max_position_embeddings
    tokenizer.save_pretrained(folder, max_length=length)
    ends = {"eos_token_id": tokenizer.end_of_turn_id, "pad_token_id": tokenizer.end_of_text_id}
    write_generation_config(folder, generation, **ends)
    (folder / "README.md").write_text(model_card(model, facts), encoding="utf-8")
    write_hashes(folder)
