"""Transcripts, ``User: ...`` and ``Assistant: ...``, as numbered dialogues.

An empty line or ``---`` ends a dialogue. After an empty line two things still belong to it: a paragraph without a
speaker, and the assistant's reply to a user who has just spoken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from duologue.data.excerpt import excerpt
from duologue.data.lines import MAX_LINE_BYTES, Record, text_lines, too_long
from duologue.data.quarantine import BadKind, RowError

SPEAKERS = {
    "user": "user", "human": "user", "用户": "user", "人类": "user", "问": "user",
    "assistant": "assistant", "ai": "assistant", "bot": "assistant", "chatbot": "assistant", "chatgpt": "assistant",
    "助手": "assistant", "助理": "assistant", "机器人": "assistant", "答": "assistant",
    "system": "system", "系统": "system",
}  # fmt: skip
TURN = re.compile(rf"\s*({'|'.join(SPEAKERS)})\s*[:：]\s*(.*)", re.IGNORECASE | re.DOTALL)
RULE = re.compile(r"\s*-{3,}\s*")


def transcript_rows(chunks: Iterator[bytes]) -> Iterator[Record]:
    """Each dialogue as ``{"messages": [...]}``, numbered by its first line; a RowError in place of a bad one."""
    dialogue = _Dialogue()
    num_empty_lines = 0
    for number, line in text_lines(chunks):
        if isinstance(line, RowError):
            dialogue.reject(number, line)
            continue
        if not line.strip():
            num_empty_lines += 1
            continue
        line = line.removesuffix("\r")
        turn = TURN.fullmatch(line)
        is_rule = turn is None and RULE.fullmatch(line)
        if is_rule or (turn is not None and num_empty_lines and not dialogue.awaits(SPEAKERS[turn[1].casefold()])):
            yield from dialogue.finished()
            dialogue = _Dialogue()
        if turn is not None:
            dialogue.add_turn(number, SPEAKERS[turn[1].casefold()], turn[2])
        elif not is_rule:
            dialogue.add_line(number, line, num_empty_lines)
        num_empty_lines = 0
    yield from dialogue.finished()


class _Dialogue:
    """The dialogue that is being read."""

    def __init__(self) -> None:
        self._first_line = 0
        self._turns: list[tuple[str, list[str]]] = []
        self._size = 0
        self._bad: Record | None = None

    def awaits(self, role: str) -> bool:
        """Whether this role's turn would answer the last one."""
        return role == "assistant" and bool(self._turns) and self._turns[-1][0] == "user"

    def add_turn(self, number: int, role: str, text: str) -> None:
        self._first_line = self._first_line or number
        self._turns.append((role, []))
        self._add(text)

    def add_line(self, number: int, line: str, num_empty_lines: int) -> None:
        if self._turns:
            self._add("\n" * (num_empty_lines + 1) + line)
        else:
            reason = f"stands before any User: or Assistant: of a dialogue: {excerpt(line)}"
            self.reject(number, RowError(BadKind.SHAPE, reason))

    def reject(self, number: int, error: RowError) -> None:
        """Gives the dialogue up, for the first thing that is wrong in it."""
        self._bad = self._bad or (number, error)

    def finished(self) -> Iterator[Record]:
        """The dialogue, if there is one, or why it is none."""
        if self._bad is not None:
            yield self._bad
        elif self._turns:
            messages: list[Any] = [{"role": role, "content": "".join(texts)} for role, texts in self._turns]
            yield self._first_line, {"messages": messages}

    def _add(self, text: str) -> None:
        self._size += len(text)
        if self._size > MAX_LINE_BYTES:
            self.reject(self._first_line, too_long(self._size))
        if self._bad is None:
            self._turns[-1][1].append(text)
