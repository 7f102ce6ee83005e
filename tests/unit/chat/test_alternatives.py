"""The tables of what a reply could have been."""

import io
import math
import re

import pytest
from rich.console import Console, RenderableType

from duologue.chat.alternatives import reply_table, token_table, tokens_to_json
from duologue.chat.reply_so_far import ReplySoFar
from duologue.generation.config import GenerationConfig
from duologue.generation.engine import Engine
from duologue.generation.events import TokenEvent


def printed(table: RenderableType) -> list[str]:
    console = Console(file=io.StringIO(), width=200)
    console.print(table)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def ask(engine: Engine, config: GenerationConfig) -> ReplySoFar:
    reply = ReplySoFar(engine.tokenizer, config)
    for event in engine.stream([5, 9, 20], config, tells_beams=True):
        reply.take(event)
    return reply


def test_the_likeliest_tokens_are_those_of_the_model(engine: Engine) -> None:
    reply = ask(engine, GenerationConfig(max_new_tokens=5, logprobs=3))
    [first, *_] = found = tokens_to_json(reply)
    ids = [token["token_id"] for token in found]
    every = [[token_id] for token_id in range(engine.model.vocab_size)]
    scores = {score.index: score.sum_logprob for score in engine.score([5, 9, 20], every)}
    assert [top["token_id"] for top in first["top_logprobs"]] == sorted(scores, key=lambda i: -scores[i])[:3]
    assert [top["logprob"] for top in first["top_logprobs"]] == pytest.approx(sorted(scores.values())[:-4:-1], abs=1e-4)
    assert all(token["top_logprobs"][0]["token_id"] == i for token, i in zip(found, ids, strict=True))
    lines = printed(token_table(reply))[1:]
    assert len(lines) == len(ids)
    assert lines[0].count("%") == 4


def test_tokens_are_shown_so_that_they_can_be_told_apart(engine: Engine) -> None:
    tokenizer = engine.tokenizer
    ids = {tokenizer.token_bytes(token_id): token_id for token_id in range(tokenizer.vocab_size)}
    reply = ReplySoFar(tokenizer, GenerationConfig(logprobs=1))
    shown = {b" ": "␣", b"\n": "\\n", b"\x1b": "\\x1b", "你".encode()[:1]: "<e4>", b"[": "["}
    for raw in shown:
        top = ((ids[raw], math.log(0.5)), (ids[b"a"], math.log(0.004)))
        reply.take(TokenEvent(0, ids[raw], math.log(0.5), "", top))
    reply.take(TokenEvent(0, tokenizer.vocab_size + 1, 0.0, "", ()))
    expected = [f"{text} 50% {text} 50% a 0.4%" for text in shown.values()]
    assert printed(token_table(reply))[1:] == [*expected, f"#{tokenizer.vocab_size + 1} 100%"]


def test_the_replies_of_a_search_come_with_their_scores(engine: Engine) -> None:
    config = GenerationConfig(num_beams=3, max_new_tokens=6)
    lines = printed(reply_table(ask(engine, config)))[1:]
    scores = [float(line.split()[0]) for line in lines if re.match(r"-\d", line)]  # a reply may have lines of its own
    expected = engine.generate([5, 9, 20], GenerationConfig(num_beams=3, max_new_tokens=6, num_return_sequences=3))
    assert scores == pytest.approx(expected.sequences_scores, abs=1e-3)
