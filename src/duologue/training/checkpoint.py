"""Checkpoints: a folder that is written whole or not at all, and checked before it is trusted.

    checkpoints/step-<n>/
        model.safetensors    float32 masters of what is trained; frozen weights are not in it
        optim.safetensors    optimiser state by parameter name
        state.json           step, tokens, seconds spent, schedule, the plan's fingerprint
        MANIFEST.json        size and SHA-256 of each file, written last

Nothing in it can execute.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from duologue.durable_files import Fingerprint, fingerprint, new_folder, remove_folder, remove_leftovers, write_file
from duologue.errors import RunFolderError
from duologue.transformer.safetensors_chunks import safetensors_chunks

MODEL, OPTIMIZER, STATE, MANIFEST = "model.safetensors", "optim.safetensors", "state.json", "MANIFEST.json"


@dataclass(frozen=True)
class Checkpoint:
    """All that a stage needs to go on."""

    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Any]

    @property
    def size_bytes(self) -> int:
        """Room that its tensors take on a disk."""
        tensors = (*self.model.values(), *self.optimizer.values())
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def save_checkpoint(folder: Path, step: int, checkpoint: Checkpoint, *, keep: int) -> Path:
    """Writes ``folder/step-<n>``, then removes all but the newest ``keep``.

    Raises:
        RunFolderError: the disk is full or the folder cannot be written; older checkpoints are untouched.
    """
    target = folder / f"step-{step}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        with new_folder(target) as partial:
            _fill(partial, checkpoint)
    except OSError as error:
        needed = f"it needs {checkpoint.size_bytes:,} bytes"
        raise RunFolderError(
            f"{target}: checkpoint not written: {error.strerror or error}; {needed}; free space and start again"
        ) from None
    # What lies ahead of this step is of a run that was not whole: it was passed over when this one went on.
    ahead = [path for path in checkpoint_folders(folder) if step_of(path) > step]
    behind = [path for path in checkpoint_folders(folder) if step_of(path) <= step]
    for old in (*ahead, *behind[keep:]):
        with contextlib.suppress(OSError):  # the new one is there, and the next save tries again
            remove_folder(old)
    return target


def load_newest_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is whole; for each newer one that is not, a line that says so and what is taken."""
    damaged: list[str] = []
    for path in checkpoint_folders(folder):
        try:
            checkpoint = load_checkpoint(path)
        except RunFolderError as error:
            damaged.append(str(error))
        else:
            return checkpoint, [f"{line}; going back to step {step_of(path)}" for line in damaged]
    return None, [f"{line}; there is none before it, so the stage begins anew" for line in damaged]


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads one checkpoint after checking every file against the manifest.

    Raises:
        RunFolderError: a file is damaged or missing.
    """
    for name, expected in _read_manifest(path / MANIFEST).items():
        try:
            found = fingerprint(path / name)
        except OSError as error:
            raise RunFolderError(f"{path / name}: is damaged: {error.strerror}") from None
        if found != expected:
            raise RunFolderError(f"{path / name}: is damaged: sha256 {found.sha256[:12]} after {found.size_bytes} "
                                 f"bytes; expected {expected.sha256[:12]} after {expected.size_bytes}")  # fmt: skip
    try:
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
        return Checkpoint(load_file(path / MODEL), load_file(path / OPTIMIZER), state)
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise RunFolderError(f"{path}: is damaged: {error}") from None


def checkpoint_folders(folder: Path) -> Iterator[Path]:
    """Finished checkpoints, newest first."""
    paths = [path for path in folder.glob("step-*") if path.name.removeprefix("step-").isdigit()]
    yield from sorted(paths, key=step_of, reverse=True)


def step_of(path: Path) -> int:
    """The step that a checkpoint's folder is named after."""
    return int(path.name.removeprefix("step-"))


def _fill(folder: Path, checkpoint: Checkpoint) -> None:
    written = {
        MODEL: write_file(folder / MODEL, safetensors_chunks(checkpoint.model)),
        OPTIMIZER: write_file(folder / OPTIMIZER, safetensors_chunks(checkpoint.optimizer)),
        STATE: write_file(folder / STATE, [_as_json(checkpoint.state)]),
    }
    write_file(folder / MANIFEST, [_as_json({name: asdict(found) for name, found in written.items()})])


def _read_manifest(path: Path) -> dict[str, Fingerprint]:
    try:
        data = path.read_bytes()
        fields = json.loads(data)
        manifest = {name: Fingerprint(**found) for name, found in fields.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is no list of files"
        raise RunFolderError(f"{path}: is damaged: {reason}") from None
    # Nothing else vouches for the manifest: it has to be what was written to the last blank.
    if data != _as_json(fields) or manifest.keys() != {MODEL, OPTIMIZER, STATE}:
        raise RunFolderError(f"{path}: is damaged: is not as it was written")
    return manifest


def _as_json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
