"""ReplySoFar: a reply as far as its events have told it, and what a search would say beyond that."""

from __future__ import annotations

from duologue.chat.beam_tree import BeamTree, CompleteReply
from duologue.generation.config import GenerationConfig
from duologue.generation.events import Event, FinishEvent, TokenEvent
from duologue.generation.text_stream import TextStream
from duologue.tokenizer.tokenizer import Tokenizer


class ReplySoFar:
    """What one turn of the model has told.

    Attributes:
        tokens: the settled tokens; their text is never taken back.
        finish: the end of the reply, once it is told.
    """

    def __init__(self, tokenizer: Tokenizer, config: GenerationConfig) -> None:
        """Nothing has been told yet."""
        self.tokenizer, self.config = tokenizer, config
        self.tokens: list[TokenEvent] = []
        self.finish: FinishEvent | None = None
        self._tree = BeamTree(length_penalty=config.length_penalty)
        self._num_shown = 0

    def take(self, event: Event) -> None:
        """Learns what an event tells."""
        self._tree.take(event)
        self._num_shown += len(event.text)
        if isinstance(event, TokenEvent):
            self.tokens.append(event)
        elif isinstance(event, FinishEvent):
            self.finish = event

    def ahead(self) -> str:
        """The text by which the leading beam goes beyond what is settled; it may turn out otherwise."""
        text = TextStream(self.tokenizer, self.config.stop_strings)
        for token_id in (*(token.token_id for token in self.tokens), *self._tree.ahead()):
            text.push(token_id)
        return text.text[self._num_shown :]

    def found(self) -> list[CompleteReply]:
        """The best replies that the search came to, the best first, as many as it has beams."""
        return self._tree.replies()[: self.config.num_beams]
