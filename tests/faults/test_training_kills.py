"""A run that is killed at random moments, and started again each time, ends with the bits of an unbroken one."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.faults.commands import Starter, leftovers, result, short_words

from duologue.conversation import Conversation

SEED = 5
AT_ONCE_S = 0.1  # how soon a second kill meets a start
# Writes a command's words for a run folder, which may hold something already.
Prepare = Callable[[Path], list[str]]


class Killer:
    """Kills a command at random moments until it has been killed often enough, then lets it end.

    Attributes:
        share_at_once: of kills that come as soon as the command has begun, so that they meet the going on.
    """

    def __init__(self, starter: Starter, prepare: Prepare, *, seed: int, share_at_once: float = 0.2) -> None:
        self.starter, self.prepare, self.rng, self.share_at_once = starter, prepare, random.Random(seed), share_at_once
        self.kills = self.at_once = self.folders = 0

    def run(self, folder: Path, num_kills: int) -> None:
        """Kills at ``num_kills`` moments, in as many run folders as it takes; each must end as the unbroken run."""
        whole_s, whole = self._unbroken(folder / "whole")
        while self.kills < num_kills:
            out = folder / f"killed-{self.folders}"
            command = self.prepare(out)
            while (code := self._start(command, num_kills, whole_s)) != 0:
                assert code == -signal.SIGKILL, self.starter.said()
            found = result(out)
            assert found.keys() == whole.keys()
            assert [name for name in whole if found[name] != whole[name]] == [], f"folder {out}"
            assert not leftovers(out)
            shutil.rmtree(out)
            self.folders += 1

    def _unbroken(self, out: Path) -> tuple[float, dict[str, object]]:
        command, begin = self.prepare(out), time.monotonic()
        assert self.starter.run(*command) == 0, self.starter.said()
        return time.monotonic() - begin, result(out)

    def _start(self, command: list[str], num_kills: int, whole_s: float) -> int:
        process = self.starter.start(*command)
        if self.kills < num_kills:
            is_at_once = self.rng.random() < self.share_at_once
            time.sleep(self.rng.uniform(0, AT_ONCE_S if is_at_once else 0.7 * whole_s))
            os.kill(process, signal.SIGKILL)
            code = self.starter.wait(process)
            self.kills += code != 0
            self.at_once += is_at_once and code != 0
            return code
        return self.starter.wait(process)


@pytest.fixture
def prepare(pretrained: Path, data: Path) -> Callable[[str], Prepare]:
    """What a kind of run is started with."""

    def finetune(out: Path, *more: str) -> list[str]:
        shutil.copytree(pretrained, out)
        return short_words("finetune", data, out, *more)

    def elsewhere(out: Path) -> list[str]:
        return short_words("finetune", data, out, "--init", str(pretrained / "model"))

    kinds: dict[str, Prepare] = {
        "pretrain": lambda out: short_words("pretrain", data, out),
        "finetune": finetune,
        "finetune with LoRA": lambda out: finetune(out, "--lora.rank", "4"),
        "finetune --init": elsewhere,
        "up": lambda out: short_words("up", data, out),
    }
    return kinds.__getitem__


@pytest.mark.parametrize(
    ("kind", "num_kills"),
    [("pretrain", 20), ("finetune", 6), ("finetune with LoRA", 4), ("finetune --init", 4), ("up", 6)],
)
def test_killed_at_random_moments(
    starter: Starter, tmp_path: Path, prepare: Callable[[str], Prepare], tell: Callable[[str], None], kind: str,
    num_kills: int,
) -> None:  # fmt: skip
    killer = Killer(starter, prepare(kind), seed=SEED)
    killer.run(tmp_path, num_kills)
    tell(f"{kind}: {killer.kills} kills, {killer.kills} exact (seed {SEED}, {killer.folders} runs)")


@pytest.mark.soak
@pytest.mark.parametrize(
    ("kind", "num_kills"),
    [("pretrain", 350), ("finetune", 250), ("finetune with LoRA", 200), ("finetune --init", 100), ("up", 100)],
)
def test_killed_a_thousand_times(
    starter: Starter, tmp_path: Path, prepare: Callable[[str], Prepare], tell: Callable[[str], None], kind: str,
    num_kills: int,
) -> None:  # fmt: skip
    seed = random.randrange(2**32)
    killer = Killer(starter, prepare(kind), seed=seed, share_at_once=0.3)
    try:
        killer.run(tmp_path, num_kills)
    finally:
        at_once = f"{killer.at_once} within {AT_ONCE_S:g} s of a start"
        tell(f"{kind}: {killer.kills} kills, {at_once}, in {killer.folders} runs that ended exact (seed {seed})")


def test_the_plain_command_killed(starter: Starter, data: Path, tmp_path: Path, tell: Callable[[str], None]) -> None:
    def command(out: Path) -> list[str]:
        return ["pretrain", "tiny", "--data", str(data), "--steps", "60", "--seed", "1", "--out", str(out)]

    killer = Killer(starter, command, seed=SEED)
    killer.run(tmp_path, 3)
    shown = " ".join(command(Path("B"))).replace(str(data), "FILE")
    tell(f"duologue {shown}: {killer.kills} kills, byte for byte that of A (seed {SEED}, {killer.folders} runs)")


def test_tokenising_killed(
    starter: Starter, dialogues: list[Conversation], tmp_path: Path, tell: Callable[[str], None]
) -> None:
    """A corpus so large that tokenizer and tokenising take most of the time."""
    large = tmp_path / "large.jsonl"
    large.write_text("".join(row.to_json() + "\n" for row in dialogues) * 20, encoding="utf-8")

    def command(out: Path) -> list[str]:
        return short_words("pretrain", large, out, "--steps", "2")

    killer = Killer(starter, command, seed=SEED, share_at_once=0)
    killer.run(tmp_path, 10)
    tell(f"tokenising: {killer.kills} kills, {killer.kills} exact (seed {SEED}, {killer.folders} runs)")
