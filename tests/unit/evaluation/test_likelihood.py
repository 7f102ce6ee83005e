"""Bits per byte, against ``transformers`` and a plain loop over turns in float64."""

import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from duologue.conversation import Conversation, Message, Role
from duologue.data.formats import PlainText, Row
from duologue.errors import DataError, NumericalError
from duologue.evaluation.likelihood import Likelihood, bits_per_byte, score_rows
from duologue.tokenizer.encode_conversation import encode_prompt
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.transformer.model import Transformer
from duologue.transformer.weights import load_transformer

CONTEXT = 64
PIECES = ["Hello there", "the cat sat", "fifteen", "你好", "今天天气", "谢谢。", "🙂", " and ", "名字？", "x" * 20]


class Oracle:
    """Negative log2-likelihood of tokens after others, by ``transformers``."""

    def __init__(self, folder: Path, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    @torch.no_grad()
    def bits(self, before: list[int], said: list[int]) -> float:
        ids = before + said
        assert len(ids) - 1 <= CONTEXT
        logits = self.model(torch.tensor([ids[:-1]])).logits[0].double()
        chosen = torch.log_softmax(logits, dim=-1)[torch.arange(len(ids) - 1), torch.tensor(ids[1:])]
        return -float(chosen[len(before) - 1 :].sum()) / math.log(2)

    def conversation_bits(self, row: Conversation) -> float:
        """Each assistant turn on its own, behind the system message and the latest turns that fit."""
        total = 0.0
        for place, message in enumerate(row.messages):
            if message.role is Role.ASSISTANT and message.weight:
                said = [*self.tokenizer.encode(message.content), self.tokenizer.end_of_turn_id]
                total += self.bits(self.longest_prompt(row.messages[:place], len(said)), said)
        return total

    def longest_prompt(self, before: tuple[Message, ...], num_said: int) -> list[int]:
        num_kept = 1 if before and before[0].role is Role.SYSTEM else 0
        for begin in range(num_kept, len(before) + 1):
            history = Conversation((*before[:num_kept], *before[begin:]))
            # The open turn of a user is never continued: what is asked for is the assistant's.
            ids = encode_prompt(self.tokenizer, Conversation((*history.messages, Message(Role.ASSISTANT, ""))))
            if len(ids) + num_said <= CONTEXT + 1:
                return ids
        raise AssertionError("the turn does not fit")

    def text_bits(self, row: PlainText) -> float:
        ids = self.tokenizer.encode(row.text)
        starts = range(0, len(ids) - 1, CONTEXT)
        return sum(self.bits(ids[at : at + 1], ids[at + 1 : at + 1 + CONTEXT]) for at in starts)


@pytest.fixture(scope="module")
def oracle(model_folder: Path, tokenizer: Tokenizer) -> Oracle:
    return Oracle(model_folder, tokenizer)


def random_rows(count: int) -> list[Row]:
    rng = random.Random(1)

    def say(most: int) -> str:
        return "".join(rng.choices(PIECES, k=rng.randint(1, most)))

    rows: list[Row] = []
    for index in range(count):
        if index % 4 == 3:
            rows.append(PlainText(say(40)))
            continue
        turns = [say(2) for _ in range(rng.randint(1, 9))]
        row = Conversation.of(*turns, system=say(1) if index % 3 == 0 else None)
        weights = [rng.choice((0, 1, 1)) for _ in row.messages]
        rows.append(replace(row, messages=tuple(map(lambda m, w: replace(m, weight=w), row.messages, weights))))
    return rows


def test_each_row_has_the_bits_of_the_oracle(model: Transformer, tokenizer: Tokenizer, oracle: Oracle) -> None:
    rows = random_rows(60)
    for row, likelihood in score_rows(model, tokenizer, rows):
        expected = oracle.text_bits(row) if isinstance(row, PlainText) else oracle.conversation_bits(row)
        assert likelihood.bits == pytest.approx(expected, rel=1e-5)
    assert any(isinstance(row, Conversation) and len(row.text) > 2 * CONTEXT for row in rows)


def test_rows_together_score_as_rows_one_by_one(model: Transformer, tokenizer: Tokenizer) -> None:
    rows = random_rows(40)
    alone = [next(score_rows(model, tokenizer, [row]))[1] for row in rows]
    for (_, together), expected in zip(score_rows(model, tokenizer, rows), alone, strict=True):
        assert together.bits == pytest.approx(expected.bits, rel=1e-5)
        assert replace(together, bits=0.0) == replace(expected, bits=0.0)
    total = bits_per_byte(model, tokenizer, rows)
    assert total.bits_per_byte == pytest.approx(sum(one.bits for one in alone) / sum(one.num_bytes for one in alone))


def test_bytes_are_those_of_the_replies(model: Transformer, tokenizer: Tokenizer) -> None:
    row = Conversation.of("谁？", "你好 ok", "and?", "né🙂")
    found = bits_per_byte(model, tokenizer, [row, PlainText("天气 a")])
    assert found.num_bytes == (3 + 3 + 3) + (1 + 2 + 4) + (3 + 3 + 2)
    replies = sum(len(tokenizer.encode(text)) + 1 for text in ("你好 ok", "né🙂"))
    assert found.num_tokens == replies + len(tokenizer.encode("天气 a")) - 1
    assert (found.num_conversations, found.num_texts) == (1, 1)
    assert found.to_dict() == {
        "bits_per_byte": found.bits / found.num_bytes, "bits": found.bits, "num_bytes": found.num_bytes,
        "num_tokens": found.num_tokens, "num_conversations": 1, "num_texts": 1,
    }  # fmt: skip


def test_turns_of_weight_0_are_read_but_not_scored(model: Transformer, tokenizer: Tokenizer, oracle: Oracle) -> None:
    row = Conversation.of("Hello", "谢谢。", "the cat?", "fifteen")
    unscored = replace(row, messages=(row.messages[0], replace(row.messages[1], weight=0), *row.messages[2:]))
    found = bits_per_byte(model, tokenizer, [unscored])
    assert (found.num_bytes, found.num_tokens) == (7, len(tokenizer.encode("fifteen")) + 1)
    before = encode_prompt(tokenizer, Conversation(row.messages[:3]))
    expected = oracle.bits(before, [*tokenizer.encode("fifteen"), tokenizer.end_of_turn_id])
    assert found.bits == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("words", [1, 5, 20, 200])
def test_a_longer_history_never_changes_which_bytes_are_scored(
    model: Transformer, tokenizer: Tokenizer, words: int
) -> None:
    row = Conversation.of("cat " * words, "fifteen", "你好 " * words, "谢谢", system="moon " * words)
    found = bits_per_byte(model, tokenizer, [row])
    assert found.num_bytes == 7 + 6
    assert found.num_tokens == len(tokenizer.encode("fifteen")) + len(tokenizer.encode("谢谢")) + 2


@pytest.mark.parametrize("words", [30, 300])
def test_a_reply_longer_than_the_context_is_scored_whole(model: Transformer, tokenizer: Tokenizer, words: int) -> None:
    reply = "天气 cat " * words
    found = bits_per_byte(model, tokenizer, [Conversation.of("Hello", reply)])
    assert found.num_bytes == len(reply.encode())
    assert found.num_tokens == len(tokenizer.encode(reply)) + 1


def test_bfloat16_is_close_to_float32(model_folder: Path, tokenizer: Tokenizer, model: Transformer) -> None:
    rows = random_rows(20)
    narrow = bits_per_byte(load_transformer(model_folder, dtype=torch.bfloat16), tokenizer, rows)
    assert narrow.bits_per_byte == pytest.approx(bits_per_byte(model, tokenizer, rows).bits_per_byte, rel=5e-3)


def test_progress_counts_rows(model: Transformer, tokenizer: Tokenizer) -> None:
    told: list[int] = []
    bits_per_byte(model, tokenizer, [Conversation.of("a", "b")] * 300, on_progress=told.append)
    assert told == [256, 300]


@pytest.mark.parametrize("rows", [[], [Conversation.of("only a question")], [Conversation.of("why?", "")]])
def test_nothing_to_score_is_said(model: Transformer, tokenizer: Tokenizer, rows: list[Row]) -> None:
    with pytest.raises(DataError, match="nothing to score; expected conversations with assistant turns"):
        bits_per_byte(model, tokenizer, rows)


def test_damaged_weights_are_said(model_folder: Path, tokenizer: Tokenizer) -> None:
    damaged = load_transformer(model_folder)
    damaged.model.norm.weight.fill_(math.nan)
    with pytest.raises(NumericalError, match="weights are damaged"):
        bits_per_byte(damaged, tokenizer, [Conversation.of("a", "b")])


def test_likelihoods_add_up() -> None:
    both = Likelihood(8.0, 4, 3, 1, 0) + Likelihood(4.0, 2, 2, 0, 1)
    assert both == Likelihood(12.0, 6, 5, 1, 1)
    assert both.bits_per_byte == 2.0
