"""Bits per byte: how well a model foretells held-out text, whatever its tokenizer.

Of a conversation the content and the end of turn of each assistant turn are scored (weight 0 left out), over the bytes
of those contents; of a plain text all tokens but the first, over all its bytes. Windows of similar length run together.

Shapes: B windows, T time, N scored tokens, M model width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from duologue.conversation import Conversation, Role
from duologue.data.formats import Row
from duologue.errors import DataError, NumericalError
from duologue.evaluation.windows import Window, conversation_windows, text_windows
from duologue.tokenizer.encode_conversation import NO_LOSS, encode_conversations
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.transformer.attention import document_mask, masked_attention
from duologue.transformer.model import Transformer

ROWS_AT_ONCE = 256  # rows among which windows of similar length are looked for
BATCH_TOKENS = 2048
LOGIT_ROWS = 256  # places whose logits are in memory at once


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How probable texts are under a model; several can be added.

    Attributes:
        bits: negative log2-likelihood of all scored tokens.
        num_bytes: UTF-8 bytes of what was scored.
        num_tokens: scored tokens.
        num_conversations: those with a turn to score.
        num_texts: plain texts.
    """

    bits: float = 0.0
    num_bytes: int = 0
    num_tokens: int = 0
    num_conversations: int = 0
    num_texts: int = 0

    @property
    def bits_per_byte(self) -> float:
        """The score: less is better; DataError as in ``require_bytes``."""
        self.require_bytes()
        return self.bits / self.num_bytes

    def require_bytes(self) -> None:
        """Raises DataError where there was no byte to score."""
        if not self.num_bytes:
            raise DataError("there is nothing to score; expected conversations with assistant turns, or plain texts")

    def __add__(self, other: Likelihood) -> Likelihood:
        """Both together."""
        return Likelihood(
            self.bits + other.bits,
            self.num_bytes + other.num_bytes,
            self.num_tokens + other.num_tokens,
            self.num_conversations + other.num_conversations,
            self.num_texts + other.num_texts,
        )

    def to_dict(self) -> dict[str, Any]:
        """The contract's form."""
        return {"bits_per_byte": self.bits_per_byte, **asdict(self)}


def bits_per_byte(
    model: Transformer, tokenizer: Tokenizer, rows: Iterable[Row], *, on_progress: Callable[[int], None] | None = None
) -> Likelihood:
    """The likelihood of all rows together; errors as in ``score_rows``.

    Raises:
        DataError: no row has anything to score.
    """
    scored = score_rows(model, tokenizer, rows, on_progress=on_progress)
    total = sum((likelihood for _, likelihood in scored), Likelihood())
    total.require_bytes()
    return total


def score_rows(
    model: Transformer, tokenizer: Tokenizer, rows: Iterable[Row], *, on_progress: Callable[[int], None] | None = None
) -> Iterator[tuple[Row, Likelihood]]:
    """Each row with its own likelihood, in order; memory does not grow with their number.

    Args:
        model: in evaluation mode, on its device, in its number format.
        tokenizer: the model's own.
        rows: conversations and plain texts.
        on_progress: told how many rows are done, as it grows.

    Raises:
        NumericalError: the model gave something that is no number.
    """
    rows, num_done = iter(rows), 0
    while group := list(islice(rows, ROWS_AT_ONCE)):
        windows = _windows(tokenizer, group, model.config.max_position_embeddings)
        bits = _sum_by_row(windows, _bits_of_windows(model, [window for own in windows for window in own]))
        yield from zip(group, map(_likelihood, group, windows, bits), strict=True)
        num_done += len(group)
        if on_progress:
            on_progress(num_done)


def _likelihood(row: Row, windows: list[Window], bits: float) -> Likelihood:
    num_tokens = sum(target != NO_LOSS for window in windows for target in window.targets)
    if not isinstance(row, Conversation):
        return Likelihood(bits, _num_bytes(row.text), num_tokens, num_texts=1)
    num_bytes = sum(_num_bytes(message.learned_content) for message in row.messages)
    return Likelihood(bits, num_bytes, num_tokens, num_conversations=int(row.is_learned))


def _num_bytes(text: str) -> int:
    return len(text.encode("utf-8"))


def _windows(tokenizer: Tokenizer, rows: Sequence[Row], context_length: int) -> list[list[Window]]:
    dialogues = iter(encode_conversations(tokenizer, [row for row in rows if isinstance(row, Conversation)]))
    texts = iter(tokenizer.encode_batch([row.text for row in rows if not isinstance(row, Conversation)]))
    return [
        conversation_windows(
            next(dialogues),
            turn_id=tokenizer.start_of_turn_id,
            has_system=any(turn.role is Role.SYSTEM for turn in tokenizer.chat_template.turns(row.messages)[:1]),
            context_length=context_length,
        )
        if isinstance(row, Conversation)
        else text_windows(next(texts), context_length=context_length)
        for row in rows
    ]


def _sum_by_row(windows: Sequence[list[Window]], bits: list[float]) -> list[float]:
    each = iter(bits)
    return [math.fsum(islice(each, len(own))) for own in windows]


def _bits_of_windows(model: Transformer, windows: Sequence[Window]) -> list[float]:
    bits = [0.0] * len(windows)
    for batch in _batches([len(window.input_ids) for window in windows]):
        for place, nats in zip(batch, _nats(model, [windows[place] for place in batch]), strict=True):
            bits[place] = nats / math.log(2)
    return bits


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Places of windows, neighbours in length together: little is padded, and no window sees another."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[place] > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


@torch.inference_mode()
def _nats(model: Transformer, windows: Sequence[Window]) -> list[float]:
    """Negative log-likelihood of each window's targets; padding comes last, where no token of the window looks."""
    weight, width = model.output_weight, max(len(window.input_ids) for window in windows)
    input_ids_BT = _padded([window.input_ids for window in windows], width, fill=0).to(weight.device)
    targets_BT = _padded([window.targets for window in windows], width, fill=NO_LOSS).to(weight.device)
    places_1T = torch.arange(width, device=weight.device)[None]
    mask = document_mask(torch.zeros_like(places_1T), weight.dtype)
    hidden_BTM = model.hidden(input_ids_BT, places_1T, masked_attention(mask))
    is_scored = targets_BT != NO_LOSS
    surprise = torch.zeros(targets_BT.shape, dtype=torch.float64, device=weight.device)
    surprise[is_scored] = _surprise(model, hidden_BTM[is_scored], targets_BT[is_scored]).double()
    nats = surprise.sum(dim=1).tolist()
    if not all(map(math.isfinite, nats)):
        raise NumericalError("the log-likelihood is not finite; the model's weights are damaged or overflow")
    return nats


def _surprise(model: Transformer, hidden_NM: Tensor, targets_N: Tensor) -> Tensor:
    """Negative log-probability of each target in float32, [N]."""
    parts = []
    for hidden, targets in zip(hidden_NM.split(LOGIT_ROWS), targets_N.split(LOGIT_ROWS), strict=True):
        logits_NV = model.logits(hidden).float()
        parts.append(logits_NV.logsumexp(dim=-1) - logits_NV.gather(1, targets[:, None]).squeeze(1))
    return torch.cat(parts)


def _padded(rows: Sequence[list[int]], width: int, *, fill: int) -> Tensor:
    return torch.tensor([row + [fill] * (width - len(row)) for row in rows], dtype=torch.long)
