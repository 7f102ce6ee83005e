"""``duologue data augment``: the same bytes with any number of workers, all undone, bad calls told in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from duologue.adversarial.dialogue import undo
from duologue.cli.main import main
from duologue.conversation import Conversation
from duologue.data.builtin.dialogues import builtin_dialogues
from duologue.data.sources import read_conversations


@pytest.fixture(scope="module")
def rows() -> list[Conversation]:
    made = builtin_dialogues(num_dialogues=1500, seed=4, split="train")
    return [row for row in made if isinstance(row, Conversation)]


@pytest.fixture(scope="module")
def file(rows: list[Conversation], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dialogues") / "my.jsonl"
    lines = [row.to_json() for row in rows]
    path.write_text("\n".join([*lines[:700], '{"text": "a plain text"}', *lines[700:]]) + "\n", "utf-8")
    return path


def augment(*words: object) -> int:
    return main(["data", "augment", *map(str, words)])


def test_workers_change_nothing_and_all_is_undone(file: Path, rows: list[Conversation], tmp_path: Path) -> None:
    outs = [tmp_path / f"{workers}.jsonl" for workers in (1, 2, 8)]
    for workers, out in zip((1, 2, 8), outs, strict=True):
        assert augment(file, "--out", out, "--copies", 2, "--seed", 3, "--workers", workers) == 0
    first = outs[0].read_bytes()
    assert all(out.read_bytes() == first for out in outs)
    written = [json.loads(line) for line in first.decode().splitlines()]
    assert written[1400] == {"text": "a plain text"}
    pairs = [row for row in written if "messages" in row]
    assert [undo(row) for row in pairs] == [row for row in rows for _ in range(2)]
    assert sum("adversarial" in row for row in pairs) > 0.9 * len(pairs)


def test_others_read_it(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "new.jsonl.zst"
    assert augment(file, "--out", out, "--row-share", 0.5, "--hold-out", "sight", "hearing") == 0
    assert sum(1 for _ in read_conversations(out)) == 1501


def test_other_fields_stay_and_noise_is_not_put_on_noise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "test.jsonl", tmp_path / "new.jsonl"
    messages = [{"role": "user", "content": "Tell me the colour of the sky"}]
    row = {"messages": messages, "answers": ["blue"], "split": "x"}
    file.write_text(json.dumps(row) + "\n", "utf-8")
    assert augment(file, "--out", out) == 0
    written = json.loads(out.read_text("utf-8"))
    assert (written["answers"], written["split"]) == (["blue"], "x")
    assert undo(written).to_dict() == {"messages": row["messages"]}
    capsys.readouterr()
    assert augment(out, "--out", tmp_path / "newer.jsonl") == 1
    assert "has noise in it already" in capsys.readouterr().err
    assert augment(file, "--out", file) == 2
    assert "which is read from" in capsys.readouterr().err
    assert json.loads(file.read_text("utf-8")) == row


def test_preview(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert augment(file, "--preview", 3, "--json") == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)["rows"]
    assert len(found) == 3
    assert all("adversarial" in row for row in found)
    assert all(name in shown.err for row in found for name in row["adversarial"]["families"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--preview", "0"), "expected at least 1"),
        ((), "expected either --out FILE"),
        (("--out", "x.jsonl", "--worst-of", "4"), "--worst-of"),
        (("--out", "x.txt"), "expected a name that ends in .jsonl"),
        (("--out", "x.jsonl", "--families", "en-swop"), "did you mean en-swap?"),
        (("--out", "x.jsonl", "--row-share", "1.5"), "row_share: is 1.5; expected 0 to 1"),
        (("--out", "x.jsonl", "--families", "sight", "--hold-out", "sight"), "none is left"),
    ],
)
def test_bad_calls(
    words: tuple[str, ...], told: str, file: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert augment(file, *words) != 0
    complaint = capsys.readouterr().err.strip()
    assert told in complaint
    assert "\n" not in complaint
    assert not list(tmp_path.iterdir())
