"""The shapes of a row: each is found by its fields and becomes a Conversation, or a PlainText to be read as it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from duologue.conversation import Conversation, is_encodable
from duologue.data.excerpt import excerpt
from duologue.data.quarantine import BadKind, RowError
from duologue.errors import DataError


@dataclass(frozen=True, slots=True)
class PlainText:
    """Text with no turns, for pretraining.

    Attributes:
        text: all of it.
        id, source, lang: as in Conversation.
    """

    text: str
    id: str | None = None
    source: str | None = None
    lang: str | None = None


Row = Conversation | PlainText


class Shape(StrEnum):
    """Which fields a row has."""

    MESSAGES = "messages"
    SHAREGPT = "sharegpt"
    ALPACA = "alpaca"
    PAIRS = "pairs"
    TEXT = "text"


# The names under which data sets keep what is asked and what is answered, the surest first.
USER_NAMES = (
    "instruction", "user", "question", "prompt", "query", "human", "input", "q",
    "指令", "用户", "问题", "提问", "提示", "问", "用户输入", "输入",
)  # fmt: skip
ASSISTANT_NAMES = (
    "output", "assistant", "answer", "response", "reply", "completion", "bot", "gpt", "ai", "a",
    "输出", "助手", "回答", "答案", "回复", "答", "应答", "机器人",
)  # fmt: skip
SYSTEM_NAMES = ("system", "系统", "系统提示")
INPUT_NAMES = ("input", "输入")
LABELS = ("id", "source", "lang")

SHAREGPT_ROLES = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant",
    "bot": "assistant", "model": "assistant", "system": "system",
}  # fmt: skip


def parse_row(fields: Any) -> tuple[Shape, Row]:
    """The row that a JSON value or a table's line stands for, and the shape in which it stands there.

    Raises:
        DataError: it has no known shape (RowError of kind SHAPE), or a field in it is wrong.
    """
    shape = shape_of(fields)
    if shape is None:
        keys = f"has none of the known shapes; its fields are {', '.join(map(str, fields)) or 'none'}"
        raise RowError(BadKind.SHAPE, excerpt(keys, 160))
    row = PARSERS[shape](fields)
    _require_usable(row)
    return shape, row


def shape_of(fields: Any) -> Shape | None:
    """The shape of a row, by the names of its fields; None where it has none that is known."""
    if not isinstance(fields, Mapping):
        raise RowError(BadKind.SHAPE, f"is no object: {_shown(fields)}")
    if "messages" in fields:
        return Shape.MESSAGES
    if "conversations" in fields:
        return Shape.SHAREGPT
    names = pair_names(fields)
    if names is not None:
        return Shape.ALPACA if names[0] in ("instruction", "指令") else Shape.PAIRS
    return Shape.TEXT if "text" in fields else None


def pair_names(names: Mapping[str, Any] | list[str]) -> tuple[str, str] | None:
    """Which two of the names hold what is asked and what is answered; None where it is not clear."""
    asked = next((name for name in USER_NAMES if name in names), None)
    answered = next((name for name in ASSISTANT_NAMES if name in names), None)
    return None if asked is None or answered is None else (asked, answered)


def _from_sharegpt(fields: Mapping[str, Any]) -> Conversation:
    turns = fields["conversations"]
    if not isinstance(turns, list):
        raise RowError(BadKind.FIELD, f"conversations is {_shown(turns)}; expected a list of from and value")
    return _conversation(_system_turn(fields) + [_from_sharegpt_turn(turn) for turn in turns], fields)


def _from_sharegpt_turn(turn: Any) -> Any:
    if not isinstance(turn, Mapping) or "from" not in turn:
        return turn  # with role and content, or wrong in a way that Message names
    speaker = turn["from"]
    role = SHAREGPT_ROLES.get(speaker.casefold()) if isinstance(speaker, str) else None
    if role is None:
        raise RowError(BadKind.FIELD, f"from is {_shown(speaker)}; expected system, human or gpt")
    return {"role": role, "content": turn.get("value"), "weight": turn.get("weight")}


def _from_pair(fields: Mapping[str, Any]) -> Conversation:
    asked_name, answered_name = pair_names(fields) or ("", "")
    question = fields[asked_name]
    for name in INPUT_NAMES:
        if name in fields and name != asked_name and isinstance(question, str):
            question = _joined(question, fields[name], name)
    turns = [_turn("user", question), _turn("assistant", fields[answered_name])]
    return _conversation(_system_turn(fields) + _history(fields.get("history")) + turns, fields)


def _joined(instruction: str, given: Any, name: str) -> str:
    """Alpaca's instruction, and on the next line what it is about."""
    if given is not None and not isinstance(given, str):
        raise RowError(BadKind.FIELD, f"{name} is {_shown(given)}; expected text")
    return f"{instruction}\n{given}" if given else instruction


def _history(pairs: Any) -> list[Any]:
    if not pairs:
        return []
    if not isinstance(pairs, list) or any(not isinstance(pair, list) or len(pair) != 2 for pair in pairs):
        raise RowError(BadKind.FIELD, f"history is {_shown(pairs)}; expected a list of [question, answer]")
    return [_turn(role, text) for pair in pairs for role, text in zip(("user", "assistant"), pair, strict=True)]


def _system_turn(fields: Mapping[str, Any]) -> list[Any]:
    texts = [fields[name] for name in SYSTEM_NAMES if fields.get(name)]
    return [_turn("system", text) for text in texts[:1]]


def _turn(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def _conversation(turns: list[Any], fields: Mapping[str, Any]) -> Conversation:
    return Conversation.from_dict({"messages": turns} | {name: fields.get(name) for name in LABELS})


def _from_text(fields: Mapping[str, Any]) -> PlainText:
    text = fields["text"]
    if not isinstance(text, str):
        raise RowError(BadKind.FIELD, f"text is {_shown(text)}; expected text")
    labels = {name: fields.get(name) for name in LABELS}
    return PlainText(text, **{name: None if value is None else str(value) for name, value in labels.items()})


PARSERS: dict[Shape, Callable[[Mapping[str, Any]], Row]] = {
    Shape.MESSAGES: Conversation.from_dict,
    Shape.SHAREGPT: _from_sharegpt,
    Shape.ALPACA: _from_pair,
    Shape.PAIRS: _from_pair,
    Shape.TEXT: _from_text,
}


def _shown(value: Any) -> str:
    return excerpt(json.dumps(value, ensure_ascii=False), 60)


def _require_usable(row: Row) -> None:
    contents = [row.text] if isinstance(row, PlainText) else [message.content for message in row.messages]
    if not any(content and not content.isspace() for content in contents):
        raise RowError(BadKind.EMPTY, "is empty: no turn says anything")
    if any("\0" in content for content in contents):
        raise RowError(BadKind.NUL, "holds a NUL character in its text")
    labels = (row.id, row.source, row.lang, row.text if isinstance(row, PlainText) else None)
    if any(label is not None and not is_encodable(label) for label in labels):
        raise DataError("holds half a surrogate pair, which is not Unicode text")
