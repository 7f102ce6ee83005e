"""The shapes in which dialogues come, each found by itself."""

import json
from pathlib import Path
from typing import Any

import pytest

from duologue.conversation import Conversation, Message, Role
from duologue.data.formats import PlainText, Shape, parse_row
from duologue.data.quarantine import BadKind, BadRow, RowError
from duologue.data.sources import read_conversations
from duologue.errors import DataError

HELLO = Conversation.of("hi", "hello")
REPLY = {"role": "assistant", "content": "hello"}


@pytest.mark.parametrize(
    ("fields", "shape", "row"),
    [
        ({"messages": [{"role": "user", "content": "hi"}, REPLY]}, "messages", HELLO),
        ({"text": "once"}, "text", PlainText("once")),
        ({"text": "once", "lang": "en", "id": 7}, "text", PlainText("once", id="7", lang="en")),
        ({"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]}, "sharegpt", HELLO),
        ({"conversations": [{"role": "user", "content": "hi"}, {"from": "GPT", "value": "hello"}]}, "sharegpt", HELLO),
        (
            {"system": "be kind", "conversations": [{"from": "human", "value": "hi"}, REPLY]},
            "sharegpt",
            Conversation.of("hi", "hello", system="be kind"),
        ),
        ({"instruction": "hi", "input": "", "output": "hello"}, "alpaca", HELLO),
        ({"instruction": "hi", "output": "hello"}, "alpaca", HELLO),
        ({"instruction": "add", "input": "1, 2", "output": "3"}, "alpaca", Conversation.of("add\n1, 2", "3")),
        (
            {"instruction": "c", "input": None, "output": "d", "history": [["a", "b"]], "system": "s"},
            "alpaca",
            Conversation.of("a", "b", "c", "d", system="s"),
        ),
        ({"prompt": "hi", "completion": "hello"}, "pairs", HELLO),
        ({"question": "hi", "answer": "hello", "text": "both"}, "pairs", HELLO),
        ({"问题": "hi", "回答": "hello"}, "pairs", HELLO),
    ],
)
def test_shape_is_found(fields: dict[str, Any], shape: str, row: object) -> None:
    assert parse_row(fields) == (Shape(shape), row)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"conversations": "hi"}, 'conversations is "hi"'),
        ({"conversations": []}, "messages is empty"),
        ({"conversations": [{"from": "observation", "value": "x"}]}, 'from is "observation"'),
        ({"conversations": [{"from": "human", "value": 3}]}, "content of the user message is a number"),
        ({"conversations": ["hi"]}, "a message is text"),
        ({"instruction": "a", "output": None}, "content of the assistant message is missing"),
        ({"instruction": ["a"], "input": "b", "output": "c"}, "content of the user message is a list"),
        ({"instruction": "a", "input": 1, "output": "c"}, "input is 1"),
        ({"instruction": "a", "output": "c", "history": [["x"]]}, "history is .*expected a list"),
        ({"text": None}, "text is null"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        parse_row(fields)


def test_an_unknown_shape_names_the_fields_that_it_has() -> None:
    with pytest.raises(RowError, match="its fields are foo, bar") as caught:
        parse_row({"foo": 1, "bar": 2})
    assert caught.value.kind is BadKind.SHAPE


def read(path: Path, content: str) -> tuple[list[Any], list[BadRow]]:
    path.write_bytes(content.encode())
    bad: list[BadRow] = []
    return list(read_conversations(path, on_bad=bad.append)), bad


@pytest.mark.parametrize(
    "header",
    ["user,assistant", "Question, Answer ", "prompt,response", "instruction,output", "问题,回答", "用户,助手",
     "提问,答案", "\ufeffquestion,answer", "question;answer", "question\tanswer"],
)  # fmt: skip
def test_columns_are_known_by_their_names(tmp_path: Path, header: str) -> None:
    delimiter = next(mark for mark in ",;\t" if mark in header)
    rows, bad = read(tmp_path / "a.csv", f"{header}\nhi{delimiter}hello\n\n你好{delimiter}您好")
    assert (rows, bad) == ([HELLO, Conversation.of("你好", "您好")], [])


def test_cells_keep_their_quotes_commas_and_lines(tmp_path: Path) -> None:
    cell = '"so, he said ""yes""\r\n\r\nand left"'
    rows, bad = read(tmp_path / "a.csv", f"id,question,input,answer,extra\r\n7,why,{cell},,x\r\n")
    turns = (Message(Role.USER, 'why\nso, he said "yes"\r\n\r\nand left'), Message(Role.ASSISTANT, ""))
    assert rows == [Conversation(turns, id="7")]
    assert bad == []


def test_bad_table_rows_have_the_line_on_which_they_begin(tmp_path: Path) -> None:
    content = 'q,a\n1,"x\ny"\nonly one\n"a"b,c\n' + "2,z\n" * 400 + '"never closed,1\n3,4\n'
    rows, bad = read(tmp_path / "a.csv", content)
    assert rows == [Conversation.of("1", "x\ny")] + [Conversation.of("2", "z")] * 400
    assert [(one.line_number, one.kind) for one in bad] == [(line, BadKind.TABLE) for line in (4, 5, 406)]
    assert "up to line 407" in bad[2].reason


@pytest.mark.parametrize("broken", [b"\xff", b"a\0b"])
def test_a_table_row_with_a_broken_line_in_it_is_put_aside_whole(tmp_path: Path, broken: bytes) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(b'text\n"one\n' + broken + b'\nthree"\nfour, with a comma\n')
    bad: list[BadRow] = []
    assert list(read_conversations(path, on_bad=bad.append)) == [PlainText("four, with a comma")]
    assert [one.line_number for one in bad] == [3]


def test_transcripts_in_both_languages(tmp_path: Path) -> None:
    content = (
        "User: hi\nAssistant: hello\n\nHuman: a\nAI: b\nmore of b\n\n  and a paragraph\n---\n"
        "用户：你好\r\n助手：您好\r\n\r\nsystem: be kind\nUSER : x\n\nBot: y"
    )
    rows, bad = read(tmp_path / "a.txt", content)
    assert bad == []
    assert rows == [
        HELLO,
        Conversation.of("a", "b\nmore of b\n\n  and a paragraph"),
        Conversation.of("你好", "您好"),
        Conversation.of("x", "y", system="be kind"),
    ]


def test_a_broken_transcript_line_costs_its_dialogue_only(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"User: a\nBot: b\n\nUser: \nBot: \xff\nBot: c\n---\nno speaker\n\nUser: d\nBot: e")
    bad: list[BadRow] = []
    assert list(read_conversations(path, on_bad=bad.append)) == [Conversation.of("a", "b"), Conversation.of("d", "e")]
    assert [(one.line_number, one.kind) for one in bad] == [(5, BadKind.UTF8), (8, BadKind.SHAPE)]


@pytest.mark.parametrize("indent", [None, 2])
def test_json_lists_pretty_or_not(tmp_path: Path, indent: int | None) -> None:
    rows = [{"instruction": f'a {n} "[{{\\', "output": "\\"} for n in range(3)]
    read_rows, bad = read(tmp_path / "a.json", json.dumps(rows, indent=indent))
    assert bad == []
    assert read_rows == [Conversation.of(row["instruction"], row["output"]) for row in rows]


def test_a_json_list_with_bad_elements_has_their_lines(tmp_path: Path) -> None:
    good = [f'{{"text": "{n}"}}' for n in range(400)]
    content = "[\n" + ",\n".join([good[0], '{"text": oh}', "17", *good[1:]]) + "\n]\n"
    rows, bad = read(tmp_path / "a.json", content)
    assert len(rows) == 400
    assert [(one.line_number, one.kind) for one in bad] == [(3, BadKind.JSON), (5, BadKind.FIELD)]


def test_a_json_list_that_is_cut_keeps_what_came_before(tmp_path: Path) -> None:
    rows, bad = read(tmp_path / "a.json", '[{"text": "a"},\n{"text": "b"},\n{"text": "c')
    assert rows == [PlainText("a"), PlainText("b")]
    assert [(one.line_number, one.kind) for one in bad] == [(3, BadKind.JSON)]


def test_one_pretty_object_is_one_row(tmp_path: Path) -> None:
    rows, bad = read(tmp_path / "a.json", json.dumps({"text": "a"}, indent=2))
    assert (rows, bad) == ([PlainText("a")], [])


def test_formats_are_reported_by_name(tmp_path: Path) -> None:
    files = {"a.csv": "q,a\n1,2", "a.tsv": "q\ta\n1\t2", "a.txt": "User: a", "a.jsonl": '{"text": "x"}'}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    reader = read_conversations([tmp_path / name for name in files])
    assert len(list(reader)) == 4
    assert [count.format for count in reader.quarantine.files] == ["csv", "tsv", "transcript", "text"]
