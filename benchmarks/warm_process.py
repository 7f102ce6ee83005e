"""A process that stays warm between the rounds of a benchmark: a line in, an answer of one word and JSON out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any


class WarmProcess:
    """A worker of a benchmark, started and ready."""

    def __init__(self, command: list[str], name: str, *, threads: int, errors: int | None = None) -> None:
        """Starts it, and waits until it says READY; what it said with that is ``ready``."""
        self._name, self._worker = name, command[1]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        )  # fmt: skip
        self.ready = self._answer("READY")

    def ask(self, line: str) -> dict[str, Any]:
        """What it answers to a line."""
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._answer("DONE")

    def stop(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()

    def _answer(self, word: str) -> dict[str, Any]:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith(word):
                return json.loads(line.removeprefix(word))
        sys.exit(f"{self._name}: ended; run {self._worker} by hand to see why")
