"""``export check``: a folder that this package wrote passes, and each thing that can be wrong with one is found."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from duologue.generation.config import GenerationConfig
from duologue.hub.folder_check import Finding, Outcome, check_folder
from duologue.hub.hashes import read_hashes, write_hashes
from duologue.pipeline.model_folder import write_model_folder
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.transformer.model_card import CardFacts
from duologue.transformer.weights import load_transformer

pytestmark = pytest.mark.usefixtures("one_thread")
FACTS = CardFacts("apache-2.0", ["the built-in corpus"], {"steps": 3}, {"bits per byte": 1.25})


@pytest.fixture
def folder(tmp_path: Path, write_model: Callable[..., Path]) -> Path:
    """A whole model folder, as a stage leaves it."""
    plain = write_model(tmp_path / "plain")
    model, tokenizer = load_transformer(plain), Tokenizer.from_pretrained(plain)
    write_model_folder(tmp_path / "whole", model, tokenizer, GenerationConfig(), FACTS)
    return tmp_path / "whole"


def failures(folder: Path) -> list[Finding]:
    return [finding for finding in check_folder(folder) if finding.outcome is Outcome.FAILED]


def test_a_folder_of_ours_passes_every_check(folder: Path) -> None:
    findings = list(check_folder(folder))
    assert [finding.outcome for finding in findings] == [Outcome.PASSED] * 5
    assert "6 files" in findings[1].detail


def test_a_flipped_byte_is_found(folder: Path) -> None:
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    (found,) = failures(folder)
    assert (found.check, found.detail) == ("files are those of SHA256SUMS", "changed or missing: model.safetensors")


def test_a_missing_file_is_found(folder: Path) -> None:
    (folder / "generation_config.json").unlink()
    (found,) = failures(folder)
    assert found.detail == "changed or missing: generation_config.json"


def test_a_template_that_says_something_else_is_found(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    settings["chat_template"] = "{% for m in messages %}{{ m.content }}{% endfor %}"
    path.write_text(json.dumps(settings))
    write_hashes(folder)
    assert {finding.check for finding in failures(folder)} >= {"ids are those of the Jinja template"}


def test_weights_that_only_we_would_read_so_are_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = load_file(folder / "model.safetensors")
    other = {name: tensor + 0.01 * torch.ones_like(tensor) for name, tensor in tensors.items()}
    save_file(other, folder / "other.safetensors")
    shifted = load_transformer(folder)
    shifted.load_state_dict(other)
    monkeypatch.setattr("duologue.hub.folder_check.load_transformer", lambda path: shifted)
    assert [finding.check for finding in failures(folder)] == ["logits are those of transformers"]


def test_a_card_without_its_sections_is_found(folder: Path) -> None:
    (folder / "README.md").write_text("# A model\n\n## Training\n")
    write_hashes(folder)
    (found,) = failures(folder)
    assert found.detail == "README.md lacks license, Data, Evaluation, Limits"


def test_a_file_that_could_run_is_found_and_nothing_else_is_looked_at(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    findings = list(check_folder(folder))
    assert [(finding.check, finding.outcome) for finding in findings] == [("nothing that can run", Outcome.FAILED)]


def test_hashes_are_in_the_form_of_sha256sum(folder: Path) -> None:
    hashes = read_hashes(folder)
    assert len(hashes) == 6
    assert all(len(digest) == 64 for digest in hashes.values())
