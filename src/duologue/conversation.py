"""The one dialogue type: from a line of a corpus to a reply over HTTP."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from duologue.errors import DataError

FINAL_MARKS = ".。!！"


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


_ROLES = {str(role): role for role in Role}


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: who speaks.
        content: what is said, as plain Unicode text.
        weight: 0 = the turn carries no loss in fine-tuning (OpenAI's field of that name).
        loss_from: characters at the beginning of a learned turn that carry no loss: a slip, say, before its repair.
    """

    role: Role
    content: str
    weight: int = 1
    loss_from: int = 0

    @property
    def is_learned(self) -> bool:
        """Whether fine-tuning learns to say this."""
        return self.role is Role.ASSISTANT and self.weight != 0

    @property
    def learned_content(self) -> str:
        """What of the turn fine-tuning learns to say."""
        return self.content[self.loss_from :] if self.is_learned else ""

    @classmethod
    def from_dict(cls, fields: Any) -> Message:
        """Reads ``{"role", "content", "weight"?, "loss_from"?}``; raises DataError naming the field that is wrong."""
        if not isinstance(fields, Mapping):
            raise DataError(f"a message is {_kind(fields)}; expected an object with role and content")
        role, content, weight = fields.get("role"), fields.get("content"), fields.get("weight", 1)
        known_role = _ROLES.get(role) if isinstance(role, str) else None
        if known_role is None:
            raise DataError(f"role is {role!r}; expected system, user or assistant")
        if not isinstance(content, str):
            raise DataError(f"content of the {role} message is {_kind(content)}; expected text")
        if not is_encodable(content):
            raise DataError(f"content of the {role} message holds half a surrogate pair, which is not Unicode text")
        if isinstance(weight, bool) or weight not in (0, 1, None):
            raise DataError(f"weight of the {role} message is {weight!r}; expected 0 or 1")
        loss_from = fields.get("loss_from") or 0
        if isinstance(loss_from, bool) or not isinstance(loss_from, int) or not 0 <= loss_from <= len(content):
            raise DataError(f"loss_from of the {role} message is {loss_from!r}; expected a number of its characters")
        return cls(known_role, content, 1 if weight is None else int(weight), loss_from)

    def to_dict(self) -> dict[str, Any]:
        """The message as JSON; ``weight`` only where it is not 1, ``loss_from`` only where it is not 0."""
        fields: dict[str, Any] = {"role": str(self.role), "content": self.content}
        fields |= {} if self.weight == 1 else {"weight": self.weight}
        return fields | ({"loss_from": self.loss_from} if self.loss_from else {})


@dataclass(frozen=True, slots=True)
class Conversation:
    """A dialogue: messages in order, and where they come from.

    Attributes:
        messages: the turns, oldest first.
        id: the row's own name, if it has one.
        source: the corpus that the row comes from.
        lang: "en", "zh", or None where nobody said.
    """

    messages: tuple[Message, ...]
    id: str | None = None
    source: str | None = None
    lang: str | None = None

    @classmethod
    def of(cls, *turns: str, system: str | None = None, lang: str | None = None) -> Conversation:
        """A dialogue from its texts: user first, then assistant, and so on in turns."""
        head = () if system is None else (Message(Role.SYSTEM, system),)
        sides = (Role.USER, Role.ASSISTANT)
        return cls(head + tuple(Message(sides[i % 2], text) for i, text in enumerate(turns)), lang=lang)

    @classmethod
    def from_dict(cls, fields: Any) -> Conversation:
        """Reads one JSON object of the contract's form; raises DataError saying what is wrong with it."""
        if not isinstance(fields, Mapping):
            raise DataError(f"the row is {_kind(fields)}; expected an object with messages")
        messages = fields.get("messages")
        if not isinstance(messages, list):
            raise DataError(f"messages is {_kind(messages)}; expected a list")
        if not messages:
            raise DataError("messages is empty; expected at least one")
        labels = {name: fields.get(name) for name in ("id", "source", "lang")}
        read = {name: None if value is None else str(value) for name, value in labels.items()}
        return cls(tuple(Message.from_dict(message) for message in messages), **read)

    def to_dict(self) -> dict[str, Any]:
        """The dialogue as JSON of the contract's form."""
        labels = {"id": self.id, "source": self.source, "lang": self.lang}
        named = {name: value for name, value in labels.items() if value is not None}
        return {"messages": [message.to_dict() for message in self.messages], **named}

    def to_json(self) -> str:
        """The dialogue as one line of a JSONL file, without the line end."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def says(self, role: Role, content: str) -> Conversation:
        """The same dialogue with one more turn."""
        return Conversation((*self.messages, Message(role, content)), self.id, self.source, self.lang)

    @property
    def text(self) -> str:
        """All contents, a line each."""
        return "\n".join(message.content for message in self.messages)

    @property
    def is_learned(self) -> bool:
        """Whether any turn carries loss in fine-tuning."""
        return any(message.is_learned for message in self.messages)


def normalise(text: str) -> str:
    """The text as replies are compared: case, width of characters, white space and a final mark do not count."""
    words = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return words.rstrip(FINAL_MARKS + " ")


def is_encodable(text: str) -> bool:
    """Whether the text can be written as UTF-8: false where half a surrogate pair stands in it."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: Any) -> str:
    """What a JSON value is, in words for a message."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return "missing" if value is None else names.get(type(value), type(value).__name__)
