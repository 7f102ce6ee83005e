"""Several processes train as one does; what one of them suffers stops all, and the same command goes on exactly.

The processes are forks that meet over gloo; what torchrun adds is tested with torchrun itself.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from tests.faults.commands import STEPS, Starter, await_file, result, short_words

from duologue.training.checkpoint import checkpoint_folders, load_newest_checkpoint
from duologue.training.metrics import read_metrics

ADAMW = ("--pretraining.matrix_optimizer", "adamw", "--pretraining.learning_rate", "0.003")
CLOSE = 1e-5  # nats a token
# Muon multiplies in bfloat16, so that sums in another order grow to this within the run (experiments/LOG.md).
MUON_CLOSE = 0.02
SEED = 11


def start_all(starter: Starter, num_processes: int, *words: str) -> list[int]:
    """A process for each rank, as torchrun would start them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(num_processes),
               "LOCAL_WORLD_SIZE": str(num_processes)}  # fmt: skip
    places = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(num_processes)]
    return [starter.start(*words, environment=meeting | place) for place in places]


def run_all(starter: Starter, num_processes: int, *words: str) -> None:
    if num_processes == 1:
        assert starter.run(*words) == 0, starter.said()
        return
    processes = start_all(starter, num_processes, *words)
    assert {starter.wait(process) for process in processes} == {0}, starter.said()


def losses(out: Path, stage: str = "pretraining") -> list[float]:
    return [line["loss"] for line in read_metrics(out / stage / "metrics.jsonl")]


def apart(some: list[float], others: list[float]) -> float:
    assert len(some) == len(others)
    return max(abs(a - b) for a, b in zip(some, others, strict=True))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, server: subprocess.Popen[str], data: Path) -> Path:
    """The same run in one process."""
    out = tmp_path_factory.mktemp("alone") / "run"
    starter = Starter(server, out.with_name("log.txt"))
    assert starter.run(*short_words("pretrain", data, out, *ADAMW)) == 0, starter.said()
    return out


@pytest.mark.parametrize(("way", "num_processes"), [("ddp", 2), ("ddp", 4), ("fsdp", 2), ("fsdp", 3), ("fsdp", 4)])
def test_losses_are_those_of_one_process(
    starter: Starter, data: Path, tmp_path: Path, alone: Path, way: str, num_processes: int
) -> None:
    out = tmp_path / "run"
    run_all(starter, num_processes, *short_words("pretrain", data, out, *ADAMW, "--pretraining.parallel", way))
    assert apart(losses(out), losses(alone)) < CLOSE
    looks = [[line["validation_loss"] for line in read_metrics(folder / "pretraining" / "metrics.jsonl")
              if line["validation_loss"] is not None] for folder in (out, alone)]  # fmt: skip
    assert looks[0] == pytest.approx(looks[1], abs=CLOSE)
    newest = next(checkpoint_folders(out / "pretraining" / "checkpoints"))
    assert len(list(newest.glob("shard-*.safetensors"))) == num_processes
    assert (out / "pretraining" / "model" / "model.safetensors").stat().st_size == (
        alone / "pretraining" / "model" / "model.safetensors"
    ).stat().st_size


@pytest.mark.parametrize("way", ["ddp", "fsdp"])
def test_with_muon_losses_stay_near(starter: Starter, data: Path, tmp_path: Path, way: str) -> None:
    flags = ("--pretraining.parallel", way, "--pretraining.steps", "60" if way == "ddp" else "12")  # parts are slow
    for name, num_processes in (("one", 1), ("two", 2)):
        run_all(starter, num_processes, *short_words("pretrain", data, tmp_path / name, *flags))
    assert apart(losses(tmp_path / "two"), losses(tmp_path / "one")) < MUON_CLOSE


@pytest.mark.parametrize("way", ["ddp", "fsdp"])
def test_going_on_in_another_number_of_processes(
    starter: Starter, data: Path, tmp_path: Path, alone: Path, way: str
) -> None:
    """2 -> 1 -> 4 -> 3 -> 1: the same samples, and losses as in one process."""
    out = tmp_path / "run"
    words = short_words("pretrain", data, out, *ADAMW, "--pretraining.parallel", way)
    for number, num_processes in enumerate((2, 1, 4, 3), start=1):
        processes = start_all(starter, num_processes, *words) if num_processes > 1 else [starter.start(*words)]
        metrics = out / "pretraining" / "metrics.jsonl"
        while len(list(read_metrics(metrics))) < 12 * number:
            time.sleep(0.005)
        for process in processes:
            os.kill(process, signal.SIGTERM)
        assert {starter.wait(process) for process in processes} == {130}, starter.said()
        assert len(losses(out)) < STEPS
    run_all(starter, 1, *words)
    assert apart(losses(out), losses(alone)) < CLOSE


@pytest.mark.parametrize(
    ("way", "num_processes", "most_kills", "more"),
    [("ddp", 2, 5, ()), ("ddp", 4, 3, ()), ("fsdp", 2, 4, ADAMW),
     pytest.param("ddp", 2, 100, (), marks=pytest.mark.soak),
     pytest.param("ddp", 4, 50, (), marks=pytest.mark.soak),
     pytest.param("fsdp", 2, 50, ADAMW, marks=pytest.mark.soak),
     pytest.param("fsdp", 2, 10, (), marks=pytest.mark.soak)],
)  # fmt: skip
def test_killed_processes_go_on_to_the_same_bits(
    starter: Starter,
    data: Path,
    tmp_path: Path,
    way: str,
    num_processes: int,
    most_kills: int,
    more: tuple[str, ...],
    tell: Callable[[str], None],
) -> None:
    flags = ("--pretraining.parallel", way, *more)
    run_all(starter, num_processes, *short_words("pretrain", data, tmp_path / "whole", *flags))
    rng, num_kills, num_runs = random.Random(SEED), 0, 0
    while num_kills < most_kills:
        out, num_runs = tmp_path / str(num_runs), num_runs + 1
        words = short_words("pretrain", data, out, *flags)
        num_kills += kill_until_it_ends(starter, num_processes, words, out, rng, most_kills - num_kills)
        assert result(out) == result(tmp_path / "whole")
        shutil.rmtree(out)
    ended = f"all stopped, {num_runs} runs that ended exact (seed {SEED})"
    tell(f"{way}, {num_processes} processes: {num_kills} kills of one of them, {ended}")


def kill_until_it_ends(
    starter: Starter, num_processes: int, words: list[str], out: Path, rng: random.Random, most_kills: int
) -> int:
    """Kills one of the processes, and stops the others as torchrun does, again and again; gives how often."""
    num_kills = 0
    while num_kills < most_kills:
        processes = start_all(starter, num_processes, *words)
        await_file("pretraining/metrics.jsonl", out)
        time.sleep(rng.uniform(0, 0.5))
        victim = rng.choice(processes)
        os.kill(victim, signal.SIGKILL)
        time.sleep(0.1)
        for process in processes:  # as torchrun does
            os.kill(process, signal.SIGTERM)
        codes = {process: starter.wait(process) for process in processes}
        if set(codes.values()) == {0}:
            return num_kills
        num_kills += codes[victim] == -signal.SIGKILL
        assert set(codes.values()) <= {-signal.SIGKILL, -signal.SIGTERM, 0, 1, 130}, starter.said()
    run_all(starter, num_processes, *words)
    return num_kills


def test_fine_tuning_an_adapter_keeps_the_best_and_merges_it(
    starter: Starter, data: Path, pretrained: Path, tmp_path: Path
) -> None:
    for name, num_processes in (("one", 1), ("two", 2)):
        shutil.copytree(pretrained, tmp_path / name)
        run_all(starter, num_processes, *short_words("finetune", data, tmp_path / name, "--lora.rank", "4"))
    some, others = (losses(tmp_path / name, "finetuning") for name in ("one", "two"))
    assert apart(some, others) < CLOSE
    assert (tmp_path / "two" / "finetuning" / "adapter" / "adapter_model.safetensors").is_file()


def test_too_few_rows_for_so_many_processes(starter: Starter, data: Path, tmp_path: Path) -> None:
    words = short_words("pretrain", data, tmp_path / "run", "--pretraining.batch_tokens", "128")
    assert {starter.wait(process) for process in start_all(starter, 4, *words)} <= {1, 2}
    told = "pretraining.batch_tokens: is 128, which are 2 rows a step; expected one for each of 4 processes: 256"
    assert told in starter.said()


def test_verbs_for_one_process_say_so(starter: Starter, tmp_path: Path) -> None:
    assert starter.run("up", "tiny", "--out", str(tmp_path), environment={"WORLD_SIZE": "2", "RANK": "1"}) == 2
    assert "torchrun started 2 processes, and up is for one; with torchrun: pretrain and finetune" in starter.said()


def test_a_pickle_beside_the_shards_is_never_read(starter: Starter, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run_all(starter, 2, *short_words("pretrain", data, out))
    newest, before = list(checkpoint_folders(out / "pretraining" / "checkpoints"))[:2]
    canary = tmp_path / "canary"
    (newest / ".metadata").write_bytes(f"cposix\nsystem\n(S'touch {canary}'\ntR.".encode())
    found, damaged = load_newest_checkpoint(out / "pretraining" / "checkpoints")
    assert found is not None
    assert found.state["step"] == int(before.name.removeprefix("step-"))
    assert damaged[0].startswith(f"{newest / '.metadata'}: is damaged: is no file of this folder's; going back to step")
    assert not canary.exists()


def test_a_killed_process_stops_torchrun_with_its_cause(
    data: Path, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    def command(out: Path) -> list[str]:
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "duologue"]
        return [*torchrun, *short_words("pretrain", data, out, "--pretraining.steps", "150")]

    out = tmp_path / "killed"
    with subprocess.Popen(command(out), stderr=subprocess.PIPE, text=True) as job:
        await_file("pretraining/checkpoints/step-*", out, timeout_s=120)
        workers = psutil.Process(job.pid).children()
        begin = time.monotonic()
        workers[1].kill()
        _, said = job.communicate(timeout=60)
    took_s = time.monotonic() - begin
    assert job.returncode == 1
    assert took_s < 30
    assert "Signal 9 (SIGKILL)" in said  # torchrun's own summary: which process, and what ended it
    told = r"duologue pretrain \(process 0 of 2\): pretraining step \d+: lost the other processes: .*peer; .*carries on"
    assert re.search(told, said)
    again = subprocess.run(command(out), stderr=subprocess.PIPE, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "going on from step" in again.stderr
    tell(f"torchrun: one of 2 killed, the job ended {took_s:.1f} s later with the cause, and went on")
