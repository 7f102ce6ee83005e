"""The hashes of a folder's files, in the form that ``sha256sum -c`` reads."""

from __future__ import annotations

import hashlib
from pathlib import Path

from duologue.errors import ModelFolderError

NAME = "SHA256SUMS"


def sha256_of(path: Path) -> str:
    """The file's hash as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_hashes(folder: Path) -> None:
    """Writes ``SHA256SUMS`` over all other files of the folder."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != NAME)
    lines = [f"{sha256_of(path)}  {path.name}\n" for path in files]
    (folder / NAME).write_text("".join(lines), encoding="utf-8")


def read_hashes(folder: Path) -> dict[str, str]:
    """Hash by file name; empty where the folder has no ``SHA256SUMS``."""
    path = folder / NAME
    if not path.is_file():
        return {}
    hashes = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        digest, found, name = line.partition("  ")
        if not found or len(digest) != 64 or "/" in name or "\\" in name:
            raise ModelFolderError(f"{path}:{number}: expected a hash, two spaces and a file name")
        hashes[name] = digest
    return hashes
