"""The model card: the README of a model folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from duologue.transformer.model import Transformer


@dataclass(frozen=True)
class CardFacts:
    """What a card says beside the shape.

    Attributes:
        licence: the identifier of the Hugging Face hub; "other" where it follows from data that only the user knows.
        data: what was learned from, an entry each.
        training, evaluation: figures by name.
    """

    licence: str
    data: Sequence[str]
    training: Mapping[str, Any]
    evaluation: Mapping[str, Any]


def model_card(model: Transformer, facts: CardFacts) -> str:
    """A card that says what the model is, how it was trained, and what not to expect of it."""
    config = model.config
    shape = (
        f"{config.num_hidden_layers} layers, {config.hidden_size} wide, {config.num_attention_heads} heads "
        f"({config.num_key_value_heads} for keys and values), context {config.max_position_embeddings}, "
        f"vocabulary {model.vocab_size:,}"
    )
    return f"""---
language: [en, zh]
license: {facts.licence}
library_name: transformers
pipeline_tag: text-generation
tags: [duologue, conversational]
---
# A chat model trained with duologue

{model.num_parameters:,} parameters: {shape}.

## Data

{_data(facts)}

## Training

{_table(facts.training)}

## Evaluation

{_table(facts.evaluation)}

## Limits

A model of this size knows what its training dialogues taught it and little else. It can be wrong with confidence. Turns
are ChatML; an engine that renders the template to text first cannot tell a control token that a user typed from a real
one, so pass token ids where you can.
"""


def _data(facts: CardFacts) -> str:
    lines = [f"- {entry}" for entry in facts.data]
    if facts.licence == "other":
        lines += ["", "Under which terms the model may be used follows from those of the above."]
    return "\n".join(lines)


def _table(facts: Mapping[str, Any]) -> str:
    rows = [f"| {name} | {_as_cell(value)} |" for name, value in facts.items()]
    return "\n".join(["| | |", "|---|---|", *rows])


def _as_cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
