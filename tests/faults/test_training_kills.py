"""A run that is killed at random moments, and started again each time, ends with the bits of an unbroken one."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from duologue.conversation import Conversation
from duologue.training.checkpoint import checkpoint_folders
from duologue.training.metrics import read_metrics

SERVER = Path(__file__).with_name("fork_server.py")
SOURCE = Path(__file__).parents[2] / "src"
KILLS, SEED, STEPS = 20, 5, 60
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


class Starter:
    """Runs the command line in processes that start at once."""

    def __init__(self, server: subprocess.Popen[str], log: Path) -> None:
        self._server, self.log = server, log

    def start(self, *words: str) -> int:
        return self._ask({"start": words, "log": str(self.log)})

    def wait(self, process: int) -> int:
        return self._ask({"wait": process})

    def run(self, *words: str) -> int:
        return self.wait(self.start(*words))

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def _ask(self, order: dict[str, object]) -> int:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, str(SERVER)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.stdin.close()


@pytest.fixture
def starter(server: subprocess.Popen[str], tmp_path: Path) -> Starter:
    return Starter(server, tmp_path / "log.txt")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, dialogues: list[Conversation]) -> Path:
    path = tmp_path_factory.mktemp("data") / "mine.jsonl"
    path.write_text("".join(row.to_json() + "\n" for row in dialogues), encoding="utf-8")
    return path


def words(data: Path, out: Path, *more: str) -> list[str]:
    """A run of ``tiny`` with a checkpoint every few steps."""
    return ["pretrain", "tiny", "--data", str(data), "--steps", str(STEPS), "--seed", "1", "--out", str(out),
            "--data.builtin_dialogues", "0", "--pretraining.evaluate_every", "30",
            "--pretraining.save_every_s", "0.2", *more]  # fmt: skip


def result(out: Path) -> dict[str, object]:
    """What has to be the same to the last bit."""
    stage = out / "pretraining"
    newest = next(checkpoint_folders(stage / "checkpoints"))
    files = [stage / "model" / "model.safetensors", newest / "model.safetensors", newest / "optim.safetensors"]
    columns = ("step", "loss", "gradient_norm", "rate", "validation_loss", "num_tokens", "event")
    lines = [[line[column] for column in columns] for line in read_metrics(stage / "metrics.jsonl")]
    return {"files": [path.read_bytes() for path in files], "metrics": lines}


def await_file(pattern: str, folder: Path, *, timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not list(folder.glob(pattern)):
        assert time.monotonic() < end, f"no {pattern} in {folder}"
        time.sleep(0.01)


def test_killed_at_random_moments(
    starter: Starter, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begin = time.monotonic()
    assert starter.run(*words(data, tmp_path / "whole")) == 0, starter.said()
    whole_s, whole = time.monotonic() - begin, result(tmp_path / "whole")
    assert len(whole["metrics"]) == STEPS
    rng, kills, exact, folders = random.Random(SEED), 0, 0, 0
    while kills < KILLS:
        out, since = tmp_path / f"killed-{folders}", kills
        while True:
            process = starter.start(*words(data, out))
            if kills < KILLS:
                time.sleep(rng.uniform(0, 0.7 * whole_s))
                os.kill(process, signal.SIGKILL)
            code = starter.wait(process)
            if code == 0:
                break
            assert code == -signal.SIGKILL, starter.said()
            kills += 1
        assert result(out) == whole, f"seed {SEED}, folder {folders}"
        leftovers = [path for path in out.rglob(".*") if path.name != ".lock"]
        assert not leftovers
        exact, folders = exact + kills - since, folders + 1
    with capsys.disabled():
        print(f"\n{kills} kills, {exact} exact (seed {SEED}, {folders} runs, {time.monotonic() - begin:.0f} s)")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_ends_within_a_step(
    starter: Starter, data: Path, tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "run"
    process = starter.start(*words(data, out, "--pretraining.save_every_s", "1000", "--steps", "5000"))
    metrics = out / "pretraining" / "metrics.jsonl"
    await_file("pretraining/metrics.jsonl", out)
    while not (lines := list(read_metrics(metrics))):
        time.sleep(0.01)
    os.kill(process, number)
    assert starter.wait(process) == 130
    last_line = list(read_metrics(metrics))[-1]["step"]
    assert [path.name for path in checkpoint_folders(out / "pretraining" / "checkpoints")] == [
        f"step-{last_line + 1:g}"
    ]
    assert last_line >= lines[-1]["step"]
    assert starter.said().splitlines()[-1] == "duologue pretrain: stopped; the same command carries on"


def test_a_second_signal_quits_at_once(starter: Starter, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    # One step of these is far longer than the wait for it may be.
    process = starter.start(*words(data, out, "--pretraining.batch_tokens", "2000000",
                                   "--pretraining.micro_batch_tokens", "1024"))  # fmt: skip
    await_file("pretraining/metrics.jsonl", out)
    time.sleep(0.2)
    os.kill(process, signal.SIGTERM)
    time.sleep(0.2)
    begin = time.monotonic()
    os.kill(process, signal.SIGTERM)
    assert starter.wait(process) == 130
    assert time.monotonic() - begin < 5
    assert not list(checkpoint_folders(out / "pretraining" / "checkpoints"))


def test_a_second_trainer_is_refused_until_the_first_is_dead(starter: Starter, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = starter.start(*words(data, out))
    await_file("pretraining/metrics.jsonl", out)
    assert starter.run(*words(data, out)) == 1
    assert f"is held by process {first}, which trains in this folder; wait for it" in starter.said().splitlines()[-1]
    os.kill(first, signal.SIGKILL)
    assert starter.wait(first) == -signal.SIGKILL
    assert starter.run(*words(data, out)) == 0, starter.said()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (["--pretraining.learning_rate", "0.02"], "learning_rate (0.01, now 0.02)"),
        (["--seed", "2"], "seed (1, now 2)"),
        (["--steps", "61"], "steps (60, now 61)"),
        (["--transformer.hidden_size", "96"], "shape.hidden_size (64, now 96)"),
        (["--tokenizer.vocab_size", "900"], "settings.vocab_size (1024, now 900)"),
        ("data", "data ("),
    ],
)
def test_another_run_is_not_gone_on_with(
    starter: Starter, data: Path, tmp_path: Path, change: list[str] | str, told: str
) -> None:
    out, mine = tmp_path / "run", tmp_path / "mine.jsonl"
    mine.write_bytes(data.read_bytes())
    process = starter.start(*words(mine, out))
    await_file("pretraining/checkpoints/step-*", out)
    os.kill(process, signal.SIGKILL)
    starter.wait(process)
    more = [] if isinstance(change, str) else change
    if change == "data":
        mine.write_bytes(data.read_bytes() + (Conversation.of("one", "more").to_json() + "\n").encode())
    before = {path: path.read_bytes() for path in (out / "pretraining").rglob("*.safetensors")}
    assert starter.run(*words(mine, out, *more)) == 1
    last = starter.said().splitlines()[-1]
    assert told in last
    assert "give another --out" in last
    assert {path: path.read_bytes() for path in (out / "pretraining").rglob("*.safetensors")} == before
