"""Which parts of a row are learned: by the messages' weights, or token by token where there is a tokenizer."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from duologue.data.formats import PlainText, Row
from duologue.tokenizer.bpe import END_OF_TURN, START_OF_TURN
from duologue.tokenizer.encode_conversation import NO_LOSS, encode_conversation
from duologue.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of what the model reads.

    Attributes:
        is_learned: whether fine-tuning learns to say it.
    """

    text: str
    is_learned: bool


def spans_by_message(row: Row) -> list[Span]:
    """The row as the chat template writes it; replies and their ends of turn are learned."""
    if isinstance(row, PlainText):
        return [Span(row.text, True)]
    spans: list[Span] = []
    for message in row.messages:
        spans.append(Span(f"{START_OF_TURN}{message.role}\n", False))
        if message.is_learned and message.loss_from:
            spans.append(Span(message.content[: message.loss_from], False))
        said = message.learned_content if message.is_learned else message.content
        spans.append(Span(f"{said}{END_OF_TURN}", message.is_learned))
        spans.append(Span("\n", False))
    return spans


def spans_by_token(row: Row, tokenizer: Tokenizer) -> list[Span]:
    """The row's tokens, put together to text where they follow each other with the same mask.

    A plain text is learned from its second token on: nothing foretells the first.
    """
    if isinstance(row, PlainText):
        ids = tokenizer.encode(row.text)
        is_learned = [index > 0 for index in range(len(ids))]
    else:
        encoded = encode_conversation(tokenizer, row)
        ids, is_learned = encoded.input_ids, [label != NO_LOSS for label in encoded.labels]
    return list(_joined(tokenizer, ids, is_learned))


def _joined(tokenizer: Tokenizer, ids: list[int], is_learned: list[bool]) -> Iterator[Span]:
    for flag, group in itertools.groupby(zip(ids, is_learned, strict=True), key=lambda pair: pair[1]):
        said = b"".join(tokenizer.token_bytes(token_id) for token_id, _ in group)
        yield Span(said.decode("utf-8", errors="replace"), flag)
