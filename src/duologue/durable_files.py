"""Files and folders that are whole or absent, at whatever moment the process or the machine dies.

Each is written under a hidden name, synced, renamed, and the folder around it synced. Every change of the disk is one
of this file's calls of ``os``, in an order in which any of them may be the last.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

WRITING = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)

GATHERED_BYTES = 2**20


@dataclass(frozen=True)
class Fingerprint:
    """What a file holds, in short."""

    size_bytes: int
    sha256: str


def fingerprint(path: Path) -> Fingerprint:
    """Size and SHA-256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Fingerprint(file.tell(), digest)


def write_file(path: Path, chunks: Iterable[bytes | memoryview]) -> Fingerprint:
    """Writes and syncs a file in a hidden folder, chunk after chunk; gives what was meant to be written."""
    digest, size_bytes = hashlib.sha256(), 0
    descriptor = os.open(path, WRITING, 0o666)
    try:
        for chunk in _gathered(chunks):
            digest.update(chunk)
            size_bytes += len(chunk)
            _write_whole(descriptor, memoryview(chunk))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return Fingerprint(size_bytes, digest.hexdigest())


def replace_file(path: Path, data: bytes) -> None:
    """Writes a file that appears whole; until then the one of that name stays."""
    with new_file(path) as write:
        write(data)


def make_folder(path: Path) -> None:
    """Makes a folder and those above it, where they are not there yet, with their names on the disk."""
    if path.is_dir():
        return
    make_folder(path.parent)
    try:
        os.mkdir(path)
    except FileExistsError:
        if not path.is_dir():
            raise
    sync(path.parent)


@contextmanager
def new_file(path: Path) -> Iterator[Callable[[bytes], None]]:
    """What to write a file with, piece by piece; it appears whole at the end, and not at all after a failure.

    Two processes that write the same file at once do not get into each other's way: the last one's stays.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    make_folder(path.parent)
    try:
        descriptor = os.open(partial, WRITING, 0o666)
        try:
            yield lambda data: _write_whole(descriptor, memoryview(data))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(partial)
        raise
    sync(path.parent)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A hidden folder to fill; at the end it takes the place of ``target``, all that is in it synced.

    After a failure it is gone, and what was in that place is there as before.
    """
    partial, old = _partial(target), _old(target)
    make_folder(target.parent)
    _put_back(old, target)
    _delete(partial)
    os.mkdir(partial)
    try:
        yield partial
        for path in (*partial.rglob("*"), partial):
            sync(path)
        _delete(old)
        if target.exists():
            os.replace(target, old)
        try:
            os.replace(partial, target)
        except OSError:
            if old.exists():
                os.replace(old, target)
            raise
    except BaseException:
        with suppress(OSError):
            _delete(partial)
        raise
    sync(target.parent)
    with suppress(OSError):  # an old one that stays takes room and does no harm
        _delete(old)


def remove_folder(path: Path) -> None:
    """Takes a folder away: it is gone by its name at once, so that no half of it is ever taken for a whole."""
    removed = path.with_name(f".{path.name}.removed")
    _delete(removed)
    os.replace(path, removed)
    _delete(removed)


def remove_leftovers(folder: Path) -> None:
    """Takes away what killed writers left in a folder that no other process writes to."""
    for path in (*folder.glob(".*.partial"), *folder.glob(".*.removed")):
        _delete(path)
    for old in folder.glob(".*.old"):
        _put_back(old, folder / old.name.removeprefix(".").removesuffix(".old"))
        _delete(old)


def sync(path: Path) -> None:
    """Returns once a file, or the list of names in a folder, is on the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot sync a folder
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _gathered(chunks: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """The same bytes with small chunks put together, so that each is worth a call."""
    small = bytearray()
    for chunk in chunks:
        if len(small) + len(chunk) < GATHERED_BYTES:
            small += chunk
            continue
        yield bytes(small)
        small.clear()
        yield chunk
    yield bytes(small)


def _write_whole(descriptor: int, data: memoryview) -> None:
    while data:
        num_written = os.write(descriptor, data)
        if not num_written:
            raise OSError(errno.EIO, "nothing more can be written")
        data = data[num_written:]


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for child in sorted(path.iterdir()):
            _delete(child)
        os.rmdir(path)
    elif path.exists() or path.is_symlink():
        os.unlink(path)


def _put_back(old: Path, target: Path) -> None:
    """Undoes the first of new_folder's two renames, where the second never came."""
    if old.is_dir() and not target.exists():
        os.replace(old, target)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _old(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")
