"""Rows to evaluate on, and among them questions with known answers: ``{"messages": [...], "answers": ["..."]}``.

A question is a conversation that ends with a user turn; beside ``answers`` it may have ``skill`` and ``distance``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from duologue.conversation import Conversation, Role
from duologue.data.builtin.dialogues import TestItem
from duologue.data.fields_beside import FieldsBeside
from duologue.data.formats import Row
from duologue.data.quarantine import Quarantine
from duologue.data.sources import Paths, checked_paths, read_numbered_rows
from duologue.errors import DataError

OTHER_SKILL = "other"


def read_rows(paths: Paths, quarantine: Quarantine | None = None) -> Iterator[Row | TestItem]:
    """The rows of dialogue files one by one, those with answers as test items; bad rows go to the quarantine.

    Raises:
        DataError: as read_conversations does, or a row's answers cannot be used.
    """
    beside = FieldsBeside()
    for numbered in read_numbered_rows(checked_paths(paths), quarantine or Quarantine()):
        fields = beside.fields_of(numbered)
        if fields.get("answers") is None or not isinstance(numbered.row, Conversation) or "messages" not in fields:
            yield numbered.row
        else:
            yield _item(fields, numbered.row, f"{numbered.path}:{numbered.line_number}")


def read_test_items(path: str | Path) -> list[TestItem]:
    """The questions of a file, each with its answers.

    Raises:
        DataError: a row is no question with answers, or the file cannot be read.
    """
    items = []
    for number, row in enumerate(read_rows(path), 1):
        if not isinstance(row, TestItem):
            raise DataError(f'{path}: row {number} has no answers; expected {{"messages": [...], "answers": ["..."]}}')
        items.append(row)
    return items


def _item(fields: Mapping[str, Any], conversation: Conversation, place: str) -> TestItem:
    answers, skill, distance = fields["answers"], fields.get("skill"), fields.get("distance")
    if not isinstance(answers, list) or not answers or not all(isinstance(one, str) for one in answers):
        raise DataError(f'{place}: answers: expected a list of at least one text, such as ["yes"]')
    last = conversation.messages[-1].role
    if last is not Role.USER:
        raise DataError(f"{place}: has answers, but its last message is of the {last}; expected the user's question")
    if distance is not None and (isinstance(distance, bool) or not isinstance(distance, int)):
        raise DataError(f"{place}: distance is {distance!r}; expected a whole number")
    return TestItem(conversation, OTHER_SKILL if skill is None else str(skill), tuple(answers), distance)
