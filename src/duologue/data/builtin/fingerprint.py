"""Tells one version of the built-in corpus from another."""

from __future__ import annotations

import hashlib
import importlib.resources
from importlib.resources.abc import Traversable

from duologue.data.builtin.chitchat import is_installed


def builtin_fingerprint() -> str:
    """A digest of all that the built-in corpus is made from, and of whether real small talk is installed."""
    digest = hashlib.sha256(str(is_installed()).encode())
    for file in _files(importlib.resources.files("duologue.data") / "builtin"):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _files(folder: Traversable) -> list[Traversable]:
    found: list[Traversable] = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            found += _files(entry)
        elif entry.name.endswith((".py", ".toml")):
            found.append(entry)
    return found
