"""EventStream: the events of a request, from the thread that makes them to the event loop of the one who asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from duologue.generation.events import Event, GenerationOutput
from duologue.generation.request import Request


class Caller:
    """A request, and where the one who asked hears of it: its events, None after the last."""

    def __init__(self, request: Request) -> None:
        """The caller is the one who makes it, in the event loop that runs."""
        self.request, self._loop = request, asyncio.get_running_loop()
        self.inbox: asyncio.Queue[Event | None] = asyncio.Queue()

    def tell(self) -> None:
        """Passes on what happened, from another thread; RuntimeError where the loop is closed."""
        news: list[Event | None] = [*self.request.events]
        self.request.events.clear()
        if self.request.is_over:
            news.append(None)
        if news:
            self._loop.call_soon_threadsafe(self._put, news)

    def _put(self, news: list[Event | None]) -> None:
        for event in news:
            self.inbox.put_nowait(event)


class EventStream(AsyncIterator[Event]):
    """The events of one request as they come; then the error that ended it, where there is one."""

    def __init__(self, caller: Caller, leave: Callable[[Caller], None]) -> None:
        """Listens for a caller, who may ``leave`` before the end."""
        self._caller, self._leave, self._is_over = caller, leave, False

    async def __anext__(self) -> Event:
        if self._is_over:
            raise StopAsyncIteration
        try:
            event = await self._caller.inbox.get()
        except asyncio.CancelledError:
            self._close()
            raise
        if event is None:
            self._is_over = True
            raise self._caller.request.error or StopAsyncIteration
        return event

    async def aclose(self) -> None:
        """Cancels the request, which ends before its next step."""
        self._close()

    def output(self) -> GenerationOutput:
        """All replies, the best first; to be asked for when the events have ended. Errors are those of the request."""
        return self._caller.request.output()

    def _close(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._leave(self._caller)

    def __del__(self) -> None:
        self._close()
