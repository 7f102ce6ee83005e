"""What a person sees while a recipe runs: notes, one progress bar a stage, a reply as it improves. All on stderr."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from duologue.training.metrics import StepMetrics

SECONDS_BETWEEN_LINES = 30.0  # without a terminal, a line now and then instead of a moving bar


class Display:
    """Writes to stderr; a moving bar on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console | None = None) -> None:
        """A display on stderr, unless a console is given."""
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True)

    @classmethod
    def silent(cls) -> Display:
        """One that nobody sees."""
        return cls(Console(quiet=True))

    def title(self, text: str) -> None:
        """Begins a part."""
        self.console.print(f"[bold]{escape(text)}[/bold]")

    def note(self, text: str) -> None:
        """Says something, on a line of its own."""
        self.console.print(f"  {escape(text)}", style="dim")

    @contextmanager
    def counting(self, what: str) -> Iterator[Callable[[int], None]]:
        """Counts something whose end is not known: ``12,000 rows tokenised``."""
        start, last = time.monotonic(), 0
        with self.console.status(what) as status:

            def count(number: int) -> None:
                nonlocal last
                last = number
                status.update(f"{what}: {number:,}")

            yield count
        self.note(f"{what}: {last:,} in {time.monotonic() - start:.0f} s")

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """A bar over a known number of things."""
        columns = (TextColumn(f"  {escape(what)}"), BarColumn(), TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
                   TimeRemainingColumn())  # fmt: skip
        with Progress(*columns, console=self.console, transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda done: bar.update(task, completed=done)

    @contextmanager
    def training(self, name: str) -> Iterator[TrainingView]:
        """The view of one training stage."""
        columns = (TextColumn(f"  {escape(name)}"), BarColumn(bar_width=20), TextColumn("{task.description}"))
        if not self.console.is_terminal:
            yield TrainingView(self, name, None)
            return
        with Progress(*columns, console=self.console, transient=True) as bar:
            yield TrainingView(self, name, bar)


class TrainingView:
    """Step, loss, tokens a second, share of the machine's peak, time left."""

    def __init__(self, display: Display, name: str, bar: Progress | None) -> None:
        """Shows a bar where there is one, else a line every half minute."""
        self._display, self._name, self._bar = display, name, bar
        self._task: TaskID | None = bar.add_task("starting", total=1.0) if bar else None
        self._last_line = time.monotonic()

    def on_step(self, metrics: StepMetrics, seconds_left: float | None) -> None:
        """Takes one step's metrics."""
        text = describe_step(metrics, seconds_left)
        if self._bar is not None and self._task is not None:
            share = metrics.elapsed_s / (metrics.elapsed_s + seconds_left) if seconds_left is not None else 0.0
            self._bar.update(self._task, description=text, completed=share)
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self._display.console.print(f"  {self._name}: {text}", markup=False)


def describe_step(metrics: StepMetrics, seconds_left: float | None) -> str:
    """One line: ``step 120  loss 2.345  8,100 tokens/s  61% of peak  3:20 left``."""
    loss = "no loss" if metrics.loss is None else f"loss {metrics.loss:.3f}"
    parts = [f"step {metrics.step + 1}", loss, f"{metrics.tokens_per_s:,.0f} tokens/s"]
    if metrics.share_of_peak:
        parts.append(f"{metrics.share_of_peak:.0%} of peak")
    if seconds_left is not None:
        parts.append(f"{int(seconds_left) // 60}:{int(seconds_left) % 60:02d} left")
    return "  ".join(parts)
