"""ChatSession: a conversation with a model, turn after turn."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from duologue.chat.window import Window, fit_window
from duologue.config import require
from duologue.conversation import Conversation, Message, Role, is_encodable
from duologue.errors import DataError
from duologue.generation.config import GenerationConfig
from duologue.generation.events import Event

if TYPE_CHECKING:
    from duologue.generation.engine import Engine


@dataclass(frozen=True, slots=True)
class TurnsDropped:
    """The oldest messages no longer fit and were left out for good."""

    num_messages: int


class ChatSession:
    """What was said so far, and the model that replies to it."""

    def __init__(self, engine: Engine, config: GenerationConfig, *, system: str | None = None) -> None:
        """A session in which nothing has been said; the system message stays at its head."""
        several = config.num_return_sequences
        require(several == 1, "num_return_sequences", several, "1, since a chat goes on from one reply")
        self.engine, self.config = engine, config
        self._start = Conversation(() if system is None else (Message(Role.SYSTEM, _checked(system)),))
        self.conversation = self._start

    def say(self, text: str, *, tells_beams: bool = False) -> Generator[TurnsDropped | Event, None, None]:
        """The reply to a message, as events; the turn is part of the conversation once the reply is complete.

        Closing the iterator stops the reply and keeps what was said of it; an error leaves all as it was. With
        ``tells_beams`` a beam search tells its whole tree too.

        Raises:
            ContextLengthError: the message is too long on its own; raised at the call.
        """
        asked = self.conversation.says(Role.USER, _checked(text))
        length, room = self.engine.context_length, self.config.max_new_tokens
        window = fit_window(self.engine.tokenizer, asked, context_length=length, max_new_tokens=room)
        return self._reply(window, self.engine.stream(window.conversation, self.config, tells_beams=tells_beams))

    def undo(self) -> bool:
        """Takes the last message and its reply back; false where there is none."""
        messages = self.conversation.messages
        asked = [place for place, message in enumerate(messages) if message.role is Role.USER]
        if asked:
            self.conversation = Conversation(messages[: asked[-1]])
        return bool(asked)

    def reset(self) -> None:
        """Forgets all but the system message."""
        self.conversation = self._start

    def _reply(
        self, window: Window, stream: Generator[Event, None, None]
    ) -> Generator[TurnsDropped | Event, None, None]:
        said: list[str] = []
        try:
            if window.num_dropped:
                yield TurnsDropped(window.num_dropped)
            for event in stream:
                said.append(event.text)
                yield event
        except (GeneratorExit, KeyboardInterrupt):
            if any(said):  # a search tells much before it says a word
                self._keep(window, said)
            raise
        finally:
            stream.close()
        self._keep(window, said)

    def _keep(self, window: Window, said: list[str]) -> None:
        self.conversation = window.conversation.says(Role.ASSISTANT, "".join(said))


def _checked(text: str) -> str:
    if not is_encodable(text):
        raise DataError("the message holds half a surrogate pair, which is not Unicode text; type it again")
    return text
