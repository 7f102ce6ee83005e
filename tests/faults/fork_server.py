"""Starts ``duologue`` in forks of a process that has loaded everything, so that a start takes milliseconds.

Reads a JSON object a line: ``{"start": words, "log": path}`` is answered by the process number, ``{"wait": number}`` by
its exit code, negative for the signal that ended it.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import NoReturn

import matplotlib.backends.backend_agg  # noqa: F401
import torch._dynamo  # noqa: F401

import duologue.pipeline.plan
import duologue.pipeline.stages  # noqa: F401
from duologue.cli.main import main


def start(words: list[str], log: str) -> int:
    """The number of a new process with a process group of its own."""
    return os.fork() or become(words, log)


def become(words: list[str], log: str) -> NoReturn:
    os.setpgid(0, 0)
    sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    code = 70
    try:
        code = main(words)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


print("ready", flush=True)
for line in sys.stdin:
    order = json.loads(line)
    if "start" in order:
        print(start(order["start"], order["log"]), flush=True)
    else:
        print(os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1]), flush=True)
