"""``duologue evaluate`` from the command line, with a tiny random model."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from duologue.cli.main import main
from duologue.conversation import Conversation
from duologue.data.formats import PlainText, Row
from duologue.evaluation.likelihood import bits_per_byte
from duologue.tokenizer.config import TokenizerConfig
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.transformer.config import TransformerConfig
from duologue.transformer.model import Transformer
from duologue.transformer.weights import load_transformer, save_weights

DIALOGUES = [
    Conversation.of("你好", "你好，谢谢。", lang="zh"),
    Conversation.of("hello", "hello there", "and?", "nothing", lang="en"),
]
QUESTION = {"messages": [{"role": "user", "content": "2+2"}], "answers": ["4"], "skill": "sums", "lang": "en",
            "source": "mine"}  # fmt: skip


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = Tokenizer.train([row.text for row in DIALOGUES], TokenizerConfig(vocab_size=300))
    shape = TransformerConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, head_dim=16,
        intermediate_size=48, max_position_embeddings=96,
    )  # fmt: skip
    torch.manual_seed(0)
    save_weights(Transformer(shape, vocab_size=tokenizer.vocab_size), folder, tokenizer)
    tokenizer.save_pretrained(folder, max_length=96)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "held-out.jsonl"
    rows = [*(row.to_dict() for row in DIALOGUES), QUESTION, {"text": "plain 天"}]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def evaluate(capsys: pytest.CaptureFixture[str], *words: str | Path) -> Any:
    assert main(["evaluate", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_result(model_folder: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = evaluate(capsys, model_folder, "--data", data)
    rows: list[Row] = [*DIALOGUES, Conversation.of("2+2", "4"), PlainText("plain 天")]
    expected = bits_per_byte(load_transformer(model_folder), Tokenizer.from_pretrained(model_folder), rows)
    assert found["bits_per_byte"] == pytest.approx(expected.bits_per_byte, rel=1e-6)
    assert found["num_bytes"] == expected.num_bytes == 18 + (11 + 7) + 1 + 9
    assert (found["num_conversations"], found["num_texts"]) == (3, 1)
    assert {lang: part["num_bytes"] for lang, part in found["by_lang"].items()} == {"en": 19, "zh": 18}
    assert {source: part["num_bytes"] for source, part in found["by_source"].items()} == {"mine": 1}
    assert found["accuracy"]["total"] == 1
    assert found["accuracy"]["by_skill"]["en"]["sums"]["total"] == 1


def test_limit_and_dtype(model_folder: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = evaluate(capsys, model_folder, "--data", data, "--limit", "1", "--dtype", "bfloat16")
    assert (found["num_conversations"], found["num_bytes"]) == (1, 18)
    assert "accuracy" not in found


def test_people_read_tables_on_stderr(model_folder: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(model_folder), "--data", str(data)]) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "bits per byte" in shown.err
    assert "sums" in shown.err


@pytest.mark.parametrize(
    ("words", "complaint", "code"),
    [
        (["--limit", "0"], "--limit: is 0; expected 1 or more", 2),
        (["--dtype", "float8"], "dtype: is 'float8'", 2),
    ],
)
def test_wrong_use(
    words: list[str], complaint: str, code: int, model_folder: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(model_folder), "--data", str(data), *words]) == code
    assert complaint in capsys.readouterr().err


def test_a_missing_file_is_said(model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(model_folder), "--data", "nowhere.jsonl"]) == 1
    assert "nowhere.jsonl: no such file" in capsys.readouterr().err
