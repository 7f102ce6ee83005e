"""The chat template: a conversation as ids, ChatML turns.

    <|im_start|>user⏎Hello!<|im_end|>⏎<|im_start|>assistant⏎Hi there.<|im_end|>⏎

It only ever appends: the ids of the first n turns are a prefix of the ids of n + 1 turns, so what a model has read of
a chat stays valid when the chat goes on. Each content is encoded on its own and control ids are added by id, so no
content can open or close a turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from duologue.conversation import Conversation, Message, Role
from duologue.tokenizer.tokenizer import Tokenizer

NO_LOSS = -100

# The same template for other engines, which render text first. It agrees with encode_conversation for contents that
# hold no control tokens and neither begin nor end with white space.
JINJA_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True, slots=True)
class TokenizedConversation:
    """A conversation as the model sees it.

    Attributes:
        input_ids: the tokens of the whole dialogue.
        labels: as long as input_ids; the token where a reply is learned, NO_LOSS elsewhere.
    """

    input_ids: list[int]
    labels: list[int]


def encode_conversations(tokenizer: Tokenizer, rows: Sequence[Conversation]) -> list[TokenizedConversation]:
    """Many conversations at once; labels cover each learned reply's content and its end of turn, nothing else."""
    contents = iter(tokenizer.encode_batch([message.content for row in rows for message in row.messages]))
    headers = {role: _header(tokenizer, role) for role in Role}
    tail = tokenizer.encode("\n")
    return [_join(tokenizer, [(m, next(contents)) for m in row.messages], headers, tail) for row in rows]


def encode_conversation(tokenizer: Tokenizer, row: Conversation) -> TokenizedConversation:
    """One conversation; see encode_conversations."""
    return encode_conversations(tokenizer, [row])[0]


def encode_prompt(tokenizer: Tokenizer, row: Conversation, role: Role = Role.ASSISTANT) -> list[int]:
    """The ids after which the given side speaks; a last turn of that side is left open, to be continued."""
    last = row.messages[-1] if row.messages else None
    if last is None or last.role is not role:
        return [*encode_conversation(tokenizer, row).input_ids, *_header(tokenizer, role)]
    before = encode_conversation(tokenizer, Conversation(row.messages[:-1])).input_ids
    return [*before, *_header(tokenizer, role), *tokenizer.encode(last.content)]


def _header(tokenizer: Tokenizer, role: Role) -> list[int]:
    return [tokenizer.start_of_turn_id, *tokenizer.encode(f"{role}\n")]


def _join(
    tokenizer: Tokenizer,
    turns: Sequence[tuple[Message, list[int]]],
    headers: dict[Role, list[int]],
    tail: list[int],
) -> TokenizedConversation:
    input_ids: list[int] = []
    labels: list[int] = []
    for message, content in turns:
        said = [*content, tokenizer.end_of_turn_id]
        head = headers[message.role]
        input_ids += [*head, *said, *tail]
        labels += [NO_LOSS] * len(head) + (said if message.is_learned else [NO_LOSS] * len(said))
        labels += [NO_LOSS] * len(tail)
    return TokenizedConversation(input_ids, labels)
