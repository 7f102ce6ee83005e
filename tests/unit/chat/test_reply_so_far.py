"""Settled text and what the leading beam says beyond it."""

from duologue.chat.reply_so_far import ReplySoFar
from duologue.generation.config import GenerationConfig
from duologue.generation.engine import Engine
from duologue.generation.events import BeamExpandEvent, BeamNode, FinishEvent, TokenEvent


def test_settled_text_and_text_ahead_meet(engine: Engine) -> None:
    config = GenerationConfig(num_beams=4, max_new_tokens=12, stop_strings=("are",))
    reply, said, guesses = ReplySoFar(engine.tokenizer, config), "", []
    for event in engine.stream([5, 9, 20], config, tells_beams=True):
        reply.take(event)
        said += event.text
        guesses.append(said + reply.ahead())
        assert guesses[-1].startswith(said)
    expected = engine.generate([5, 9, 20], config)
    assert said == expected.texts[0]
    assert [token.token_id for token in reply.tokens] == expected.sequences[0]
    assert isinstance(reply.finish, FinishEvent)
    assert reply.ahead() == ""
    assert len(reply.found()) <= 4


def test_text_ahead_has_whole_characters_and_stops_where_the_reply_would(engine: Engine) -> None:
    tokenizer = engine.tokenizer
    first, *rest = (bytes([byte]) for byte in "好".encode())
    ids = {tokenizer.token_bytes(token_id): token_id for token_id in range(tokenizer.vocab_size)}
    reply = ReplySoFar(tokenizer, GenerationConfig(num_beams=2, stop_strings=("!",)))
    expected = {b"a": "a", first: "a", rest[0]: "a", rest[1]: "a好", b"!": "a好", b"b": "a好"}
    for number, (raw, text) in enumerate(expected.items()):
        reply.take(BeamExpandEvent(number + 1, (BeamNode(number + 1, number, ids[raw], "", -1.0, -1.0),)))
        assert reply.ahead() == text


def test_settled_text_is_not_told_again(engine: Engine) -> None:
    [token_id] = engine.tokenizer.encode("h")
    reply = ReplySoFar(engine.tokenizer, GenerationConfig())
    reply.take(TokenEvent(0, token_id, -1.0, "h"))
    assert reply.ahead() == ""
    assert reply.found() == []
