"""What went wrong, as one line on stderr and an exit code."""

from __future__ import annotations

import errno
import os
import sys
import traceback

from duologue.cli.main import VERBS
from duologue.errors import DuologueError

FAILED, STOPPED = 1, 130


def report_failure(error: BaseException, *, verb: str, with_traceback: bool) -> int:
    """Says what went wrong and gives the exit code."""
    if isinstance(error, BrokenPipeError):
        return _leave_closed_pipe()
    if with_traceback:
        traceback.print_exception(error)
    command = f"duologue {verb}" if verb in VERBS else "duologue"
    if os.environ.get("WORLD_SIZE", "1") != "1":
        command += f" (process {os.environ.get('RANK')} of {os.environ['WORLD_SIZE']})"
    print(f"{command}: {' '.join(describe(error).splitlines())}", file=sys.stderr)
    if isinstance(error, KeyboardInterrupt):
        return STOPPED
    return error.exit_code if isinstance(error, DuologueError) else FAILED


def describe(error: BaseException) -> str:
    """What went wrong, in a user's words where they are known."""
    if isinstance(error, KeyboardInterrupt):
        return "stopped; the same command carries on"
    if isinstance(error, DuologueError):
        return str(error)
    if _is_disk_full(error):
        # Without a name in the error, the folder that runs are written to by default is the best guess there is.
        place = getattr(error, "filename", None) or os.getcwd()
        return f"{place}: no space left on this disk; make some, and the same command carries on"
    return f"internal error: {type(error).__name__}: {error}; run again with --debug for the traceback"


def _is_disk_full(error: BaseException) -> bool:
    """Also where a library in another language wrote the file, and kept only the system's words."""
    is_said = os.strerror(errno.ENOSPC) in str(error)
    return is_said or (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT))


def _leave_closed_pipe() -> int:
    """Nobody reads stdout any more (``| head``): leaves quietly, and keeps Python from complaining at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
    return FAILED
