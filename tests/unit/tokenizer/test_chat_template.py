"""The chat template: prefix property, loss mask, agreement with the Jinja twin."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.conversation import Conversation, Message, Role
from duologue.tokenizer.encode_conversation import NO_LOSS, encode_conversation, encode_conversations, encode_prompt
from duologue.tokenizer.tokenizer import Tokenizer

CONTENT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
MESSAGES = st.lists(st.builds(Message, st.sampled_from(Role), CONTENT, st.sampled_from([0, 1])), min_size=1, max_size=6)


@given(messages=MESSAGES)
def test_turns_are_only_ever_appended(tokenizer: Tokenizer, messages: list[Message]) -> None:
    whole = encode_conversation(tokenizer, Conversation(tuple(messages))).input_ids
    for count in range(len(messages)):
        start = encode_conversation(tokenizer, Conversation(tuple(messages[:count]))).input_ids
        assert whole[: len(start)] == start


@given(messages=MESSAGES)
def test_labels_are_learned_contents_and_their_end_of_turn(tokenizer: Tokenizer, messages: list[Message]) -> None:
    encoded = encode_conversation(tokenizer, Conversation(tuple(messages)))
    expected = []
    for message in messages:
        if message.role is Role.ASSISTANT and message.weight:
            expected += [*tokenizer.encode(message.content), tokenizer.end_of_turn_id]
    assert [label for label in encoded.labels if label != NO_LOSS] == expected
    for token, label in zip(encoded.input_ids, encoded.labels, strict=True):
        assert label in (NO_LOSS, token)


@given(messages=MESSAGES)
def test_control_tokens_count_the_turns(tokenizer: Tokenizer, messages: list[Message]) -> None:
    ids = encode_conversation(tokenizer, Conversation(tuple(messages))).input_ids
    assert ids.count(tokenizer.start_of_turn_id) == ids.count(tokenizer.end_of_turn_id) == len(messages)


def test_a_prompt_leads_to_the_reply(tokenizer: Tokenizer) -> None:
    row = Conversation.of("hi", "hello there")
    prompt = encode_prompt(tokenizer, Conversation(row.messages[:1]))
    whole = encode_conversation(tokenizer, row).input_ids
    assert whole[: len(prompt)] == prompt
    assert whole[len(prompt) :][: len(tokenizer.encode("hello there"))] == tokenizer.encode("hello there")


def test_a_last_assistant_turn_is_left_open(tokenizer: Tokenizer) -> None:
    prompt = encode_prompt(tokenizer, Conversation.of("hi", "hello"))
    assert prompt[-len(tokenizer.encode("hello")) :] == tokenizer.encode("hello")
    assert prompt.count(tokenizer.end_of_turn_id) == 1


def test_many_at_once_equal_one_by_one(tokenizer: Tokenizer, dialogues: list[Conversation]) -> None:
    rows = dialogues[:30]
    assert encode_conversations(tokenizer, rows) == [encode_conversation(tokenizer, row) for row in rows]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_transformers_renders_the_same_ids(
    tokenizer: Tokenizer, model_folder: Path, dialogues: list[Conversation]
) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(model_folder)
    system = Conversation.of("hello", "hi", system="Be brief. 请简短。")
    for row in [system, *dialogues]:
        messages = [message.to_dict() for message in row.messages]
        ids = theirs.apply_chat_template(messages, tokenize=True, return_dict=True)["input_ids"]
        assert ids == encode_conversation(tokenizer, row).input_ids
        prompt = theirs.apply_chat_template(messages[:1], add_generation_prompt=True, return_dict=True)["input_ids"]
        if row.messages[0].role is Role.USER:
            assert prompt == encode_prompt(tokenizer, Conversation(row.messages[:1]))
