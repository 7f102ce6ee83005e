"""A start from counts, as a user asks for it: what it gives, and where there can be none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from duologue.cli.main import main

FAST = ["--pretraining.steps", "4", "--finetuning.steps", "4", "--data.builtin_dialogues", "300"]
COUNTED = ["--pretraining.start", "counts", "--transformer.tie_word_embeddings", "false"]


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def losses(run: str) -> list[float]:
    lines = Path(run, "pretraining", "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["loss"] for line in lines]


def test_the_first_step_knows_what_follows_what() -> None:
    assert main(["pretrain", "tiny", *FAST, *COUNTED, "--out", "counted"]) == 0
    assert main(["pretrain", "tiny", *FAST, *COUNTED, "--out", "again"]) == 0
    assert main(["pretrain", "tiny", *FAST, "--out", "random"]) == 0
    assert losses("counted") == losses("again")
    assert losses("counted")[0] < losses("random")[0] / 2


def test_a_run_goes_on_without_counting_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["pretrain", "tiny", *FAST, *COUNTED]) == 0
    Path("runs/tiny/pretraining/finished.json").unlink()
    monkeypatch.setattr("duologue.pipeline.stages.count_pairs", lambda *_: pytest.fail("counted again"))
    assert main(["pretrain", "tiny", *FAST, *COUNTED]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pretrain", "tiny", "--pretraining.start", "counts"], "is 'counts'; expected 'random', or transformer.tie_"),
        (["pretrain", "tiny", "--pretraining.start", "counted"], "is 'counted'; expected one of random, counts"),
        (["up", "tiny", "--finetuning.start", "counts"], "finetuning.start: is 'counts'; expected 'random', since"),
    ],
)  # fmt: skip
def test_where_there_is_none_one_line_says_why(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, *FAST]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert "Traceback" not in said.err
