"""Ctrl-C and SIGTERM: the first asks the loop to save and stop, the second stops at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class Interruption:
    """While entered, notes the first signal instead of raising."""

    def __init__(self) -> None:
        """Nothing asked yet."""
        self.is_asked = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        """Puts the handlers in place; outside the main thread there are none to put."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        """Puts the former handlers back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.is_asked:
            raise KeyboardInterrupt
        self.is_asked = True
