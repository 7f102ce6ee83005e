"""A run is gone on with only where nothing else is at work in its folder, and only if it is the same run."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest
from tests.faults.commands import Starter, await_file, kill_after_a_checkpoint, words

from duologue.conversation import Conversation


def weights(out: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in (out / "pretraining").rglob("*.safetensors")}


def test_a_second_trainer_is_refused_until_the_first_is_dead(starter: Starter, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = starter.start(*words(data, out))
    await_file("pretraining/metrics.jsonl", out)
    assert starter.run(*words(data, out)) == 1
    assert f"is held by process {first}, which trains in this folder; wait for it" in starter.said().splitlines()[-1]
    os.kill(first, signal.SIGKILL)
    assert starter.wait(first) == -signal.SIGKILL
    assert starter.run(*words(data, out)) == 0, starter.said()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (["--pretraining.learning_rate", "0.02"], "learning_rate (0.01, now 0.02)"),
        (["--seed", "2"], "seed (1, now 2)"),
        (["--steps", "61"], "steps (60, now 61)"),
        (["--transformer.hidden_size", "96"], "shape.hidden_size (64, now 96)"),
        (["--tokenizer.vocab_size", "900"], "settings.vocab_size (1024, now 900)"),
        ("data", "data ("),
    ],
)
def test_another_run_is_not_gone_on_with(
    starter: Starter, data: Path, tmp_path: Path, change: list[str] | str, told: str
) -> None:
    out, mine = tmp_path / "run", tmp_path / "mine.jsonl"
    mine.write_bytes(data.read_bytes())
    kill_after_a_checkpoint(starter, words(mine, out), out)
    more = [] if isinstance(change, str) else change
    if change == "data":
        mine.write_bytes(data.read_bytes() + (Conversation.of("one", "more").to_json() + "\n").encode())
    before = weights(out)
    assert starter.run(*words(mine, out, *more)) == 1
    last = starter.said().splitlines()[-1]
    assert told in last
    assert "give another --out" in last
    assert weights(out) == before


def test_another_tokenizer_is_refused(starter: Starter, data: Path, tmp_path: Path) -> None:
    """One token of the run's tokenizer is another one, before the run has ended."""
    out = tmp_path / "run"
    kill_after_a_checkpoint(starter, words(data, out), out)
    path = out / "tokenizer" / "tokenizer.json"
    fields = json.loads(path.read_text(encoding="utf-8"))
    ids = fields["model"]["vocab"]
    some, other = sorted(ids, key=ids.__getitem__)[300:302]
    ids[some], ids[other] = ids[other], ids[some]
    path.write_text(json.dumps(fields), encoding="utf-8")
    before = weights(out)
    assert starter.run(*words(data, out)) == 1
    last = starter.said().splitlines()[-1]
    assert re.search(r"holds a run with another data \(.*give another --out", last), last
    assert weights(out) == before


def test_the_same_bytes_under_another_name(starter: Starter, data: Path, tmp_path: Path) -> None:
    """A name tells the kind of a file and so counts as data; the folder that a file is in does not."""
    out, renamed = tmp_path / "run", tmp_path / "renamed.jsonl"
    kill_after_a_checkpoint(starter, words(data, out), out)
    renamed.write_bytes(data.read_bytes())
    assert starter.run(*words(renamed, out)) == 1
    last = starter.said().splitlines()[-1]
    assert re.search(r"was made from other data or settings: data \(.*give another --out", last), last
    renamed.rename(tmp_path / data.name)
    assert starter.run(*words(tmp_path / data.name, out)) == 0, starter.said()
