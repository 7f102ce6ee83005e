"""Commands that train for a second, the process that starts them at once, and what has to be the same afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from safetensors.numpy import load_file

from duologue.training.checkpoint import checkpoint_folders
from duologue.training.metrics import read_metrics

STEPS = 60
COLUMNS = ("step", "loss", "gradient_norm", "rate", "validation_loss", "num_tokens", "event")


class Starter:
    """Runs the command line in processes that start at once."""

    def __init__(self, server: subprocess.Popen[str], log: Path) -> None:
        self._server, self.log = server, log

    def start(self, *words: str, **faults: object) -> int:
        """The number of the process; ``faults`` are those of fork_server."""
        return self._ask({"start": words, "log": str(self.log), "faults": faults})

    def wait(self, process: int) -> int:
        """Its exit code, negative for a signal."""
        return self._ask({"wait": process})

    def run(self, *words: str, **faults: object) -> int:
        return self.wait(self.start(*words, **faults))

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def _ask(self, order: dict[str, object]) -> int:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())


def words(data: Path, out: Path, *more: str) -> list[str]:
    """Pretraining of ``tiny`` with a checkpoint every few steps."""
    return ["pretrain", "tiny", "--data", str(data), "--steps", str(STEPS), "--seed", "1", "--out", str(out),
            "--data.builtin_dialogues", "0", "--pretraining.evaluate_every", "30",
            "--pretraining.save_every_s", "0.2", *more]  # fmt: skip


def short_words(verb: str, data: Path, out: Path, *more: str) -> list[str]:
    """Any stage, or ``up``, with batches so small that a step takes milliseconds, and many checkpoints."""
    settings = {"steps": STEPS, "batch_tokens": 256, "sequence_length": 64, "evaluate_every": 20, "save_every_s": 0.05}
    flags = [word for stage in ("pretraining", "finetuning") for name, value in settings.items()
             for word in (f"--{stage}.{name}", str(value))]  # fmt: skip
    return [verb, "tiny", "--data", str(data), "--out", str(out), "--data.builtin_dialogues", "0", *flags, *more]


def result(out: Path) -> dict[str, object]:
    """What has to be the same to the last bit: weights, optimiser, tokens, and what was measured on the way."""
    kept: dict[str, object] = {}
    for pattern in ("tokenizer/tokenizer.json", "data/*/*.*", "*/model/model.safetensors", "*/adapter/*.safetensors"):
        kept |= {str(path.relative_to(out)): path.read_bytes() for path in out.glob(pattern)}
    for path in out.glob("*/checkpoints"):
        newest = next(checkpoint_folders(path))
        kept |= {str(file.relative_to(out)): numbers(file) for file in newest.glob("*.safetensors")}
    for path in out.glob("*/metrics.jsonl"):
        kept[str(path.relative_to(out))] = [[line[name] for name in COLUMNS] for line in read_metrics(path)]
    return kept


def numbers(file: Path) -> bytes | dict[str, bytes]:
    """A file's bytes; of one that a process wrote as its part, those of its tensors: the header's order is chance."""
    if not file.name.startswith("shard-"):
        return file.read_bytes()
    return {name: array.tobytes() for name, array in load_file(file).items()}


def await_file(pattern: str, folder: Path, *, timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not list(folder.glob(pattern)):
        assert time.monotonic() < end, f"no {pattern} in {folder}"
        time.sleep(0.01)


def kill_after_a_checkpoint(starter: Starter, command: list[str], out: Path, **faults: object) -> None:
    """Kills a command that pretrains, as soon as it has something to go on from."""
    process = starter.start(*command, **faults)
    await_file("pretraining/checkpoints/step-*", out)
    os.kill(process, signal.SIGKILL)
    starter.wait(process)


def leftovers(out: Path) -> list[Path]:
    """What a killed writer left, and nobody took away."""
    return [path for path in out.rglob(".*") if path.name != ".lock"]
