"""TextStream: a reply's text as it grows, with nothing shown that would have to be taken back."""

from __future__ import annotations

from collections.abc import Sequence

from duologue.tokenizer.tokenizer import Tokenizer


class TextStream:
    """Takes tokens, gives text: whole characters only, nothing of a stop string and nothing after one."""

    def __init__(self, tokenizer: Tokenizer, stop_strings: Sequence[str] = ()) -> None:
        """Starts with nothing read."""
        self._decoder = tokenizer.stream_decoder()
        self._num_known = tokenizer.vocab_size
        self._stops = tuple(stop_strings)
        self._held = ""
        self._shown: list[str] = []
        self.is_stopped = False

    @property
    def text(self) -> str:
        """All that has been given out so far."""
        return "".join(self._shown)

    def push(self, token_id: int) -> str:
        """The text that can be shown now that this token is here."""
        # A model's table may be longer than its tokenizer's: such an id has no text.
        return self._show(self._decoder.push(token_id)) if token_id < self._num_known else ""

    def finish(self) -> str:
        """What was held back; call it once, when no more tokens come."""
        last = self._show(self._decoder.flush())
        held, self._held = ("" if self.is_stopped else self._held), ""
        self._shown.append(held)
        return last + held

    def _show(self, text: str) -> str:
        if self.is_stopped:
            return ""
        self._held += text
        ends = [place for place in (self._held.find(stop) for stop in self._stops) if place >= 0]
        self.is_stopped = bool(ends)
        keep = min(ends) if ends else len(self._held) - self._length_of_open_stop()
        shown, self._held = self._held[:keep], self._held[keep:]
        self._shown.append(shown)
        return shown

    def _length_of_open_stop(self) -> int:
        """Length of the longest end of the held text with which a stop string may have begun."""
        longest = max((len(stop) - 1 for stop in self._stops), default=0)
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stops):
                return length
        return 0
