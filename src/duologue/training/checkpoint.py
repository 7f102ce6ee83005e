"""Checkpoints: a folder that is written whole or not at all, and checked before it is trusted.

    checkpoints/step-<n>/
        model.safetensors    float32 masters of what is trained; frozen weights are not in it
        optim.safetensors    optimiser state by parameter name
        state.json           step, tokens, seconds spent, schedule, the plan's fingerprint
        MANIFEST.json        size and SHA-256 of each file, written last

Written into a hidden folder, each file fsynced, then renamed. Nothing in it can execute.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from duologue.errors import RunFolderError


@dataclass(frozen=True)
class Checkpoint:
    """All that a stage needs to go on."""

    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Any]


def save_checkpoint(folder: Path, step: int, checkpoint: Checkpoint, *, keep: int) -> Path:
    """Writes ``folder/step-<n>``, then removes all but the newest ``keep``.

    Raises:
        RunFolderError: the disk is full or the folder cannot be written; older checkpoints are untouched.
    """
    target, partial = folder / f"step-{step}", folder / f".step-{step}-{os.getpid()}"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_file(_contiguous(checkpoint.model), partial / "model.safetensors")
        save_file(_contiguous(checkpoint.optimizer), partial / "optim.safetensors")
        _write_json(partial / "state.json", checkpoint.state)
        names = ("model.safetensors", "optim.safetensors", "state.json")
        _write_json(partial / "MANIFEST.json", {name: _fingerprint(partial / name) for name in names})
        for path in (*partial.iterdir(), partial):
            _fsync(path)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
        _fsync(folder)
    except (OSError, SafetensorError) as error:
        raise RunFolderError(f"{target}: checkpoint not written: {error}; free space and start again") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    # What lies ahead of this step is of a run that was not whole: it was passed over when this one went on.
    ahead = [path for path in checkpoint_folders(folder) if _step_of(path) > step]
    behind = [path for path in checkpoint_folders(folder) if _step_of(path) <= step]
    for old in (*ahead, *behind[keep:]):
        shutil.rmtree(old, ignore_errors=True)
    return target


def load_newest_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is whole, and a line for each newer one that is not."""
    damaged: list[str] = []
    for path in checkpoint_folders(folder):
        try:
            return load_checkpoint(path), damaged
        except RunFolderError as error:
            damaged.append(str(error))
    return None, damaged


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads one checkpoint after checking every file against the manifest."""
    try:
        manifest = json.loads((path / "MANIFEST.json").read_text(encoding="utf-8"))
        for name, expected in manifest.items():
            found = _fingerprint(path / name)
            if found != expected:
                raise RunFolderError(f"{path / name}: is damaged: sha256 {found['sha256'][:12]} after "
                                     f"{found['size_bytes']} bytes; expected {expected['sha256'][:12]} "
                                     f"after {expected['size_bytes']}")  # fmt: skip
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
        return Checkpoint(load_file(path / "model.safetensors"), load_file(path / "optim.safetensors"), state)
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise RunFolderError(f"{path}: is damaged: {error}") from None


def checkpoint_folders(folder: Path) -> Iterator[Path]:
    """Finished checkpoints, newest first."""
    paths = [path for path in folder.glob("step-*") if path.name.removeprefix("step-").isdigit()]
    yield from sorted(paths, key=_step_of, reverse=True)


def _step_of(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"size_bytes": path.stat().st_size, "sha256": digest}


def _fsync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot sync a directory
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
