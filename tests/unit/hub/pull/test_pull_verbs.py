"""``duologue pull`` and ``duologue models``."""

from __future__ import annotations

import argparse
import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import duologue
from duologue.cli import models, pull
from duologue.cli.parser import parse
from duologue.cli.result import to_json

NAME = "hf:Someone/Small-Model"


def call(module: ModuleType, *words: str) -> Any:
    arguments: argparse.Namespace = parse(module.__name__.rpartition(".")[2], module, list(words))  # type: ignore[arg-type]
    return module.run(arguments)


def test_pull_gives_name_path_source_and_hash(huggingface: Any, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pulled = call(pull, NAME)
    assert dataclasses.asdict(pulled).keys() == {"name", "path", "source", "sha256"}
    assert f'"path": "{home}/models/hf--Someone--Small-Model"' in to_json(pulled)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Hugging Face" in shown.err
    assert f"duologue chat {NAME}" in shown.err


def test_offline_is_a_flag(huggingface: Any) -> None:
    with pytest.raises(RuntimeError, match="offline nothing is fetched"):
        call(pull, NAME, "--offline")
    call(pull, NAME)
    huggingface.asked.clear()
    assert call(pull, NAME, "--offline").path.is_dir()
    assert call(pull, NAME, "--force").path.is_dir()
    assert huggingface.asked


def test_models_lists_pulled_ones_and_finished_runs(
    huggingface: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], write_folder: Callable[[Path], Path]
) -> None:
    assert call(models) == []
    assert "no models here yet" in capsys.readouterr().err
    call(pull, NAME)
    write_folder(tmp_path / "runs" / "mine" / "model")
    (tmp_path / "runs" / "unfinished").mkdir()
    pulled, trained = call(models)
    assert (pulled.name, trained.name) == (NAME, "runs/mine")
    assert trained.size_bytes == 2 + 7
    assert trained.date.startswith("20")
    shown = capsys.readouterr().err
    assert NAME in shown
    assert "runs/mine" in shown
    assert to_json([trained]).startswith('[{"name": "runs/mine", "path": "runs/mine/model"')


def test_neither_verb_needs_torch() -> None:
    program = "import sys, duologue.cli.pull, duologue.cli.models, duologue.hub.pull; print('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(Path(duologue.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.fixture
def write_folder() -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        path.mkdir(parents=True)
        (path / "config.json").write_text("{}")
        (path / "model.safetensors").write_bytes(b"weights")
        return path

    return write
