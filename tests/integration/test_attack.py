"""``duologue attack`` from the command line, on a small random model: the card, its files, its errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from duologue.cli.main import main
from duologue.data.builtin.dialogues import builtin_test

FAMILIES = ("en-keyboard", "zh-same-pinyin", "conflict")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("questions") / "test.jsonl"
    rows = [item.to_dict() for item in builtin_test(items_per_skill=3, seed=0)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def test_card(model_folder: Path, write_model: Callable[..., Path], data: Path, tmp_path: Path,
              capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    words = ["attack", model_folder, "--data", data, "--limit", 60, "--questions", 6, "--families", *FAMILIES]
    assert main([*map(str, words), "--baseline", str(model_folder), "--out", str(tmp_path / "card"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {one["family"] for one in found["families"]} == {"en-keyboard", "zh-same-pinyin", "wrong-claim", "injection"}
    assert found["num_rows"] == 60
    assert all(interval["value"] == pytest.approx(0.0) for interval in found.get("recovered", {}).values())
    assert json.loads((tmp_path / "card" / "card.json").read_text("utf-8")) == found
    assert "noisy users" in (tmp_path / "card" / "card.md").read_text("utf-8")
    assert (tmp_path / "card" / "card.png").is_file()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--limit", "0"), "--limit: is 0; expected 1 or more"),
        (("--seed", "-1"), "--seed: is -1; expected 0 or more"),
        (("--baseline", "no-such-model"), "no-such-model"),
        (("--out", "/proc/nowhere"), "give another --out"),
        (("--families", "sihgt"), "did you mean sight?"),
        (("--data", "nothing.jsonl"), "no such file"),
    ],
)
def test_bad_calls(words: tuple[str, ...], told: str, model_folder: Path, data: Path,
                   capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    assert main(["attack", str(model_folder), "--data", str(data), *words]) != 0
    complaint = capsys.readouterr().err.strip()
    assert told in complaint
    assert "\n" not in complaint
