"""A chat goes on turn after turn, drops its oldest turns when it must, and survives being stopped."""

import contextlib

import pytest

from duologue.chat.carry_on import carry_on
from duologue.chat.session import ChatSession, TurnsDropped
from duologue.chat.window import fit_window
from duologue.conversation import Conversation, Role
from duologue.errors import ConfigError, ContextLengthError, DataError
from duologue.generation.config import GenerationConfig
from duologue.generation.engine import Engine
from duologue.generation.events import FinishEvent
from duologue.tokenizer.encode_conversation import encode_prompt

CONFIG = GenerationConfig(max_new_tokens=10)


@pytest.fixture
def session(engine: Engine) -> ChatSession:
    return ChatSession(engine, CONFIG, system="be kind")


def reply_to(session: ChatSession, text: str) -> list[object]:
    return list(session.say(text))


def test_turns_are_kept_in_order(session: ChatSession) -> None:
    reply_to(session, "hello")
    assert [message.role for message in session.conversation.messages] == [Role.SYSTEM, Role.USER, Role.ASSISTANT]
    assert session.conversation.messages[1].content == "hello"


def test_undo_and_reset(session: ChatSession) -> None:
    assert not session.undo()
    reply_to(session, "hello")
    before = session.conversation
    reply_to(session, "you?")
    assert session.undo()
    assert session.conversation == before
    session.reset()
    assert [message.role for message in session.conversation.messages] == [Role.SYSTEM]


def test_the_second_turn_reads_only_what_is_new(session: ChatSession) -> None:
    session.engine.forget()
    *_, first = session.say("hello")
    *_, second = session.say("hello")
    assert isinstance(first, FinishEvent)
    assert isinstance(second, FinishEvent)
    assert first.stats.cached_tokens == 0
    assert second.stats.cached_tokens >= first.stats.prompt_tokens


def test_the_oldest_turns_drop_out_and_it_is_said(session: ChatSession) -> None:
    dropped = [event for _ in range(8) for event in session.say("how are you?") if isinstance(event, TurnsDropped)]
    assert dropped
    messages = session.conversation.messages
    assert messages[0].content == "be kind"
    assert messages[1].role is Role.USER
    assert messages[-2].content == "how are you?"
    assert len(encode_prompt(session.engine.tokenizer, session.conversation)) <= 96


def test_a_message_too_long_on_its_own_changes_nothing(session: ChatSession) -> None:
    reply_to(session, "hello")
    before = session.conversation
    with pytest.raises(ContextLengthError, match=r"the message takes \d+ tokens and \d+ fit; shorten it"):
        session.say("x" * 300)
    assert session.conversation == before


def test_stopping_keeps_what_was_said(session: ChatSession) -> None:
    with contextlib.closing(session.say("hello")) as events:
        said = [next(events).text for _ in range(3)]
    assert session.conversation.messages[-1].role is Role.ASSISTANT
    assert session.conversation.messages[-1].content == "".join(said)
    reply_to(session, "go on")


def test_stopping_before_the_first_token_changes_nothing(session: ChatSession) -> None:
    before = session.conversation
    session.say("hello").close()
    assert session.conversation == before


def test_stopping_a_search_before_its_first_word_changes_nothing(engine: Engine) -> None:
    session = ChatSession(engine, GenerationConfig(max_new_tokens=10, num_beams=3))
    before = session.conversation
    with contextlib.closing(session.say("hello", tells_beams=True)) as events:
        assert next(events).text == ""
    assert session.conversation == before


def test_half_a_surrogate_is_refused(session: ChatSession) -> None:
    with pytest.raises(DataError, match="surrogate"):
        session.say("\ud800")


def test_several_replies_are_refused(engine: Engine) -> None:
    with pytest.raises(ConfigError, match="num_return_sequences: is 2"):
        ChatSession(engine, GenerationConfig(temperature=0.5, num_return_sequences=2))


def test_the_window_leaves_short_conversations_alone(engine: Engine) -> None:
    row = Conversation.of("hello", "you", "hello", system="be kind")
    window = fit_window(engine.tokenizer, row, context_length=96, max_new_tokens=10)
    assert window.conversation == row
    assert window.num_dropped == 0


def test_the_model_carries_both_sides_on(engine: Engine) -> None:
    turns = list(carry_on(engine, Conversation.of("hello"), CONFIG, num_turns=12))
    assert [turn.role for turn in turns] == [Role.ASSISTANT, Role.USER] * 6
    first = engine.generate(Conversation.of("hello"), CONFIG)
    assert turns[0].output.sequences == first.sequences
    second = engine.generate(Conversation.of("hello", first.texts[0]), CONFIG, role=Role.USER)
    assert turns[1].output.sequences == second.sequences
