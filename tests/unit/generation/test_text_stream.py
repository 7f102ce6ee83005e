"""Streamed text is what the whole text is, never half a character, never a piece of a stop string."""

import pytest

from duologue.generation.engine import Engine
from duologue.generation.text_stream import TextStream
from duologue.tokenizer.tokenizer import Tokenizer


@pytest.fixture
def tokenizer(engine: Engine) -> Tokenizer:
    return engine.tokenizer


def pieces_of(tokenizer: Tokenizer, text: str, *stops: str, by_byte: bool = False) -> tuple[list[str], bool]:
    stream = TextStream(tokenizer, stops)
    units = [bytes([byte]) for byte in text.encode()] if by_byte else [text]
    if by_byte:
        single = {tokenizer.token_bytes(i): i for i in range(tokenizer.vocab_size) if i not in tokenizer.control_ids}
        ids = [single[unit] for unit in units]
    else:
        ids = tokenizer.encode(text)
    shown = []
    for token_id in ids:
        shown.append(stream.push(token_id))
        if stream.is_stopped:
            break
    shown.append(stream.finish())
    assert stream.text == "".join(shown)
    return shown, stream.is_stopped


@pytest.mark.parametrize("text", ["Hello, how are you?", "你好，🙂 naïve 👩‍👩‍👧", ""])
def test_bytes_one_by_one_make_whole_characters(tokenizer: Tokenizer, text: str) -> None:
    shown, is_stopped = pieces_of(tokenizer, text, by_byte=True)
    assert "".join(shown) == text
    assert not is_stopped
    assert all("�" not in piece for piece in shown)


@pytest.mark.parametrize(
    ("text", "stops", "kept"),
    [
        ("one STOP two", ["STOP"], "one "),
        ("one STO", ["STOP"], "one STO"),
        ("one STOSTOP", ["STOP"], "one STO"),
        ("aab aac", ["aac", "c"], "aab "),
        ("你好。再见。", ["。再"], "你好"),
        ("User: hi\nUser: you", ["\nUser:"], "User: hi"),
        ("xyz", ["x"], ""),
        ("abcabd", ["bcabd", "abe"], "a"),
    ],
)
@pytest.mark.parametrize("by_byte", [True, False])
def test_a_stop_string_cuts_before_itself(
    tokenizer: Tokenizer, text: str, stops: list[str], kept: str, by_byte: bool
) -> None:
    shown, is_stopped = pieces_of(tokenizer, text, *stops, by_byte=by_byte)
    assert "".join(shown) == kept
    assert is_stopped == any(stop in text for stop in stops)


def test_what_may_become_a_stop_string_is_held_back(tokenizer: Tokenizer) -> None:
    shown, _ = pieces_of(tokenizer, "ab STxy", "STOP", by_byte=True)
    assert shown == ["a", "b", " ", "", "", "STx", "y", ""]


def test_a_character_cut_off_at_the_end_is_shown_as_broken(tokenizer: Tokenizer) -> None:
    stream = TextStream(tokenizer)
    first_byte = next(i for i in range(tokenizer.vocab_size) if tokenizer.token_bytes(i) == "你".encode()[:1])
    assert stream.push(first_byte) == ""
    assert stream.push(tokenizer.end_of_turn_id) == ""
    assert stream.finish() == "�"
