"""Iterated generation: the model carries both sides of a dialogue on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from duologue.chat.window import fit_window
from duologue.config import require
from duologue.conversation import Conversation, Role
from duologue.generation.config import GenerationConfig
from duologue.generation.events import GenerationOutput

if TYPE_CHECKING:
    from duologue.generation.engine import Engine


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn that the model said, and for which side."""

    role: Role
    output: GenerationOutput


def carry_on(engine: Engine, row: Conversation, config: GenerationConfig, *, num_turns: int) -> Iterator[Turn]:
    """The next turns: the assistant's first, then the user's, and so on; the oldest drop out where they must.

    A last assistant turn is first continued.
    """
    several = config.num_return_sequences
    require(several == 1, "num_return_sequences", several, "1, since the dialogue goes on from one reply")
    role = Role.ASSISTANT
    for _ in range(num_turns):
        length, room = engine.context_length, config.max_new_tokens
        window = fit_window(engine.tokenizer, row, context_length=length, max_new_tokens=room, role=role)
        output = engine.generate(window.conversation, config, role=role)
        yield Turn(role, output)
        row = _said(window.conversation, role, output.texts[0])
        role = Role.USER if role is Role.ASSISTANT else Role.ASSISTANT


def _said(row: Conversation, role: Role, text: str) -> Conversation:
    """The dialogue with this turn said, or with its open last turn completed."""
    last = row.messages[-1] if row.messages else None
    if last is None or last.role is not role:
        return row.says(role, text)
    return Conversation(row.messages[:-1]).says(role, last.content + text)
