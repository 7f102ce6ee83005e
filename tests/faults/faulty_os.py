"""``os`` as the writer of files sees it, with one operation on the disk that goes wrong."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from typing import Any

COUNTED = ("open", "write", "fsync", "close", "mkdir", "replace", "unlink", "rmdir")
NEEDS_ROOM = ("open", "write", "mkdir")


class DeadError(BaseException):
    """The process is dead: nothing that it would still have done is done."""


class FaultyOs:
    """``os``, whose n-th operation on the disk goes wrong.

    Attributes:
        way: ``kill`` (in this process, as an exception), ``die`` (the process really), ``full`` (no room from here on),
            ``error`` (this one), ``short`` (half of it is written), or anything else for none.
        count: operations so far.
    """

    def __init__(self, at: int, way: str) -> None:
        self.at, self.way, self.count = at, way, 0

    def __getattr__(self, name: str) -> Any:
        # Only a loss of power could tell whether fsync waits.
        real = _no_wait if name == "fsync" else getattr(os, name)
        return self._counted(name, real) if name in COUNTED else real

    def _counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.count += 1
            if self.way == "kill" and self.count >= self.at:
                raise DeadError
            if self.way == "die" and self.count >= self.at:
                os.kill(os.getpid(), signal.SIGKILL)
            if self.way == "full" and self.count >= self.at and name in NEEDS_ROOM:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if self.count == self.at and self.way == "error":
                if name == "close":
                    real(*arguments)  # Linux gives the descriptor back even so
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            if self.count == self.at and self.way == "short" and name == "write":
                return real(arguments[0], arguments[1][: max(1, len(arguments[1]) // 2)])
            return real(*arguments)

        return call


def _no_wait(descriptor: int) -> None:
    """Stands for fsync."""
