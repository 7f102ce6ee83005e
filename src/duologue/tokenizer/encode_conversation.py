"""A conversation as ids: its template's turns, each content encoded on its own, control tokens added by id.

So no content can open or close a turn, whatever it says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from duologue.conversation import Conversation, Role
from duologue.tokenizer.chat_template import Turn
from duologue.tokenizer.tokenizer import Tokenizer

NO_LOSS = -100


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
    """Many conversations at once; labels cover what each learned reply says and its end of turn, nothing else."""
    return [_join(turns) for turns in _encode_turns(tokenizer, rows)]


def encode_conversation(tokenizer: Tokenizer, row: Conversation) -> TokenizedConversation:
    """One conversation; see encode_conversations."""
    return encode_conversations(tokenizer, [row])[0]


def turn_lengths(tokenizer: Tokenizer, row: Conversation) -> list[int]:
    """How many tokens each turn takes, in order; a system message that the template adds comes first."""
    (turns,) = _encode_turns(tokenizer, [row])
    return [len(turn.input_ids) for turn in turns]


def encode_prompt(tokenizer: Tokenizer, row: Conversation, role: Role = Role.ASSISTANT) -> list[int]:
    """The ids after which the given side speaks; a last turn of that side is left open, to be continued."""
    input_ids = encode_conversation(tokenizer, row).input_ids
    if not row.messages or row.messages[-1].role is not role:
        return [*input_ids, *_header(tokenizer, role)]
    return input_ids[: -len(_closing(tokenizer))]


def _encode_turns(tokenizer: Tokenizer, rows: Sequence[Conversation]) -> Iterator[list[TokenizedConversation]]:
    written = [tokenizer.chat_template.turns(row.messages) for row in rows]
    parts = [part for turns in written for turn in turns for part in turn.parts]
    contents = iter(tokenizer.encode_batch([part.text for part in parts if not part.by_template]))
    headers = {role: _header(tokenizer, role) for role in Role}
    closing = _closing(tokenizer)

    def encode(turn: Turn) -> TokenizedConversation:
        head = headers[turn.role]
        said: list[int] = []
        num_quiet = 0
        for number, part in enumerate(turn.parts):
            said += tokenizer.encode_template(part.text) if part.by_template else next(contents)
            num_quiet = len(said) if number < turn.num_quiet else num_quiet
        ends = closing[:1] if turn.is_learned else []
        learned = [NO_LOSS] * num_quiet + said[num_quiet:] + ends if turn.is_learned else [NO_LOSS] * len(said)
        labels = [NO_LOSS] * len(head) + learned + [NO_LOSS] * (len(closing) - len(ends))
        return TokenizedConversation(head + said + closing, labels)

    for turns in written:
        yield [encode(turn) for turn in turns]


def turn_frame(tokenizer: Tokenizer, role: Role) -> tuple[list[int], list[int]]:
    """The ids before and behind what a side says in a turn."""
    return _header(tokenizer, role), _closing(tokenizer)


def _join(turns: Sequence[TokenizedConversation]) -> TokenizedConversation:
    input_ids: list[int] = []
    labels: list[int] = []
    for turn in turns:
        input_ids += turn.input_ids
        labels += turn.labels
    return TokenizedConversation(input_ids, labels)


def _header(tokenizer: Tokenizer, role: Role) -> list[int]:
    return [tokenizer.start_of_turn_id, *tokenizer.encode(f"{role}\n")]


def _closing(tokenizer: Tokenizer) -> list[int]:
    return [tokenizer.end_of_turn_id, *tokenizer.encode("\n")]
