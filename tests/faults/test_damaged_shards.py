"""Tokenised rows that are flipped, cut or gone are noticed, and made again from the data, to the last bit."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.faults.commands import Starter, kill_after_a_checkpoint, leftovers, result, short_words
from tests.faults.damage import WAYS, Damage

SEED = 4


@pytest.mark.parametrize("name", ["tokens.bin", "learned.bin", "offsets.npy", "manifest.json"])
@pytest.mark.parametrize("way", WAYS)
def test_damaged_shards_are_made_again(
    starter: Starter, data: Path, pretrained: Path, tmp_path: Path, name: str, way: Damage
) -> None:
    out = tmp_path / "run"
    kill_after_a_checkpoint(starter, short_words("pretrain", data, out), out)
    way(out / "data" / "pretraining-train" / name, random.Random(SEED))
    assert starter.run(*short_words("pretrain", data, out)) == 0, starter.said()
    assert result(out) == result(pretrained)
    assert not leftovers(out)


@pytest.mark.soak
def test_shards_damaged_many_times(
    starter: Starter, data: Path, pretrained: Path, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    rng, num_damaged, whole = random.Random(SEED), 100, result(pretrained)
    for _ in range(num_damaged):
        out = tmp_path / "run"
        shutil.copytree(pretrained, out)
        shutil.rmtree(out / "pretraining")
        rng.choice(WAYS)(rng.choice(sorted((out / "data" / "pretraining-train").iterdir())), rng)
        assert starter.run(*short_words("pretrain", data, out)) == 0, starter.said()
        assert result(out) == whole
        shutil.rmtree(out)
    tell(f"{num_damaged} times tokenised rows damaged, all noticed and made again exactly (seed {SEED})")
