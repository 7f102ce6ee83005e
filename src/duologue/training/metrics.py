"""What a training run says of itself: a line of ``metrics.jsonl`` a step, and a plot of the loss."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from duologue.durable_files import make_folder, replace_file, sync
from duologue.errors import RunFolderError


@dataclass(frozen=True)
class StepMetrics:
    """One optimiser step.

    Attributes:
        loss: nats a token, mean over the step's labels; None where it is no number.
        gradient_norm: likewise.
        share_of_peak: operations done over what the machine's measured matrix product would do; 0 if not measured.
        validation_loss: nats a token on the validation rows, where this step looked.
        event: what was unusual: the step was skipped, or the run went back to it.
    """

    step: int
    loss: float | None
    rate: float
    gradient_norm: float | None
    num_tokens: int
    tokens_per_s: float
    share_of_peak: float
    elapsed_s: float
    validation_loss: float | None = None
    event: str | None = None


class MetricsFile:
    """Appends metrics to ``metrics.jsonl``; what a killed run wrote past its checkpoint is dropped on resume."""

    def __init__(self, path: Path, *, first_step: int, is_writer: bool = True) -> None:
        """Opens the file and keeps the lines before ``first_step``; of several processes one is the writer."""
        self._path, self._is_writer = path, is_writer
        # How far a run has come that was killed: further than its checkpoint.
        self.steps_seen = self.rewind(first_step)

    def rewind(self, step: int) -> int:
        """Drops the lines from ``step`` on; gives how many steps there were lines of."""
        if not self._is_writer:
            return 0
        lines = list(read_metrics(self._path))
        kept = [line for line in lines if line["step"] < step]
        try:
            make_folder(self._path.parent)
            replace_file(self._path, "".join(json.dumps(line) + "\n" for line in kept).encode())
        except OSError as error:
            raise _not_written(self._path, error) from None
        return max((int(line["step"]) + 1 for line in lines), default=0)

    def append(self, metrics: StepMetrics) -> None:
        """Adds one line."""
        if not self._is_writer:
            return
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(metrics), allow_nan=False) + "\n")
        except OSError as error:
            raise _not_written(self._path, error) from None

    def sync(self) -> None:
        """Returns once all lines are on the disk: a checkpoint does not go ahead of its metrics."""
        if not self._is_writer:
            return
        try:
            sync(self._path)
        except OSError as error:
            raise _not_written(self._path, error) from None


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a metrics file; one that was cut short at the end is left out."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            return


def plot_loss(metrics_path: Path, image_path: Path, *, title: str) -> None:
    """Draws training and validation loss against tokens seen, as a PNG."""
    from matplotlib.figure import Figure

    lines = [line for line in read_metrics(metrics_path) if line["loss"] is not None]
    if not lines:
        return
    tokens = [line["num_tokens"] / 1e6 for line in lines]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(tokens, [line["loss"] for line in lines], color="#9db4c8", linewidth=0.8, label="training, each step")
    axes.plot(tokens, _smoothed([line["loss"] for line in lines]), color="#1f4e79", label="training, smoothed")
    looks = [(t, line["validation_loss"]) for t, line in zip(tokens, lines, strict=True) if line["validation_loss"]]
    if looks:
        axes.plot(*zip(*looks, strict=True), "o-", color="#c8641e", markersize=3, label="validation")
    axes.set(title=title, xlabel="million tokens seen", ylabel="loss, nats a token")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(image_path, dpi=120)


def finite(value: float) -> float | None:
    """The number, where it is one: JSON has no others."""
    return value if math.isfinite(value) else None


def _smoothed(values: list[float], *, keep: float = 0.95) -> list[float]:
    smooth, mean, weight = [], 0.0, 0.0
    for value in values:
        mean, weight = keep * mean + (1 - keep) * value, keep * weight + 1 - keep
        smooth.append(mean / weight)
    return smooth


def _not_written(path: Path, error: OSError) -> RunFolderError:
    return RunFolderError(f"{path}: cannot be written: {error.strerror or error}; free space and start again")
