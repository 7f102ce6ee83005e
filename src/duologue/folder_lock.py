"""One process at a time: a lock on a file, which the system gives back however its process ends."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from duologue.errors import BusyError

if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[bytes]) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


TAKEN = (errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK, errno.EDEADLK)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock that a file stands for; the file says which process holds it, and stays.

    Raises:
        BusyError: another process holds it.
        OSError: the file cannot be made.
    """
    with open(path, "a+b") as file:
        try:
            _lock(file)
        except OSError as error:
            if error.errno not in TAKEN:
                raise
            raise BusyError(f"{path}: is held by {_holder(path)}") from None
        file.truncate(0)
        file.write(f" {os.getpid()}\n".encode())  # on Windows nobody else can read the locked first byte
        file.flush()
        yield


def _holder(path: Path) -> str:
    try:
        number = path.read_bytes().strip().decode("ascii", "replace")
    except OSError:
        number = ""
    return f"process {number}" if number else "another process"
