"""The chat in a terminal: line editing, replies as they are written, a few commands."""

from __future__ import annotations

import contextlib
import re
import sys
from typing import TYPE_CHECKING

from duologue.chat.beam_view import BeamView, can_show_beams, harmless
from duologue.chat.reply_so_far import ReplySoFar
from duologue.chat.session import ChatSession, TurnsDropped
from duologue.errors import DuologueError
from duologue.generation.events import FinishReason

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from rich.console import RenderableType

COMMANDS = {
    "/undo": "take the last message and its reply back",
    "/reset": "start again",
    "/beams": "the best replies that the last search came to",
    "/help": "this list",
    "/exit": "leave (as Ctrl-D does)",
}
ASKS, REPLIES = "you: ", "bot: "


class PlainView:
    """Prints a reply as it comes; to a file or a pipe exactly, to a terminal without control characters."""

    def __init__(self) -> None:
        """A view at the cursor."""
        self._on_terminal = sys.stdout.isatty()

    def show(self, text: str) -> None:
        """More of the reply."""
        print(harmless(text) if self._on_terminal else text, end="", flush=True)

    def close(self) -> None:
        """Nothing is left to be done."""


def print_reply(session: ChatSession, text: str, *, lead: str = "") -> ReplySoFar:
    """Says a text, prints the reply on stdout as it comes, and gives all that was told of it.

    On a terminal a search is shown live. With ``logprobs`` a table of the likeliest tokens follows, on stderr.
    """
    reply = ReplySoFar(session.engine.tokenizer, session.config)
    shows_beams = can_show_beams(session.config)
    view = BeamView(sys.stdout, reply.ahead, column=len(lead)) if shows_beams else PlainView()
    print(lead, end="", flush=True)
    try:
        with contextlib.closing(view), contextlib.closing(session.say(text, tells_beams=shows_beams)) as events:
            for event in events:
                if isinstance(event, TurnsDropped):
                    note(f"the oldest {event.num_messages} messages no longer fit and were left out")
                    print(lead, end="", flush=True)
                else:
                    reply.take(event)
                    view.show(event.text)
    finally:
        print(flush=True)
    if session.config.logprobs:
        from duologue.chat.alternatives import token_table

        _print_table(token_table(reply))
    return reply


def chat_in_terminal(session: ChatSession) -> None:
    """Reads messages and prints replies until the user leaves."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import InMemoryHistory

    prompts: PromptSession[str] = PromptSession(history=InMemoryHistory())
    note("Ctrl-C stops a reply, Ctrl-D leaves, /help lists the commands")
    last: ReplySoFar | None = None
    while (text := _ask(prompts)) is not None:
        if not text.strip():
            continue
        if re.fullmatch(r"/\w+\s*", text):
            if text.strip() == "/exit":
                return
            _obey(session, text.strip(), last)
        else:
            last = _converse(session, text)


def note(text: str) -> None:
    """Tells the user something that is not part of the conversation."""
    print(f"({text})", file=sys.stderr, flush=True)


def _ask(prompts: PromptSession[str]) -> str | None:
    """The next message; empty where Ctrl-C threw the line away, None where the user leaves."""
    try:
        return prompts.prompt(ASKS)
    except KeyboardInterrupt:
        return ""
    except EOFError:
        return None


def _converse(session: ChatSession, text: str) -> ReplySoFar | None:
    try:
        reply = print_reply(session, text, lead=REPLIES)
    except KeyboardInterrupt:
        note("stopped")
    except DuologueError as error:
        note(str(error))
    else:
        if reply.finish is not None and reply.finish.reason is FinishReason.LENGTH:
            note("the reply reached its greatest length")
        return reply
    return None


def _obey(session: ChatSession, command: str, last: ReplySoFar | None) -> None:
    if command == "/undo":
        note("taken back" if session.undo() else "nothing to take back")
    elif command == "/reset":
        session.reset()
        note("a new conversation")
    elif command == "/beams":
        _show_found(last)
    else:
        if command != "/help":
            note(f"no command {command}")
        for name, what in COMMANDS.items():
            print(f"  {name:<8}{what}", file=sys.stderr)


def _show_found(last: ReplySoFar | None) -> None:
    if last is None or not last.found():
        note("no search that came to an end; start the chat with --num-beams 4")
        return
    from duologue.chat.alternatives import reply_table

    _print_table(reply_table(last))


def _print_table(table: RenderableType) -> None:
    from rich.console import Console

    Console(stderr=True, highlight=False).print(table)
