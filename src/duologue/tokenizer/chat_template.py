"""The chat template: how the turns of a conversation are written. Every model here writes ChatML:

    <|im_start|>user⏎Hello!<|im_end|>⏎<|im_start|>assistant⏎Hi there.<|im_end|>⏎

What differs is what a model's makers add: a system message where a conversation has none (SmolLM2, Qwen2.5), or a place
for reasoning before the last reply, which is taken out again once the conversation has gone on (Qwen3). Our own models
add nothing, so their template only ever appends.

What stands around the contents is kept apart from them, so that no content can open or close a turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from duologue.conversation import Message, Role
from duologue.tokenizer.bpe import END_OF_TURN, START_OF_TURN

# The same for other engines, which render text first. It agrees with what is encoded here for contents that hold no
# control tokens and neither begin nor end with white space.
JINJA_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
OPENING_OF_REASONING, END_OF_REASONING = "<think>", "</think>"


class Part(NamedTuple):
    """A piece of a turn.

    Attributes:
        by_template: whether the template wrote it, so that control tokens in it are meant.
    """

    text: str
    by_template: bool


class Turn(NamedTuple):
    """A turn as it is written between its header and its end.

    Attributes:
        is_learned: whether fine-tuning learns to say it.
        num_quiet: parts at its beginning that carry no loss all the same.
    """

    role: Role
    parts: tuple[Part, ...]
    is_learned: bool
    num_quiet: int = 0


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A way of writing turns.

    Attributes:
        jinja: the same as a Jinja template, for other engines.
        default_system: the system message of a conversation that brings none.
        has_reasoning: whether replies after the last question begin with their reasoning, and earlier ones lose it.
    """

    jinja: str = JINJA_TEMPLATE
    default_system: str | None = None
    has_reasoning: bool = False

    def turns(self, messages: Sequence[Message]) -> list[Turn]:
        """The turns of a conversation, in order; one more than its messages where a system message is added."""
        if self.default_system is not None and messages and messages[0].role is not Role.SYSTEM:
            messages = [Message(Role.SYSTEM, self.default_system), *messages]
        if not self.has_reasoning:
            return [_turn(message, (Part(message.content, False),)) for message in messages]
        questions = [place for place, message in enumerate(messages) if _is_question(message)]
        last_question = questions[-1] if questions else len(messages) - 1
        last = len(messages) - 1
        return [
            _turn(message, _with_reasoning(message, place > last_question, place == last))
            for place, message in enumerate(messages)
        ]

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> str:
        """The conversation as text; for comparing templates, never for a model, since contents are not kept apart."""
        written = [
            f"{START_OF_TURN}{turn.role}\n{''.join(part.text for part in turn.parts)}{END_OF_TURN}\n"
            for turn in self.turns(messages)
        ]
        return "".join(written) + (f"{START_OF_TURN}{Role.ASSISTANT}\n" if add_generation_prompt else "")


CHATML = ChatTemplate()


def _turn(message: Message, parts: tuple[Part, ...]) -> Turn:
    """A turn, its content (the last part) cut where the loss begins."""
    if not message.loss_from or not message.is_learned:
        return Turn(message.role, parts, message.is_learned)
    *before, content = parts
    cut = max(0, message.loss_from - (len(message.content) - len(content.text)))
    quiet, learned = Part(content.text[:cut], False), Part(content.text[cut:], False)
    return Turn(message.role, (*before, quiet, learned), True, len(before) + 1)


def _is_question(message: Message) -> bool:
    """Whether a user asks; the result of a tool, which Qwen3 writes as a user's turn, is none."""
    said = message.content
    is_result = said.startswith("<tool_response>") and said.endswith("</tool_response>")
    return message.role is Role.USER and not is_result


def _with_reasoning(message: Message, is_after_question: bool, is_last: bool) -> tuple[Part, ...]:
    """A turn in Qwen3's way: only replies after the last question keep their reasoning; the last has a place for it."""
    content, reasoning = message.content, ""
    if message.role is not Role.ASSISTANT:
        return (Part(content, False),)
    if END_OF_REASONING in content:
        before = content.split(END_OF_REASONING)[0].rstrip("\n")
        reasoning = before.split(OPENING_OF_REASONING)[-1].lstrip("\n")
        content = content.split(END_OF_REASONING)[-1].lstrip("\n")
    if not (is_after_question and (is_last or reasoning)):
        return (Part(content, False),)
    return (
        Part(f"{OPENING_OF_REASONING}\n", True),
        Part(reasoning.strip("\n"), False),
        Part(f"\n{END_OF_REASONING}\n\n", True),
        Part(content.lstrip("\n"), False),
    )
