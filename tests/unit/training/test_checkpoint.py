"""Checkpoints: whole or absent, checked before they are trusted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from duologue.training.checkpoint import (
    Checkpoint,
    checkpoint_folders,
    load_checkpoint,
    load_newest_checkpoint,
    save_checkpoint,
)


def some(step: int) -> Checkpoint:
    return Checkpoint({"w": torch.full((3, 2), float(step))}, {"w/exp_avg": torch.arange(6.0)}, {"step": step})


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 7, some(7), keep=2)
    loaded = load_checkpoint(path)
    assert loaded.state == {"step": 7}
    assert loaded.model["w"].tolist() == some(7).model["w"].tolist()
    assert loaded.optimizer["w/exp_avg"].tolist() == list(range(6))


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (2, 9, 10, 30):
        save_checkpoint(tmp_path, step, some(step), keep=2)
    assert [path.name for path in checkpoint_folders(tmp_path)] == ["step-30", "step-10"]


@pytest.mark.parametrize("name", ["model.safetensors", "optim.safetensors", "state.json", "MANIFEST.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path: Path, name: str, damage: str) -> None:
    save_checkpoint(tmp_path, 1, some(1), keep=2)
    victim = save_checkpoint(tmp_path, 2, some(2), keep=2) / name
    data = victim.read_bytes()
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    victim.write_bytes({"flip": flipped, "cut": data[:-2], "remove": b""}[damage])
    if damage == "remove":
        victim.unlink()
    found, damaged = load_newest_checkpoint(tmp_path)
    assert found is not None
    assert found.state["step"] == 1
    assert len(damaged) == 1
    assert "step-2/" in damaged[0]
    assert damaged[0].endswith("; going back to step 1")


def test_going_on_from_an_older_step_drops_the_damaged_newer_one(tmp_path: Path) -> None:
    for step in (1, 5):
        save_checkpoint(tmp_path, step, some(step), keep=1)
    save_checkpoint(tmp_path, 3, some(3), keep=1)
    assert [path.name for path in checkpoint_folders(tmp_path)] == ["step-3"]


def test_no_checkpoint_is_no_error(tmp_path: Path) -> None:
    assert load_newest_checkpoint(tmp_path / "none") == (None, [])
