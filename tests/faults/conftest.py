"""A trainer so small that a run takes a tenth of a second, and commands that start at once."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tests.faults.commands import Starter, short_words

from duologue.conversation import Conversation
from duologue.data.loader import Loader
from duologue.data.packing import plan_packing
from duologue.data.shards import write_shards
from duologue.runtime import Machine
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.training.config import StageConfig
from duologue.training.loop import Trainer
from duologue.training.stage import Hooks, Stage
from duologue.transformer.config import TransformerConfig
from duologue.transformer.model import Transformer

ROOT = Path(__file__).parents[2]
CONFIG = StageConfig(
    steps=3, sequence_length=64, batch_tokens=128, warmup_steps=1, dtype="float32", compile="off", evaluate_every=10,
    save_every_s=0, keep_checkpoints=1, threads=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def build(
    tmp_path_factory: pytest.TempPathFactory,
    tokenizer: Tokenizer,
    dialogues: list[Conversation],
    tiny_config: TransformerConfig,
) -> Callable[..., Trainer]:
    shards = write_shards(dialogues[:30], tokenizer, tmp_path_factory.mktemp("data") / "shards", fingerprint="x")
    turn_id = tokenizer.start_of_turn_id
    plan = plan_packing(shards, sequence_length=64, turn_id=turn_id, only_learned=False, seed=0)
    loader = Loader(shards, plan, 0, False, tokenizer.end_of_text_id)
    machine = Machine("test", 1, 1.0, "cpu", {"float32": 10.0, "bfloat16": 20.0})

    def make(folder: Path, hooks: Hooks | None = None, **changes: object) -> Trainer:
        config = dataclasses.replace(CONFIG, **changes)
        stage = Stage("pretraining", config, loader, None, folder, machine, time.monotonic(), {"a": 1})
        torch.manual_seed(0)
        return Trainer(stage, Transformer(tiny_config, vocab_size=tokenizer.vocab_size), hooks or Hooks())

    return make


@pytest.fixture(scope="session")
def server() -> Iterator[subprocess.Popen[str]]:
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "PYTHONPATH": paths}
    command = [sys.executable, "-m", "tests.faults.fork_server"]
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


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory, dialogues: list[Conversation]) -> Path:
    path = tmp_path_factory.mktemp("data") / "mine.jsonl"
    path.write_text("".join(row.to_json() + "\n" for row in dialogues), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory: pytest.TempPathFactory, server: subprocess.Popen[str], data: Path) -> Path:
    """A run folder with a pretrained model."""
    out = tmp_path_factory.mktemp("pretrained") / "run"
    starter = Starter(server, out.with_name("log.txt"))
    assert starter.run(*short_words("pretrain", data, out)) == 0, starter.said()
    return out


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[str], None]]:
    """Prints a line past pytest, with the time that the test took."""
    begin = time.monotonic()

    def say(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}, {time.monotonic() - begin:.0f} s")

    return say


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Makes a small disk in memory, with options of tmpfs; skips the test where that is not allowed."""
    places: list[Path] = []

    def make(options: str) -> Path:
        place = tmp_path / f"disk-{len(places)}"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("needs the right to mount a disk")
        places.append(place)
        return place

    yield make
    for place in places:
        subprocess.run(["umount", "-l", str(place)], check=True)
