"""The model card: the README of a model folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from duologue.transformer.model import Transformer


def model_card(model: Transformer, facts: Mapping[str, Any]) -> str:
    """A card that says what the model is, how it was trained, and what not to expect of it."""
    config = model.config
    shape = (
        f"{config.num_hidden_layers} layers, {config.hidden_size} wide, {config.num_attention_heads} heads "
        f"({config.num_key_value_heads} for keys and values), context {config.max_position_embeddings}, "
        f"vocabulary {model.vocab_size:,}"
    )
    rows = "\n".join(f"| {name} | {_as_cell(value)} |" for name, value in facts.items())
    return f"""---
language: [en, zh]
library_name: transformers
pipeline_tag: text-generation
tags: [duologue, conversational]
---
# A chat model trained with duologue

{model.num_parameters:,} parameters: {shape}.

## Training

| | |
|---|---|
{rows}

## Limits

A model of this size knows what its training dialogues taught it and little else. It can be wrong with confidence. Turns
are ChatML; an engine that renders the template to text first cannot tell a control token that a user typed from a real
one, so pass token ids where you can.
"""


def _as_cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
