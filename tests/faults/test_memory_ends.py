"""Memory that ends: fewer rows go through at once, as many make a step as before, and the run goes on."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.faults.commands import Starter

from duologue.errors import OutOfMemoryError
from duologue.training.loop import Trainer
from duologue.training.metrics import read_metrics
from duologue.training.stage import Hooks

MIB = 2**20
ROWS, LENGTH = 128, 256
pytestmark = pytest.mark.usefixtures("one_thread")


def words(data: Path, out: Path) -> list[str]:
    """Some steps of 128 rows at once, for which some 300 MiB are wanted."""
    return ["pretrain", "tiny", "--data", str(data), "--out", str(out), "--data.builtin_dialogues", "0",
            "--pretraining.sequence_length", str(LENGTH), "--pretraining.batch_tokens", str(ROWS * LENGTH),
            "--steps", "4", "--pretraining.evaluate_every", "100",
            "--pretraining.matrix_optimizer", "adamw", "--pretraining.learning_rate", "0.003"]  # fmt: skip


def losses(out: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(out / "pretraining" / "metrics.jsonl")]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_fewer_rows_at_once_where_memory_is_limited(
    starter: Starter, data: Path, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    assert starter.run(*words(data, tmp_path / "whole")) == 0, starter.said()
    expected, found = losses(tmp_path / "whole"), []
    for more in (400, 250, 120):
        out = tmp_path / str(more)
        for part in ("tokenizer", "data"):  # that memory may end in training is the matter here
            shutil.copytree(tmp_path / "whole" / part, out / part)
        assert starter.run(*words(data, out), more_memory_bytes=more * MIB) == 0, starter.said()
        rows = json.loads((out / "pretraining" / "decisions.json").read_text())["rows_at_once"]
        assert losses(out) == pytest.approx(expected, abs=1e-5)
        found.append(rows)
    assert found == sorted(found, reverse=True)
    assert found[-1] < ROWS
    halved = re.findall(r"memory ended; now \d+ rows at once instead of \d+, and as many a step as", starter.said())
    assert len(halved) == sum((ROWS // rows).bit_length() - 1 for rows in found)
    tell(f"memory for {ROWS} rows at once, then less and less: {found} rows at once, the same losses")


def starve(trainer: Trainer, *, most_rows: int) -> Trainer:
    """Memory for so many rows at once and no more."""
    real = trainer.spread.loss.forward

    def forward(forward: Any, input_ids: torch.Tensor, *rest: Any, **options: Any) -> torch.Tensor:
        if len(input_ids) > most_rows:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate much")
        return real(forward, input_ids, *rest, **options)

    trainer.spread.loss.forward = forward
    return trainer


def test_the_number_of_rows_is_kept_and_going_on_is_exact(build: Callable[..., Trainer], tmp_path: Path) -> None:
    changes = {"batch_tokens": 64 * 8, "steps": 6}
    notes: list[str] = []
    whole = starve(build(tmp_path / "whole", Hooks(on_note=notes.append), **changes), most_rows=3)
    weights = {name: tensor.clone() for name, tensor in whole.run().state_dict().items()}
    assert [note.partition(": ")[2].partition(";")[0] for note in notes] == ["memory ended"] * 2
    assert whole.decided.now.rows_at_once == 2
    for step in (1, 4):
        shutil.copytree(tmp_path / "whole", tmp_path / str(step))
        for later in (tmp_path / str(step) / "pretraining").glob("checkpoints"):
            shutil.rmtree(later)
        again = build(tmp_path / str(step), **changes)  # memory is there again: what was decided stays
        assert again.decided.now.rows_at_once == 2
        for name, tensor in again.run().state_dict().items():
            assert torch.equal(tensor, weights[name]), name


def test_not_one_row_fits(build: Callable[..., Trainer], tmp_path: Path) -> None:
    told = r"pretraining step 0: memory ended with 64 tokens at once; give a smaller pretraining\.sequence_length"
    with pytest.raises(OutOfMemoryError, match=told):
        starve(build(tmp_path / "run"), most_rows=0).run()


def test_other_errors_stay_what_they_are(build: Callable[..., Trainer], tmp_path: Path) -> None:
    trainer = build(tmp_path / "run")
    trainer.spread.loss.forward = lambda *arguments, **options: 1 / 0
    with pytest.raises(ZeroDivisionError):
        trainer.run()
