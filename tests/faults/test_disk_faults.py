"""Each operation on the disk fails, in each way that it can: a whole checkpoint is left, and going on is exact."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.faults.faulty_os import DeadError, FaultyOs

from duologue import durable_files
from duologue.durable_files import new_folder, remove_leftovers, replace_file
from duologue.errors import RunFolderError
from duologue.training.checkpoint import checkpoint_folders, load_newest_checkpoint
from duologue.training.loop import Trainer
from duologue.training.metrics import read_metrics
from duologue.training.stage import Hooks

FLIPS = 60
pytestmark = pytest.mark.usefixtures("one_thread")


def result(trainer: Trainer) -> list[Any]:
    weights = {name: tensor.clone() for name, tensor in trainer.run().state_dict().items()}
    state = trainer.optimizers.state_tensors()
    losses = [line["loss"] for line in read_metrics(trainer.stage.folder / "metrics.jsonl")]
    return [weights, state, losses]


def assert_same(found: list[Any], expected: list[Any]) -> None:
    for some, others in zip(found[:2], expected[:2], strict=True):
        assert some.keys() == others.keys()
        for name, tensor in some.items():
            assert torch.equal(tensor, others[name]), name
    assert found[2] == expected[2]


@pytest.mark.parametrize("way", ["kill", "full", "error", "short"])
def test_every_operation_of_a_training_run(
    build: Callable[..., Trainer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    way: str,
) -> None:
    whole = result(build(tmp_path / "whole"))
    num_failed = num_refused = at = 0
    while True:
        at += 1
        faulty, folder = FaultyOs(at, way), tmp_path / f"{way}-{at}"
        monkeypatch.setattr(durable_files, "os", faulty)
        said, has_ended = "", False
        try:
            trainer = build(folder)
            found = result(trainer)
            has_ended = True
        except DeadError:
            num_failed += 1
        except RunFolderError as error:
            num_failed, num_refused = num_failed + 1, num_refused + 1
            said = str(error)
        finally:
            monkeypatch.setattr(durable_files, "os", FaultyOs(0, "none"))
        assert not said or (str(folder) in said and said.endswith("; free space and start again")), said
        assert "checkpoint not written" not in said or re.search(r"it needs [\d,]+ bytes", said), said
        if has_ended:
            assert_same(found, whole)
            if faulty.count < at:
                break
            continue
        # No step is lost that a checkpoint had been finished of.
        written = len(list(read_metrics(folder / "metrics.jsonl")))
        checkpoint, damaged = load_newest_checkpoint(folder / "checkpoints")
        assert not damaged
        assert (checkpoint.state["step"] if checkpoint else 0) >= written - 1
        assert_same(result(build(folder)), whole)
        hidden = [path.name for path in (folder / "checkpoints").glob(".*")]
        assert not hidden, hidden
        shutil.rmtree(folder)
    assert num_failed > 50 or way == "short"
    with capsys.disabled():
        print(f"\n{way}: {at - 1} operations, {num_failed} runs broken off ({num_refused} with a message), all exact")


@pytest.mark.parametrize("way", ["kill", "full", "error"])
def test_every_operation_of_a_folder_and_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    def write(place: Path, text: str) -> None:
        with new_folder(place / "model") as partial:
            (partial / "inner").mkdir()
            for name in ("a", "inner/b"):
                (partial / name).write_text(text)
        replace_file(place / "finished.json", text.encode())

    for at in range(1, 1000):
        place = tmp_path / str(at)
        write(place, "old")
        faulty = FaultyOs(at, way)
        monkeypatch.setattr(durable_files, "os", faulty)
        try:
            write(place, "new")
        except (DeadError, OSError):
            pass
        finally:
            monkeypatch.setattr(durable_files, "os", FaultyOs(0, "none"))
        remove_leftovers(place)
        found = {path.read_text() for path in (place / "model").rglob("*") if path.is_file()}
        assert len(found) == 1, (at, found)
        assert len(list((place / "model").rglob("*"))) == 3
        assert (place / "finished.json").read_text() in {"old", *found}
        assert sorted(path.name for path in place.iterdir()) == ["finished.json", "model"]
        write(place, "new")
        if faulty.count < at:
            break
    assert at > 20


def test_flipped_bytes_are_found_and_the_checkpoint_before_is_taken(
    build: Callable[..., Trainer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = result(build(tmp_path / "whole", keep_checkpoints=2))
    rng, num_found = random.Random(3), 0
    for number in range(FLIPS):
        folder = tmp_path / "damaged"
        shutil.copytree(tmp_path / "whole", folder)
        newest, before = checkpoint_folders(folder / "checkpoints")
        victim = sorted(newest.iterdir())[number % 4]
        data = bytearray(victim.read_bytes())
        data[rng.randrange(len(data))] ^= rng.randrange(1, 256)
        victim.write_bytes(data)
        notes: list[str] = []
        trainer = build(folder, Hooks(on_note=notes.append), keep_checkpoints=2)
        assert trainer.state.step == 2
        assert len(notes) == 2
        assert str(newest) in notes[0]
        assert "is damaged" in notes[0]
        assert notes[0].endswith(f"going back to step {before.name.removeprefix('step-')}")
        assert_same(result(trainer), whole)
        num_found += 1
        shutil.rmtree(folder)
    with capsys.disabled():
        print(f"\n{FLIPS} bytes flipped, {num_found} found, all exact")
