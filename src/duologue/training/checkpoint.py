"""Checkpoints: a folder that is written whole or not at all, and checked before it is trusted.

    checkpoints/step-<n>/
        model.safetensors    float32 masters of what is trained; frozen weights are not in it
        optim.safetensors    optimiser state by parameter name
        state.json           step, tokens, seconds spent, schedule, the plan's fingerprint
        MANIFEST.json        size and SHA-256 of each file, written last

Several processes write ``shard-*.safetensors`` in place of the first two, each its own part (stored_tensors.py). Any
number of processes can read either. Nothing in it can execute.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from duologue.durable_files import (
    make_folder,
    new_folder,
    remove_folder,
    remove_leftovers,
    write_file,
)
from duologue.errors import RunFolderError
from duologue.sealed_folder import require_whole, write_seal
from duologue.training.stored_tensors import SHARD, StoredTensors, write_parts
from duologue.training.world import World
from duologue.transformer.safetensors_chunks import safetensors_chunks

MODEL, OPTIMIZER, STATE, MANIFEST = "model.safetensors", "optim.safetensors", "state.json", "MANIFEST.json"
KEPT_ANCHORS = 2  # a run goes back to the one before the newest where that is too near
ALONE = World()


@dataclass(frozen=True)
class Checkpoint:
    """All that a stage needs to go on; the tensors may be this process's share of them.

    Attributes:
        optimizer: by parameter and kind of state, ``"model.norm.weight/exp_avg"``.
    """

    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    state: dict[str, Any]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All of them by name."""
        return {**self.model, **self.optimizer}

    @property
    def size_bytes(self) -> int:
        """Room that its tensors take on a disk."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors.values())


@dataclass(frozen=True)
class StoredCheckpoint(Checkpoint):
    """One on a disk, whose files have been checked; a tensor is read when it is asked for."""

    stored: StoredTensors


def save_checkpoint(
    folder: Path,
    step: int,
    checkpoint: Checkpoint,
    *,
    keep: int,
    is_anchor: Callable[[int], bool] = lambda step: False,
    world: World = ALONE,
) -> Path:
    """Writes ``folder/step-<n>``, then removes all but the newest ``keep`` and the two newest anchors.

    Raises:
        RunFolderError: the disk is full or the folder cannot be written; older checkpoints are untouched.
    """
    target = folder / f"step-{step}"
    try:
        if world.is_first:
            _write(target, checkpoint, world)
        else:
            write_parts(Path(world.first("")), checkpoint.tensors, world)
    except OSError as error:
        needed = f"it needs {checkpoint.size_bytes:,} bytes"
        raise RunFolderError(
            f"{target}: checkpoint not written: {error.strerror or error}; {needed}; free space and start again"
        ) from None
    if world.is_first:
        for old in _superfluous(folder, step, keep, is_anchor):
            with contextlib.suppress(OSError):  # the new one is there, and the next save tries again
                remove_folder(old)
    return target


def load_newest_checkpoint(
    folder: Path, *, is_wanted: Callable[[int], bool] = lambda step: True, world: World = ALONE
) -> tuple[StoredCheckpoint | None, list[str]]:
    """The newest checkpoint that is whole; for each newer one that is not, a line that says so and what is taken.

    Args:
        is_wanted: whether a step's is looked at.
    """
    found = _newest_whole(folder, is_wanted) if world.is_first else (None, [])
    path, notes = world.first(found)
    return (_read(Path(path)) if path else None), notes


def load_checkpoint(path: Path) -> StoredCheckpoint:
    """Reads one checkpoint after checking every file against the manifest.

    Raises:
        RunFolderError: a file is damaged or missing.
    """
    _verify(path)
    return _read(path)


def checkpoint_folders(folder: Path) -> Iterator[Path]:
    """Finished checkpoints, newest first."""
    paths = [path for path in folder.glob("step-*") if path.name.removeprefix("step-").isdigit()]
    yield from sorted(paths, key=step_of, reverse=True)


def step_of(path: Path) -> int:
    """The step that a checkpoint's folder is named after."""
    return int(path.name.removeprefix("step-"))


def _superfluous(folder: Path, step: int, keep: int, is_anchor: Callable[[int], bool]) -> list[Path]:
    # What lies ahead of this step is of a run that was not whole: it was passed over when this one went on.
    ahead = [path for path in checkpoint_folders(folder) if step_of(path) > step]
    behind = [path for path in checkpoint_folders(folder) if step_of(path) <= step]
    anchors = [path for path in behind if is_anchor(step_of(path))][:KEPT_ANCHORS]
    return ahead + [path for path in behind[keep:] if path not in anchors]


def _newest_whole(folder: Path, is_wanted: Callable[[int], bool]) -> tuple[str | None, list[str]]:
    damaged: list[str] = []
    for path in checkpoint_folders(folder):
        if not is_wanted(step_of(path)):
            continue
        try:
            _verify(path)
        except RunFolderError as error:
            damaged.append(str(error))
        else:
            return str(path), [f"{line}; going back to step {step_of(path)}" for line in damaged]
    return None, [f"{line}; there is none before it, so the stage begins anew" for line in damaged]


def _verify(path: Path) -> None:
    parts = require_whole(path / MANIFEST) - {STATE}
    is_known = parts == {MODEL, OPTIMIZER} or (bool(parts) and all(SHARD.fullmatch(name) for name in parts))
    if not is_known or not (path / STATE).is_file():
        raise RunFolderError(f"{path / MANIFEST}: is damaged: is not as it was written")


def _read(path: Path) -> StoredCheckpoint:
    stored = StoredTensors.open(path)
    try:
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise RunFolderError(f"{path}: is damaged: {error}") from None
    optimizer = {name for name in stored if "/" in name}
    return StoredCheckpoint(stored.only(stored.keys() - optimizer), stored.only(optimizer), state, stored)


def _write(target: Path, checkpoint: Checkpoint, world: World) -> None:
    make_folder(target.parent)
    remove_leftovers(target.parent)
    with new_folder(target) as partial:
        if world.is_alone:
            parts = {MODEL: checkpoint.model, OPTIMIZER: checkpoint.optimizer}
            written = {name: write_file(partial / name, safetensors_chunks(part)) for name, part in parts.items()}
        else:
            written = write_parts(Path(world.first(str(partial))), checkpoint.tensors, world)
        written[STATE] = write_file(partial / STATE, [(json.dumps(checkpoint.state, indent=2) + "\n").encode()])
        write_seal(partial / MANIFEST, written)
