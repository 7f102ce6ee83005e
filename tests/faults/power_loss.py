"""What a disk holds when the power goes: a model of it, for a folder that ``durable_files`` writes to."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(eq=False)
class File:
    """Its bytes as of its last fsync."""

    synced: bytes = b""


@dataclass(eq=False)
class Folder:
    """Its names as of its last fsync, and the changes since, each whole or not at all (None: the name goes)."""

    synced: dict[str, File | Folder] = field(default_factory=dict)
    changes: list[dict[str, File | Folder | None]] = field(default_factory=list)
    now: dict[str, File | Folder] = field(default_factory=dict)

    def change(self, names: dict[str, File | Folder | None]) -> None:
        self.changes.append(names)
        _apply(self.now, names)


class ForgetfulOs:
    """``os``, which knows what would be left of a folder if the power went now.

    Stricter than file systems are: the bytes of a file are certain only as they were at its last fsync, and a name that
    was made, renamed or taken away only after an fsync of the folder that it is in. The rest is drawn: a part of the
    bytes, zeros in place of them, and any of the changes of names, in their order. Changes that are made past this
    object (a file written by another library) are known from when it is first used on them.

    Attributes:
        after_call: is called after each operation, when a disk may be looked at.
    """

    def __init__(self, root: Path) -> None:
        self.root, self._descriptors = root, dict[int, tuple[Path, File | Folder]]()
        self.after_call = lambda: None
        self.num_calls = 0
        self.tree = _on_disk(root)

    def __getattr__(self, name: str) -> Any:
        method = getattr(type(self), f"on_{name}", None)
        if method is None:
            return getattr(os, name)

        def call(*arguments: Any) -> Any:
            found = method(self, *arguments)
            self.num_calls += 1
            self.after_call()
            return found

        return call

    def write_image(self, target: Path, rng: random.Random, *, share: float) -> None:
        """Writes what the disk may hold after a loss of power, a ``share`` of what is not certain included."""
        paths: dict[File | Folder, Path] = {}
        _find_paths(self.tree, self.root, paths)
        _write(self.tree, target, paths, rng, share)

    def on_open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        descriptor = os.open(path, flags, mode)
        self._descriptors[descriptor] = (Path(path), self._node(Path(path)))
        return descriptor

    def on_fsync(self, descriptor: int) -> None:
        path, node = self._descriptors[descriptor]
        if isinstance(node, File):
            node.synced = path.read_bytes()
        else:
            for child in path.iterdir():
                self._node(child)  # also what another library has made
            node.synced, node.changes = dict(node.now), []

    def on_close(self, descriptor: int) -> None:
        del self._descriptors[descriptor]
        os.close(descriptor)

    def on_mkdir(self, path: Path) -> None:
        os.mkdir(path)
        self._node(path.parent).change({path.name: Folder()})

    def on_replace(self, source: Path, target: Path) -> None:
        assert source.parent == target.parent
        node = self._node(source)
        os.replace(source, target)
        self._node(source.parent).change({source.name: None, target.name: node})

    def on_unlink(self, path: Path) -> None:
        os.unlink(path)
        self._node(path.parent).change({path.name: None})

    def on_rmdir(self, path: Path) -> None:
        os.rmdir(path)
        self._node(path.parent).change({path.name: None})

    def _node(self, path: Path) -> Any:
        if path == self.root:
            return self.tree
        if self.root not in path.parents:
            return Folder()  # elsewhere: nothing is asked about it
        parent = self._node(path.parent)
        if path.name not in parent.now:
            parent.change({path.name: Folder() if path.is_dir() else File()})
        return parent.now[path.name]


def _apply(names: dict[str, File | Folder], change: dict[str, File | Folder | None]) -> None:
    for name, node in change.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


def _on_disk(path: Path) -> File | Folder:
    if not path.is_dir():
        return File(path.read_bytes())
    names = {child.name: _on_disk(child) for child in path.iterdir()}
    return Folder(dict(names), [], names)


def _find_paths(folder: Folder, path: Path, paths: dict[File | Folder, Path]) -> None:
    for name, node in folder.now.items():
        paths[node] = path / name
        if isinstance(node, Folder):
            _find_paths(node, path / name, paths)


def _write(folder: Folder, target: Path, paths: dict[File | Folder, Path], rng: random.Random, share: float) -> None:
    target.mkdir()
    names = dict(folder.synced)
    for change in folder.changes:
        if rng.random() < share:
            _apply(names, change)
    for name, node in names.items():
        if isinstance(node, Folder):
            _write(node, target / name, paths, rng, share)
        else:
            path = paths.get(node)
            now = path.read_bytes() if path and path.is_file() else node.synced
            (target / name).write_bytes(_drawn(node.synced, now, rng, share))


def _drawn(synced: bytes, now: bytes, rng: random.Random, share: float) -> bytes:
    if synced == now or rng.random() < share**4:
        return now
    certain = len(synced) if now.startswith(synced) else 0
    cut = rng.randint(certain, len(now)) if share else certain
    return now[:cut] + bytes(len(now) - cut if rng.random() < 0.3 else 0)
