"""What a prepared folder was made from, so that nothing else is ever mixed into it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from duologue.data.prepare.inputs import MeasuredFile
from duologue.data.prepare.settings import Settings
from duologue.data.prepare.workspace import Workspace, read_json, write_json
from duologue.errors import RunFolderError

FORM = 1  # goes up where the same input would give other bytes


def require_same(workspace: Workspace, inputs: Sequence[MeasuredFile], settings: Settings, num_tasks: int) -> None:
    """Writes what this folder is made from, or compares it with what it was made from before.

    Raises:
        RunFolderError: it was made from other files or with other settings.
    """
    now = _identity(inputs, settings, num_tasks)
    before = read_json(workspace.identity)
    if before is None:
        write_json(workspace.identity, now)
    elif before != now:
        raise RunFolderError(f"{workspace.path}: was made from other data or settings: {_difference(before, now)}; "
                             "give another --out, or delete it to start anew")  # fmt: skip


def sha256_of(path: Path) -> str:
    """The hash of a small file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _identity(inputs: Sequence[MeasuredFile], settings: Settings, num_tasks: int) -> dict[str, Any]:
    return {
        "form": FORM,
        "tasks": num_tasks,
        "keep_duplicates": settings.keeps_duplicates,
        "validation_rows": settings.validation_rows,
        "tokenizer": None if settings.tokenizer is None else sha256_of(settings.tokenizer / "tokenizer.json"),
        "files": [{"name": one.name, "size_bytes": one.size_bytes, "sha256": one.sha256} for one in inputs],
    }


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    for name in now:
        if name != "files" and before.get(name) != now[name]:
            return f"{name} ({_shown(before.get(name))}, now {_shown(now[name])})"
    old, new = before["files"], now["files"]
    if len(old) != len(new):
        return f"{len(old)} files, now {len(new)}"
    one, two = next((one, two) for one, two in zip(old, new, strict=True) if one != two)
    if one["name"] != two["name"]:
        return f"file {one['name']}, now {two['name']}"
    return f"file {one['name']} (SHA-256 {_shown(one['sha256'])}, now {_shown(two['sha256'])})"


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)[:12]
