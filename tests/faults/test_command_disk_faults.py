"""Each operation on the disk of a whole command fails: it says so in a line, and the same command ends exactly."""

from __future__ import annotations

import random
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.faults.commands import Starter, leftovers, result, short_words

from duologue.training.checkpoint import load_newest_checkpoint

VERBS = ("pretrain", "finetune")
NUM_TRIED, SEED = 6, 6


class Case:
    """One command, its unbroken result, and how many operations it takes."""

    def __init__(self, starter: Starter, folder: Path, data: Path, verb: str, pretrained: Path) -> None:
        self.starter, self.folder, self.data, self.verb, self.pretrained = starter, folder, data, verb, pretrained
        assert starter.run(*self.words(folder / "whole"), operation=[0, "none"]) == 0, starter.said()
        self.num_operations = int(re.findall(r"operations: (\d+)", starter.said())[-1])
        self.whole = result(folder / "whole")

    def words(self, out: Path) -> list[str]:
        if self.verb == "finetune" and not out.exists():
            shutil.copytree(self.pretrained, out)
        few = {"steps": 3, "evaluate_every": 2, "save_every_s": 0, "patience": 0 if self.verb == "pretrain" else 3}
        stage = {"pretrain": "pretraining", "finetune": "finetuning"}[self.verb]
        flags = [word for name, value in few.items() for word in (f"--{stage}.{name}", str(value))]
        return short_words(self.verb, self.data, out, *flags)

    def breaks_off(self, at: int, way: str) -> bool:
        """Breaks operation ``at`` and starts again; whether there was anything to start again after."""
        out = self.folder / f"{way}-{at}"
        before = len(self.starter.said())
        code = self.starter.run(*self.words(out), operation=[at, way])
        said = self.starter.said()[before:]
        assert "Traceback" not in said, said
        if way == "die":
            assert code == (-signal.SIGKILL if at <= self.num_operations else 0)
        elif code:
            assert code == 1, said
            last = said.splitlines()[-1]
            assert last.startswith(f"duologue {self.verb}: {out}"), last
            assert "checkpoint not written" not in last or re.search(r"it needs [\d,]+ bytes", last), last
        for checkpoints in out.glob("*/checkpoints"):
            assert not load_newest_checkpoint(checkpoints)[1]
        if code:
            assert self.starter.run(*self.words(out)) == 0, self.starter.said()[before:]
        found = result(out)
        assert [name for name in self.whole if found.get(name) != self.whole[name]] == [], f"{way} at {at}"
        assert found.keys() == self.whole.keys()
        assert not code or not leftovers(out)
        shutil.rmtree(out)
        return bool(code)


@pytest.fixture
def case(starter: Starter, tmp_path: Path, data: Path, pretrained: Path) -> Callable[[str], Case]:
    return lambda verb: Case(starter, tmp_path, data, verb, pretrained)


@pytest.mark.parametrize("way", ["die", "full", "error"])
@pytest.mark.parametrize("verb", VERBS)
def test_some_operations_of_a_command(
    case: Callable[[str], Case], tell: Callable[[str], None], verb: str, way: str
) -> None:
    tried = case(verb)
    rng = random.Random(SEED)
    chosen = rng.sample(range(1, tried.num_operations + 1), NUM_TRIED)
    num_broken = sum(tried.breaks_off(at, way) for at in chosen)
    tell(f"{verb}, {way}: {NUM_TRIED} of {tried.num_operations} operations, {num_broken} broken off, all exact")


@pytest.mark.soak
@pytest.mark.parametrize("ways", [("die",), ("full", "error")])
@pytest.mark.parametrize("verb", VERBS)
def test_every_operation_of_a_command(
    case: Callable[[str], Case], tell: Callable[[str], None], verb: str, ways: tuple[str, ...]
) -> None:
    tried = case(verb)
    every = range(1, tried.num_operations + 1)
    num_broken = sum(tried.breaks_off(at, ways[at % len(ways)]) for at in every)
    shown = " or ".join(ways)
    tell(f"{verb}, {shown}: each of {len(every)} operations, {num_broken} broken off, all exact")
