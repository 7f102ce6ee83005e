"""``export`` as it is called."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from duologue.cli.main import main
from duologue.hub.gguf_header import read_gguf_header

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_model: Callable[..., Path]) -> Path:
    """A model folder."""
    return write_model(tmp_path_factory.mktemp("export") / "model")


@pytest.mark.parametrize("precision", ["f32", "f16", "bf16", "q8_0"])
def test_gguf_is_one_file(
    folder: Path, tmp_path: Path, precision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out.gguf"
    assert main(["export", "gguf", str(folder), "--precision", precision, "--to", str(target), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"path": str(target), "precision": precision, "size_bytes": target.stat().st_size}
    formats = {tensor.number_format for tensor in read_gguf_header(target).tensors}
    assert formats == {precision.upper(), "F32"}
    assert [path.name for path in tmp_path.iterdir()] == ["out.gguf"]


def test_check_names_what_failed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "check", str(folder)]) == 1
    said = capsys.readouterr().err
    assert "passed  logits are those of transformers: largest difference" in said
    assert "1 of 5 checks failed: card is complete" in said
    assert "Traceback" not in said


def test_a_model_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "gguf", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
