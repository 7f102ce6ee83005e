"""Rows with and without answers, read from files."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from duologue.conversation import Conversation
from duologue.data.builtin.dialogues import TestItem, builtin_test
from duologue.data.formats import PlainText
from duologue.data.quarantine import Quarantine
from duologue.errors import DataError
from duologue.evaluation.items import read_rows, read_test_items

QUESTION = {"messages": [{"role": "user", "content": "2+2"}], "answers": ["4", "four"], "skill": "sums", "lang": "en"}
DIALOGUE = Conversation.of("hi", "hello").to_dict()


def write(path: Path, *rows: Any) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_the_builtin_test_comes_back(tmp_path: Path) -> None:
    items = list(builtin_test(items_per_skill=2, seed=0))
    path = tmp_path / "test.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(json.dumps(item.to_dict()) for item in items).encode()))
    assert read_test_items(path) == items


def test_rows_of_all_kinds_stand_in_one_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", DIALOGUE, "", "not JSON", QUESTION, {"text": "plain"})
    array = write(tmp_path / "b.json", [DIALOGUE, QUESTION])
    table = write(tmp_path / "c.csv", "question,answer", "hi,hello")
    quarantine = Quarantine()
    rows = list(read_rows([path, array, table, path], quarantine))
    item = TestItem(Conversation.from_dict(QUESTION), "sums", ("4", "four"))
    dialogue = Conversation.of("hi", "hello")
    first = [dialogue, item, PlainText("plain")]
    assert rows == [*first, dialogue, item, dialogue, *first]
    assert quarantine.num_bad == 2


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (QUESTION | {"answers": "4"}, r"test.jsonl:1: answers: expected a list of at least one text"),
        (QUESTION | {"answers": []}, r"test.jsonl:1: answers: expected a list"),
        (QUESTION | {"distance": "far"}, r"test.jsonl:1: distance is 'far'; expected a whole number"),
        (DIALOGUE | {"answers": ["4"]}, r"its last message is of the assistant; expected the user's question"),
        (DIALOGUE, r"row 1 has no answers; expected"),
    ],
)
def test_what_is_wrong_with_an_item_is_said(row: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=complaint):
        read_test_items(write(tmp_path / "test.jsonl", row))
