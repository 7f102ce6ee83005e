"""How far the steps of a preparation are: a bar over each one's tasks and the time, or a line at its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LOOK_S = 0.5


class StepProgress:
    """Counts the markers that finished tasks leave, wherever they run."""

    def __init__(self, console: Console) -> None:
        """Writes to a console."""
        self._console = console

    @contextmanager
    def watch(self, name: str, markers: Path, num_tasks: int) -> Iterator[None]:
        """Shows a step while it runs."""
        start, has_ended = time.monotonic(), threading.Event()
        columns = (TextColumn("  {task.description:<8}"), BarColumn(bar_width=30), TimeElapsedColumn(),
                   TextColumn("{task.completed}/{task.total} tasks, left"), TimeRemainingColumn())  # fmt: skip
        with Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal) as bar:
            task = bar.add_task(name, total=num_tasks, completed=_num_done(markers))

            def look() -> None:
                while not has_ended.wait(LOOK_S):
                    bar.update(task, completed=_num_done(markers))

            thread = threading.Thread(target=look, daemon=True)
            thread.start()
            try:
                yield
            finally:
                has_ended.set()
                thread.join()
        seconds = time.monotonic() - start
        self._console.print(f"  {name:<8} {num_tasks} tasks in {seconds:.0f} s", style="dim")


def _num_done(markers: Path) -> int:
    return len(list(markers.glob("*"))) if markers.is_dir() else 0
