"""What of a conversation the model still sees, once all of it is too long."""

from __future__ import annotations

from dataclasses import dataclass

from duologue.conversation import Conversation, Role
from duologue.errors import ContextLengthError
from duologue.tokenizer.encode_conversation import encode_prompt, turn_lengths
from duologue.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Window:
    """The conversation as far as it fits, and how many messages were left out."""

    conversation: Conversation
    num_dropped: int


def fit_window(
    tokenizer: Tokenizer, row: Conversation, *, context_length: int, max_new_tokens: int, role: Role = Role.ASSISTANT
) -> Window:
    """Leaves out the oldest turns until the next one has room; the system message and the last message stay.

    Room is kept for the next turn as long as it may become, but for no more than a quarter of the context.

    Raises:
        ContextLengthError: the last message is too long on its own.
    """
    num_system = 1 if row.messages and row.messages[0].role is Role.SYSTEM else 0
    turns, lengths = row.messages[num_system:], turn_lengths(tokenizer, row)
    num_fixed = len(lengths) - len(turns)  # the system message, the row's own or one that the template adds
    fixed = sum(lengths[:num_fixed]) + len(encode_prompt(tokenizer, Conversation(()), role))
    lengths = lengths[num_fixed:]
    room = context_length - fixed - min(max_new_tokens, context_length // 4)
    first = 0
    while first < len(turns) - 1 and (sum(lengths[first:]) > room or (first and turns[first].role is Role.ASSISTANT)):
        first += 1
    most = context_length - fixed - 1
    if sum(lengths[first:]) > most:
        raise ContextLengthError(f"the message takes {sum(lengths[first:])} tokens and {max(most, 0)} fit; shorten it")
    kept = Conversation((*row.messages[:num_system], *turns[first:]), row.id, row.source, row.lang)
    return Window(kept, first)
