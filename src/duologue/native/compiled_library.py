"""C++ files of this folder as shared libraries: compiled once for this machine, by the compiler that it has.

Where there is no compiler, or it fails, there is no library, and whoever asked does without.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

from duologue.durable_files import make_folder
from duologue.user_folder import home

FLAGS = ("-O3", "-std=c++17", "-march=native", "-fopenmp", "-shared", "-fPIC")
COMPILERS = ("c++", "g++", "clang++")  # after $CXX
COMPILING_S = 120


@lru_cache
def bfloat16_library(name: str) -> ctypes.CDLL | None:
    """A library for processors that multiply bfloat16 (AVX-512 BF16); None on all others."""
    return compiled_library(name) if b"avx512_bf16" in _processor() else None


@lru_cache
def compiled_library(name: str) -> ctypes.CDLL | None:
    """The library made of ``<name>.cpp``, or None where it cannot be had. Takes seconds the first time, then none.

    torch has to be loaded before: its OpenMP then serves this code too, and both share their threads.
    """
    compiler = _compiler()
    if compiler is None:
        return None
    source = Path(__file__).parent / f"{name}.cpp"
    try:
        library = home() / "native" / f"{name}-{_fingerprint(compiler)}.so"
        if not library.is_file():
            _compile(compiler, source, library)
        return ctypes.CDLL(str(library))
    except (OSError, subprocess.SubprocessError):
        return None


def _compiler() -> str | None:
    given = os.environ.get("CXX")
    return next((path for name in filter(None, (given, *COMPILERS)) if (path := shutil.which(name))), None)


def _fingerprint(compiler: str) -> str:
    """Of all that the library depends on: the sources, the compiler, and the processor that it is made for."""
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=COMPILING_S).stdout
    sources = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.[ch]*")) if path.suffix != ".py"]
    parts = (version, " ".join(FLAGS).encode(), _processor(), *sources)
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


@lru_cache
def _processor() -> bytes:
    try:
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    except OSError:
        return platform.processor().encode()
    return b"\n".join(sorted({line for line in lines if line.startswith((b"model name", b"flags"))}))


def _compile(compiler: str, source: Path, library: Path) -> None:
    """The library appears whole; two processes that make it at once do not get into each other's way."""
    make_folder(library.parent)
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        made = Path(folder) / library.name
        command = [compiler, *FLAGS, "-o", str(made), str(source)]
        subprocess.run(command, capture_output=True, check=True, timeout=COMPILING_S)
        os.replace(made, library)
