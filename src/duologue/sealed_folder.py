"""A folder that knows what its files should hold: a list of their sizes and hashes, in a file of its own.

Nothing else vouches for the list, so it has to be what was written, to the last blank; nothing else lies in the folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from duologue.durable_files import Fingerprint, fingerprint, write_file
from duologue.errors import RunFolderError

SEAL = "SEAL.json"
SHOWN_DIGITS = 12  # of a hash


def seal(folder: Path) -> None:
    """Writes the list of what now lies in a folder that is still hidden."""
    write_seal(folder / SEAL, {path.name: fingerprint(path) for path in sorted(folder.iterdir())})


def write_seal(path: Path, files: Mapping[str, Fingerprint]) -> None:
    """Writes the list of what was meant to be written."""
    write_file(path, [_as_bytes(files)])


def require_whole(path: Path) -> set[str]:
    """Compares a folder with the list in it; gives the names of its files.

    Raises:
        RunFolderError: the list or a file is not as it was written, or gone, or there is another file.
    """
    files, folder = _read(path), path.parent
    for name, expected in files.items():
        try:
            found = fingerprint(folder / name)
        except OSError as error:
            raise RunFolderError(f"{folder / name}: is damaged: {error.strerror}") from None
        if found != expected:
            raise RunFolderError(f"{folder / name}: is damaged: {_other(found, expected)}")
    for name in sorted({one.name for one in folder.iterdir()} - files.keys() - {path.name}):
        raise RunFolderError(f"{folder / name}: is damaged: is no file of this folder's")
    return set(files)


def _read(path: Path) -> dict[str, Fingerprint]:
    try:
        data = path.read_bytes()
        files = {name: Fingerprint(**found) for name, found in json.loads(data).items()}
        is_as_written = data == _as_bytes(files) and all(Path(name).name == name for name in files)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is no list of files"
        raise RunFolderError(f"{path}: is damaged: {reason}") from None
    if not is_as_written:
        raise RunFolderError(f"{path}: is damaged: is not as it was written")
    return files


def _other(found: Fingerprint, expected: Fingerprint) -> str:
    """Both hashes from where they differ, and both sizes."""
    pairs = zip(found.sha256, expected.sha256, strict=False)
    at = next((place for place, (one, other) in enumerate(pairs) if one != other), 0)
    start = max(0, at - SHOWN_DIGITS + 1)
    shown = [f"{'...' if start else ''}{digits[start : start + SHOWN_DIGITS]}" for digits in
             (found.sha256, expected.sha256)]  # fmt: skip
    return f"sha256 {shown[0]} after {found.size_bytes} bytes; expected {shown[1]} after {expected.size_bytes}"


def _as_bytes(files: Mapping[str, Fingerprint]) -> bytes:
    return (json.dumps({name: asdict(found) for name, found in files.items()}, indent=2) + "\n").encode()
