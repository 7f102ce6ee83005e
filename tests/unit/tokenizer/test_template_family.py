"""Other makers' templates: recognised by what they write, or refused."""

import json
from pathlib import Path

import pytest

from duologue.conversation import Conversation, Message, Role
from duologue.errors import ModelFolderError
from duologue.tokenizer.chat_template import CHATML, JINJA_TEMPLATE
from duologue.tokenizer.encode_conversation import encode_conversation, encode_prompt, turn_lengths
from duologue.tokenizer.template_family import read_template, recognise_template
from duologue.tokenizer.tokenizer import Tokenizer

# A system line of its own where the conversation brings none, as SmolLM2 and Qwen2.5 have it.
WITH_SYSTEM = (
    "{% for m in messages %}"
    "{% if loop.first and m['role'] != 'system' %}<|im_start|>system\nYou are kind.<|im_end|>\n{% endif %}"
    "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# Reasoning as Qwen3 keeps it: in the replies after the last question only.
WITH_REASONING = """\
{%- set found = namespace(question=messages|length - 1, searching=true) %}
{%- for m in messages[::-1] %}
    {%- if found.searching and m.role == 'user' %}
        {%- set found.searching = false %}
        {%- set found.question = messages|length - 1 - loop.index0 %}
    {%- endif %}
{%- endfor %}
{%- for m in messages %}
    {%- set said = m.content %}
    {%- set thought = '' %}
    {%- if m.role == 'assistant' and '</think>' in said %}
        {%- set thought = said.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
        {%- set said = said.split('</think>')[-1].lstrip('\n') %}
    {%- endif %}
    {{- '<|im_start|>' + m.role + '\n' }}
    {%- if m.role == 'assistant' and loop.index0 > found.question and (loop.last or thought) %}
        {{- '<think>\n' + thought.strip('\n') + '\n</think>\n\n' + said.lstrip('\n') }}
    {%- else %}
        {{- said }}
    {%- endif %}
    {{- '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}
"""
OTHER = "{% for m in messages %}[INST] {{ m.content }} [/INST]{% endfor %}"
TRIMMED = JINJA_TEMPLATE.replace("message['content']", "message['content'] | trim")


def test_our_own_template_is_known_without_rendering() -> None:
    assert recognise_template(JINJA_TEMPLATE, where="here") is CHATML


def test_a_template_is_known_however_it_is_spelled() -> None:
    found = recognise_template(WITH_SYSTEM, where="here")
    assert (found.default_system, found.has_reasoning, found.jinja) == ("You are kind.", False, WITH_SYSTEM)
    found = recognise_template(WITH_REASONING, where="here")
    assert (found.default_system, found.has_reasoning) == (None, True)
    assert recognise_template(JINJA_TEMPLATE.replace("message", "m").replace("ms", "messages"), where="x") == (
        recognise_template(JINJA_TEMPLATE.replace("message", "m").replace("ms", "messages"), where="y")
    )


OTHERS = (OTHER, TRIMMED, "", "{{ messages | tojson }}", WITH_SYSTEM.replace("first", "last"))


@pytest.mark.parametrize("source", OTHERS)
def test_a_template_that_writes_something_else_is_refused(source: str) -> None:
    with pytest.raises(ModelFolderError, match="not approximated"):
        recognise_template(source, where="here")


def test_a_broken_template_is_refused_with_its_place() -> None:
    with pytest.raises(ModelFolderError, match=r"chat_template\.jinja"):
        recognise_template("{% for %}", where="chat_template.jinja")


def test_a_folder_gives_its_template(tmp_path: Path) -> None:
    assert read_template(tmp_path) is CHATML
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": WITH_SYSTEM}))
    assert read_template(tmp_path).default_system == "You are kind."
    named = [{"name": "tool_use", "template": OTHER}, {"name": "default", "template": WITH_REASONING}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
    assert read_template(tmp_path).has_reasoning
    (tmp_path / "chat_template.jinja").write_text(WITH_SYSTEM)  # wins, as in transformers
    assert read_template(tmp_path).default_system == "You are kind."


@pytest.mark.parametrize("content", ["[]", "{", json.dumps({"chat_template": 3})])
def test_a_folder_with_damaged_settings_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer_config.json").write_text(content)
    with pytest.raises(ModelFolderError, match=r"tokenizer_config\.json"):
        read_template(tmp_path)


@pytest.fixture(scope="module")
def kind(tokenizer: Tokenizer) -> Tokenizer:
    """A tokenizer whose template adds a system line."""
    return Tokenizer(tokenizer._backend, recognise_template(WITH_SYSTEM, where="here"))


def test_the_added_system_line_is_read_first_and_never_learned(kind: Tokenizer) -> None:
    row, written = Conversation.of("hello", "hi"), Conversation.of("hello", "hi", system="You are kind.")
    encoded = encode_conversation(kind, row)
    assert encoded == encode_conversation(kind, written)
    assert sum(turn_lengths(kind, row)) == len(encoded.input_ids)
    assert len(turn_lengths(kind, row)) == 3


def test_the_template_with_a_system_line_only_appends(kind: Tokenizer) -> None:
    whole = encode_conversation(kind, Conversation.of("a", "b", "c", "d")).input_ids
    for end in range(1, 4):
        part = encode_conversation(kind, Conversation.of(*"abcd"[:end])).input_ids
        assert whole[: len(part)] == part


@pytest.fixture(scope="module")
def thinking(tokenizer: Tokenizer) -> Tokenizer:
    """A tokenizer with tokens for reasoning, which are text to whoever reads a reply."""
    import tokenizers

    backend = tokenizers.Tokenizer.from_str(tokenizer._backend.to_str())
    backend.add_tokens([tokenizers.AddedToken(mark, normalized=False) for mark in ("<think>", "</think>")])
    return Tokenizer(backend, recognise_template(WITH_REASONING, where="here"))


def test_reasoning_is_taken_out_once_the_conversation_goes_on(thinking: Tokenizer) -> None:
    reply = "<think>\nhm\n</think>\n\nyes"
    first = encode_prompt(thinking, Conversation.of("a"))
    going_on = encode_prompt(thinking, Conversation.of("a", reply, "b"))
    plain = encode_prompt(thinking, Conversation.of("a", "yes", "b"))
    assert going_on == plain
    assert going_on[: len(first)] == first  # what was read of the first question stays valid
    (mark,) = thinking.encode_template("<think>")
    assert mark not in going_on
    assert mark in encode_conversation(thinking, Conversation.of("a", reply)).input_ids


def test_what_a_user_types_is_never_a_mark_of_reasoning(thinking: Tokenizer) -> None:
    marks = {*thinking.encode_template("<think>"), *thinking.encode_template("</think>")}
    row = Conversation((Message(Role.USER, "<think>x</think>"), Message(Role.ASSISTANT, "y"), Message(Role.USER, "z")))
    assert not marks & set(encode_prompt(thinking, row))


def test_marks_of_reasoning_are_part_of_the_text(thinking: Tokenizer) -> None:
    ids = thinking.encode_template("<think>\nhm\n</think>\n\nyes<|im_end|>")
    assert thinking.decode(ids) == "<think>\nhm\n</think>\n\nyes"
    stream = thinking.stream_decoder()
    assert "".join(stream.push(i) for i in ids) + stream.flush() == "<think>\nhm\n</think>\n\nyes"
