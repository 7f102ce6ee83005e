"""The chat in a terminal: line editing, replies as they are written, a few commands."""

from __future__ import annotations

import contextlib
import re
import sys
import unicodedata
from typing import TYPE_CHECKING

from duologue.chat.session import ChatSession, TurnsDropped
from duologue.errors import DuologueError
from duologue.generation.events import FinishEvent, FinishReason

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

COMMANDS = {
    "/undo": "take the last message and its reply back",
    "/reset": "start again",
    "/help": "this list",
    "/exit": "leave (as Ctrl-D does)",
}
ASKS, REPLIES = "you: ", "bot: "


def print_reply(session: ChatSession, text: str) -> FinishEvent | None:
    """Says a text, prints the reply on stdout as it comes, and gives its end."""
    finish, on_terminal = None, sys.stdout.isatty()
    try:
        with contextlib.closing(session.say(text)) as events:
            for event in events:
                if isinstance(event, TurnsDropped):
                    note(f"the oldest {event.num_messages} messages no longer fit and were left out")
                    continue
                print(_harmless(event.text) if on_terminal else event.text, end="", flush=True)
                finish = event if isinstance(event, FinishEvent) else None
    finally:
        print(flush=True)
    return finish


def chat_in_terminal(session: ChatSession) -> None:
    """Reads messages and prints replies until the user leaves."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import InMemoryHistory

    prompts: PromptSession[str] = PromptSession(history=InMemoryHistory())
    note("Ctrl-C stops a reply, Ctrl-D leaves, /help lists the commands")
    while (text := _ask(prompts)) is not None:
        if not text.strip():
            continue
        if re.fullmatch(r"/\w+\s*", text):
            if text.strip() == "/exit":
                return
            _obey(session, text.strip())
        else:
            _converse(session, text)


def note(text: str) -> None:
    """Tells the user something that is not part of the conversation."""
    print(f"({text})", file=sys.stderr, flush=True)


def _harmless(text: str) -> str:
    """The text without control characters: what a model writes must not move the cursor or change the terminal."""
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) != "Cc")


def _ask(prompts: PromptSession[str]) -> str | None:
    """The next message; empty where Ctrl-C threw the line away, None where the user leaves."""
    try:
        return prompts.prompt(ASKS)
    except KeyboardInterrupt:
        return ""
    except EOFError:
        return None


def _converse(session: ChatSession, text: str) -> None:
    print(REPLIES, end="", flush=True)
    try:
        finish = print_reply(session, text)
    except KeyboardInterrupt:
        note("stopped")
    except DuologueError as error:
        note(str(error))
    else:
        if finish is not None and finish.reason is FinishReason.LENGTH:
            note("the reply reached its greatest length")


def _obey(session: ChatSession, command: str) -> None:
    if command == "/undo":
        note("taken back" if session.undo() else "nothing to take back")
    elif command == "/reset":
        session.reset()
        note("a new conversation")
    else:
        if command != "/help":
            note(f"no command {command}")
        for name, what in COMMANDS.items():
            print(f"  {name:<8}{what}", file=sys.stderr)
