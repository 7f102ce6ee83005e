"""What a stage starts from is known again, also where the weights are in several files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from duologue.cli.main import main
from duologue.conversation import Conversation

pytestmark = pytest.mark.usefixtures("one_thread")


def in_two_files(folder: Path) -> list[Path]:
    """The model's weights, taken apart."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    files = [folder / f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    places = {name: files[number % 2].name for number, name in enumerate(sorted(tensors))}
    for file in files:
        save_file({name: tensors[name] for name in places if places[name] == file.name}, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return files


def test_fine_tuning_starts_from_weights_in_several_files(
    tmp_path: Path,
    write_model: Callable[..., Path],
    dialogues: list[Conversation],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    files = in_two_files(write_model(tmp_path / "start"))
    Path("mine.jsonl").write_text("".join(row.to_json() + "\n" for row in dialogues[:60]), encoding="utf-8")
    words = ["finetune", "tiny", "--init", "start", "--data", "mine.jsonl", "--steps", "1", "--out", "tuned"]
    assert main(words) == 0
    assert main(words) == 0
    assert "finetuning: done already" in capsys.readouterr().err
    tensors = load_file(files[1])
    save_file({name: torch.zeros_like(tensor) for name, tensor in tensors.items()}, files[1])
    assert main(words) == 1
    assert "holds a finished stage with another init" in capsys.readouterr().err
