"""Files of a checkpoint that are flipped, cut, longer or gone are found, and the checkpoint before is taken."""

from __future__ import annotations

import random
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.faults.damage import WAYS, flip
from tests.faults.trainer_results import assert_same, trained

from duologue.training.checkpoint import MANIFEST, checkpoint_folders, load_newest_checkpoint
from duologue.training.loop import Trainer
from duologue.training.stage import Hooks

NUM_DAMAGED, SEED = 60, 3
pytestmark = pytest.mark.usefixtures("one_thread")


def test_damaged_files_are_found_and_the_checkpoint_before_is_taken(
    build: Callable[..., Trainer], tmp_path: Path, tell: Callable[[str], None]
) -> None:
    whole = trained(build(tmp_path / "whole", keep_checkpoints=2))
    rng, found = random.Random(SEED), Counter[str]()
    for number in range(NUM_DAMAGED):
        folder = tmp_path / "damaged"
        shutil.copytree(tmp_path / "whole", folder)
        newest, before = checkpoint_folders(folder / "checkpoints")
        files = sorted(newest.iterdir())
        way, victim = WAYS[number // len(files) % len(WAYS)], files[number % len(files)]
        way(victim, rng)
        notes: list[str] = []
        trainer = build(folder, Hooks(on_note=notes.append), keep_checkpoints=2)
        assert trainer.state.step == int(before.name.removeprefix("step-"))
        assert str(newest if victim.name == MANIFEST else victim) in notes[0]
        assert "is damaged" in notes[0]
        assert notes[0].endswith(f"going back to {before.name.replace('-', ' ')}")
        assert_same(trained(trainer), whole)
        found[way.__name__] += 1
        shutil.rmtree(folder)
    shown = ", ".join(f"{count} {name}" for name, count in found.items())
    tell(f"{NUM_DAMAGED} damaged files ({shown}), {found.total()} found, all gone on with exactly (seed {SEED})")


@pytest.mark.soak
def test_ten_thousand_flipped_bytes(build: Callable[..., Trainer], tmp_path: Path, tell: Callable[[str], None]) -> None:
    build(tmp_path, keep_checkpoints=2).run()
    newest, before = checkpoint_folders(tmp_path / "checkpoints")
    step = int(before.name.removeprefix("step-"))
    seed, num_found, files = random.randrange(2**32), 0, sorted(newest.iterdir())
    rng = random.Random(seed)
    for number in range(10_000):
        victim = files[number % len(files)]
        data = victim.read_bytes()
        flip(victim, rng)
        checkpoint, (line,) = load_newest_checkpoint(tmp_path / "checkpoints")
        assert checkpoint is not None
        assert checkpoint.state["step"] == step
        # A hash that is flipped in the manifest is told as damage to the file that it is of.
        named = newest if victim.name == MANIFEST else victim
        assert re.fullmatch(re.escape(str(named)) + rf"\S*: is damaged: .+; going back to step {step}", line), line
        num_found += 1
        victim.write_bytes(data)
    assert not load_newest_checkpoint(tmp_path / "checkpoints")[1]
    tell(f"10,000 bytes flipped, {num_found:,} found, with file, reason and step (seed {seed})")
