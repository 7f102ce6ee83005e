"""C++ is compiled once, and nobody minds where that cannot be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from duologue.native import compiled_library as native
from duologue.native.compiled_library import bfloat16_library, compiled_library


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An empty folder to keep libraries in, and no memory of earlier ones."""
    monkeypatch.setenv("DUOLOGUE_HOME", str(tmp_path / "home"))
    compiled_library.cache_clear()
    bfloat16_library.cache_clear()
    yield
    compiled_library.cache_clear()
    bfloat16_library.cache_clear()


def kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "home" / "native").glob("*"))


needs_it = pytest.mark.skipif(bfloat16_library("cross_entropy") is None, reason="needs AVX-512 BF16 and a C++ compiler")


@needs_it
def test_it_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compiled_library("cross_entropy") is not None
    (library,) = kept(tmp_path)
    compiled_library.cache_clear()
    monkeypatch.setattr(native, "_compile", lambda *_: pytest.fail("compiled twice"))
    assert compiled_library("cross_entropy") is not None
    assert kept(tmp_path) == [library]


def test_without_a_compiler_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    assert compiled_library("attention") is None


def test_a_compiler_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = tmp_path / "failing"
    failing.write_text('#!/bin/sh\n[ "$1" = --version ] && exit 0\nexit 1\n')
    failing.chmod(0o755)
    monkeypatch.setenv("CXX", str(failing))
    assert compiled_library("attention") is None
    assert kept(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="a folder cannot be closed in this way")
def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DUOLOGUE_HOME", str(tmp_path / "file"))
    assert compiled_library("attention") is None


def test_other_processors_do_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_processor", lambda: b"flags: sse2")
    assert bfloat16_library("attention") is None
