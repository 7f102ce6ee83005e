"""AsyncEngine: one engine for many callers at once, in as many event loops as they like.

One thread runs the scheduler, and nobody else touches it. Callers leave word under a lock, and hear in their own event
loop what happened; nobody polls.
"""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Self

from duologue.config import require
from duologue.conversation import Role
from duologue.errors import BusyError, ClosedError
from duologue.generation.config import GenerationConfig
from duologue.generation.engine import Engine
from duologue.generation.event_stream import Caller, EventStream
from duologue.generation.events import GenerationOutput
from duologue.generation.prompt import Prompt


class AsyncEngine:
    """Replies to many callers at once; each gets what it would get alone."""

    def __init__(self, engine: Engine, *, max_waiting: int = 256) -> None:
        """Starts the thread; until ``aclose`` the engine belongs to it alone.

        Args:
            engine: what replies.
            max_waiting: requests that may wait to be begun with.
        """
        require(max_waiting >= 1, "max_waiting", max_waiting, "1 or more")
        self._engine, self._max_waiting = engine, max_waiting
        self._check = threading.Lock()  # an engine checks one request at a time
        self._word = threading.Condition()  # guards the word that callers leave:
        self._arrived: list[Caller] = []
        self._left: list[Caller] = []
        self._num_waiting, self._is_closed = 0, False
        self._callers: list[Caller] = []  # the thread's own
        self._thread = threading.Thread(target=self._work, name="duologue-engine", daemon=True)
        self._thread.start()

    def stream(
        self,
        prompt: Prompt,
        config: GenerationConfig | None = None,
        *,
        role: Role = Role.ASSISTANT,
        tells_beams: bool = False,
    ) -> EventStream:
        """Events as they come; closing the iterator, or cancelling the task that waits for it, cancels.

        Raises, at the call:
            BusyError: too many requests wait already.
            ClosedError: there was an ``aclose``; later, where it cuts the request off.
            Others as ``Engine.stream``.
        """
        with self._check:
            request = self._engine.request(prompt, config, role=role, tells_beams=tells_beams)
        caller = Caller(request)
        with self._word:
            num_waiting = self._num_waiting + len(self._arrived)
            if self._is_closed:
                raise ClosedError("engine: is closed; nothing more can be asked of it")
            if num_waiting >= self._max_waiting:
                raise BusyError(f"engine: {num_waiting} requests wait already, expected at most {self._max_waiting}; "
                                "try again later")  # fmt: skip
            self._arrived.append(caller)
            self._word.notify()
        return EventStream(caller, self._leave)

    async def generate(
        self, prompt: Prompt, config: GenerationConfig | None = None, *, role: Role = Role.ASSISTANT
    ) -> GenerationOutput:
        """All replies at once; errors and cancelling as for ``stream``."""
        stream = self.stream(prompt, config, role=role)
        async for _ in stream:
            pass
        return stream.output()

    async def aclose(self) -> None:
        """Cancels what runs or waits, and ends the thread. The engine is free again."""
        with self._word:
            self._is_closed = True
            self._word.notify()
        await asyncio.to_thread(self._thread.join)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def _leave(self, caller: Caller) -> None:
        with self._word:
            self._left.append(caller)
            self._word.notify()

    def _work(self) -> None:
        scheduler = self._engine.scheduler
        try:
            while self._listen():
                try:
                    scheduler.step()
                except Exception as error:  # of no single request: those are with the request
                    scheduler.fail_all(error)
                self._tell()
        finally:
            self._cut_off()

    def _listen(self) -> bool:
        """Waits for something to do, and takes the callers' word; false where there was an ``aclose``."""
        scheduler = self._engine.scheduler
        with self._word:
            self._word.wait_for(lambda: self._arrived or self._left or self._is_closed or not scheduler.is_idle)
            arrived, self._arrived = self._arrived, []
            left, self._left = self._left, []
            self._num_waiting += len(arrived)
            is_closed = self._is_closed
        for caller in arrived:
            self._callers.append(caller)
            scheduler.submit(caller.request)
        for caller in left:
            scheduler.cancel(caller.request)
        return not is_closed

    def _tell(self) -> None:
        scheduler = self._engine.scheduler
        with self._word:  # before anybody is told, who might ask at once for more
            self._num_waiting = scheduler.num_waiting
        for caller in self._callers:
            try:
                caller.tell()
            except RuntimeError:  # nobody can hear it any more
                scheduler.cancel(caller.request)
        self._callers = [caller for caller in self._callers if not caller.request.is_over]

    def _cut_off(self) -> None:
        self._is_closed = True
        self._listen()
        for caller in self._callers:
            self._engine.scheduler.cancel(caller.request)
            caller.request.error = ClosedError("engine: was closed before the reply was complete")
        self._tell()
