"""Which chat template a model folder has: told by what it writes, since the same template is spelled in many ways.

A Jinja template that comes with a model is never used to encode what people say. It is rendered for some conversations,
and the template of ours that writes the same for all of them is the model's. Where there is none, the model is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from duologue.conversation import Message, Role
from duologue.errors import ModelFolderError
from duologue.tokenizer.bpe import END_OF_TURN, START_OF_TURN
from duologue.tokenizer.chat_template import CHATML, JINJA_TEMPLATE, ChatTemplate
from duologue.tokenizer.template_guard import check_template, render_template

SYSTEM, ASKS, REPLIES = "Be brief.", (" How are you?\n", "再见！", "3 + 4?"), ("Fine,\n  thanks! ", "", "7")
REASONED = "<think>\nThree and four.\n</think>\n\nSeven"


def read_template(folder: Path) -> ChatTemplate:
    """The template of a model folder; ChatML where it has none.

    Raises:
        ModelFolderError: it is none that is reproduced here exactly, or not safe to look at.
    """
    for path, source in _sources(folder):
        if source is not None:
            return recognise_template(source, where=str(path))
    return CHATML


def recognise_template(source: str, *, where: str) -> ChatTemplate:
    """Our template that writes what this Jinja template writes.

    Args:
        where: file or field that it comes from, for messages.
    """
    if source == JINJA_TEMPLATE:
        return CHATML
    check_template(source, where=where)
    candidates = [CHATML, ChatTemplate(default_system=_default_system(source, where)), ChatTemplate(has_reasoning=True)]
    for candidate in candidates:
        if all(_render(source, probe, adds, where) == candidate.render(probe, add_generation_prompt=adds)
               for probe in _probes() for adds in (False, True)):  # fmt: skip
            return replace(candidate, jinja=source)
    known = "ChatML, ChatML with a default system message, Qwen3"
    raise ModelFolderError(f"{where}: this chat template is none that is known here ({known}); it is not approximated")


def _sources(folder: Path) -> Iterator[tuple[Path, str | None]]:
    path = folder / "chat_template.jinja"
    if path.is_file():
        yield path, path.read_text(encoding="utf-8")
    path = folder / "tokenizer_config.json"
    if path.is_file():
        try:
            found = json.loads(path.read_text(encoding="utf-8")).get("chat_template")
        except (ValueError, AttributeError, RecursionError):
            raise ModelFolderError(f"{path}: is not a JSON object; copy the folder again") from None
        yield path, _default_of(found, path)


def _default_of(found: object, path: Path) -> str | None:
    """The template itself, or of several named ones the default."""
    if isinstance(found, list):
        named = {entry.get("name"): entry.get("template") for entry in found if isinstance(entry, dict)}
        found = named.get("default")
    if found is None or isinstance(found, str):
        return found
    raise ModelFolderError(f"{path}: chat_template is {type(found).__name__}; expected text")


def _render(source: str, probe: list[Message], adds: bool, where: str) -> str | None:
    messages = [message.to_dict() for message in probe]
    try:
        return render_template(source, messages=messages, add_generation_prompt=adds)
    except Exception as error:  # a template may refuse a conversation in any way it likes
        raise ModelFolderError(f"{where}: cannot write a plain conversation: {error}") from None


def _default_system(source: str, where: str) -> str | None:
    """The system message that the template adds to a conversation without one."""
    written = _render(source, [Message(Role.USER, "x")], False, where) or ""
    head, found, _ = written.partition(f"{END_OF_TURN}\n{START_OF_TURN}{Role.USER}\n")
    opening = f"{START_OF_TURN}{Role.SYSTEM}\n"
    return head.removeprefix(opening) if found and head.startswith(opening) else None


def _probes() -> Iterator[list[Message]]:
    """Conversations of all the kinds that chat and training bring."""
    turns = [message for asked, replied in zip(ASKS, REPLIES, strict=True)
             for message in (Message(Role.USER, asked), Message(Role.ASSISTANT, replied))]  # fmt: skip
    for length in range(1, len(turns) + 1):
        yield turns[:length]
        yield [Message(Role.SYSTEM, SYSTEM), *turns[:length]]
    yield [turns[0], Message(Role.ASSISTANT, REASONED), *turns[2:3]]
    yield [turns[0], Message(Role.ASSISTANT, REASONED)]
    yield [Message(Role.SYSTEM, ""), turns[0], turns[2], turns[1], Message(Role.ASSISTANT, REASONED), turns[5]]
