"""What a model can be asked to go on from: a dialogue, or ids; checked before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from duologue.conversation import Conversation, Message, Role
from duologue.errors import ContextLengthError, DataError
from duologue.tokenizer.encode_conversation import encode_prompt
from duologue.tokenizer.tokenizer import Tokenizer

# A dialogue, its messages (or their JSON), or token ids.
Prompt = Conversation | Iterable[Message] | Iterable[Mapping[str, object]] | Iterable[int]


def read_prompt(prompt: Prompt) -> Conversation | list[int]:
    """The prompt as a dialogue or as ids, whichever it is.

    Raises:
        DataError: it is neither.
    """
    if isinstance(prompt, Conversation):
        return prompt
    if isinstance(prompt, str | bytes | Mapping) or not isinstance(prompt, Iterable):
        raise DataError(f"prompt: is {type(prompt).__name__}; expected messages or a list of token ids")
    items = list(prompt)
    if items and isinstance(items[0], Message | Mapping):
        return Conversation(tuple(_message(item) for item in items))
    try:
        return [int(item) for item in items]  # type: ignore[call-overload]
    except (TypeError, ValueError):
        raise DataError(f"prompt: holds {type(items[0]).__name__}; expected messages or token ids") from None


def encode(tokenizer: Tokenizer, prompt: Conversation | list[int], role: Role) -> list[int]:
    """The ids after which the given side speaks; ids stay as they are."""
    return encode_prompt(tokenizer, prompt, role) if isinstance(prompt, Conversation) else prompt


def check_ids(ids: list[int], *, vocab_size: int, name: str = "prompt") -> None:
    """Raises DataError where there are no ids, or one that the model does not know."""
    if not ids:
        raise DataError(f"{name}: is empty; expected at least one token")
    for place, token_id in enumerate(ids):
        if not 0 <= token_id < vocab_size:
            raise DataError(f"{name}: holds id {token_id} at place {place}; this model knows 0 to {vocab_size - 1}")


def check_length(num_tokens: int, *, num_new: int, context_length: int) -> None:
    """Raises ContextLengthError where the prompt leaves no room for what has to follow it."""
    if num_tokens + num_new > context_length:
        found = f"prompt has {num_tokens} tokens and at least {num_new} must follow; the context is {context_length}"
        raise ContextLengthError(f"{found}; shorten the message or drop older turns")


def _message(item: object) -> Message:
    return item if isinstance(item, Message) else Message.from_dict(item)
