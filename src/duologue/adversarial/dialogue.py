"""A dialogue made harder, with all that was done to it, so that it can be shown, counted and undone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from duologue.adversarial.edits import Edit, apply_edits, undo_edits
from duologue.conversation import Conversation, Message


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be done to a dialogue; turns are counted in the dialogue as it was.

    Attributes:
        edits: of a turn's text, in order.
        added: messages that are put before a turn.
        added_by: the family that put them there.
    """

    edits: Mapping[int, tuple[Edit, ...]] = field(default_factory=dict)
    added: Mapping[int, tuple[Message, ...]] = field(default_factory=dict)
    added_by: str = ""

    def __bool__(self) -> bool:
        return bool(any(self.edits.values()) or self.added)

    def text(self, turn: int, content: str) -> str:
        """What a turn says now, that said ``content``."""
        return apply_edits(content, self.edits.get(turn, ()))


@dataclass(frozen=True, slots=True)
class HarderDialogue:
    """A dialogue with its changes.

    Attributes:
        clean: as it was.
        changes: what was done.
        families: the kinds of noise in it.
        severity: how strong the noise was meant to be, 0 to 1.
    """

    clean: Conversation
    changes: Changes
    families: tuple[str, ...] = ()
    severity: float = 0.0

    @property
    def conversation(self) -> Conversation:
        """As it is now."""
        changes, messages = self.changes, list[Message]()
        for turn, message in enumerate(self.clean.messages):
            messages += changes.added.get(turn, ())
            is_edited = bool(changes.edits.get(turn))
            messages.append(_edited(message, changes.text(turn, message.content)) if is_edited else message)
        return replace(self.clean, messages=tuple(messages))

    def to_dict(self) -> dict[str, Any]:
        """The dialogue as a row of a file; ``adversarial`` has what it takes to undo the changes."""
        if not self.changes:
            return self.clean.to_dict()
        changes = self.changes
        record: dict[str, Any] = {"families": list(self.families), "severity": round(self.severity, 4)}
        record["edits"] = [
            [turn, edit.start, edit.end, edit.old, edit.new, edit.family]
            for turn, edits in sorted(changes.edits.items())
            for edit in edits
        ]
        if changes.added:
            record["added"] = [[turn, len(messages)] for turn, messages in sorted(changes.added.items())]
        return self.conversation.to_dict() | {"adversarial": record}


def undo(row: Mapping[str, Any]) -> Conversation:
    """The dialogue that a row was made from, byte for byte."""
    harder, record = Conversation.from_dict(row), row.get("adversarial")
    if not record:
        return harder
    edits: dict[int, list[Edit]] = {}
    for turn, *fields in record["edits"]:
        edits.setdefault(turn, []).append(Edit(*fields))
    added = dict(record.get("added", ()))
    messages: list[Message] = []
    left = list(harder.messages)
    while left:
        turn = len(messages)
        del left[: added.get(turn, 0)]
        message = left.pop(0)
        messages.append(replace(message, content=undo_edits(message.content, edits.get(turn, ()))))
    return replace(harder, messages=tuple(messages))


def _edited(message: Message, content: str) -> Message:
    return replace(message, content=content, loss_from=0)  # no edited turn carries loss


def with_edit(changes: Changes, turn: int, edits: Sequence[Edit]) -> Changes:
    """The changes with these edits of a turn."""
    return replace(changes, edits={**changes.edits, turn: tuple(edits)})
