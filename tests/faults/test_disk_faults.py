"""Each operation on the disk fails, in each way that it can: a whole checkpoint is left, and going on is exact."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.faults.faulty_os import DeadError, FaultyOs
from tests.faults.trainer_results import assert_same, trained

from duologue import durable_files
from duologue.durable_files import new_folder, remove_leftovers, replace_file
from duologue.errors import RunFolderError
from duologue.training.checkpoint import load_newest_checkpoint
from duologue.training.loop import Trainer
from duologue.training.metrics import read_metrics

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("way", ["kill", "full", "error", "short"])
def test_every_operation_of_a_training_run(
    build: Callable[..., Trainer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    way: str,
) -> None:
    whole = trained(build(tmp_path / "whole"))
    num_failed = num_refused = at = 0
    while True:
        at += 1
        faulty, folder = FaultyOs(at, way), tmp_path / f"{way}-{at}"
        monkeypatch.setattr(durable_files, "os", faulty)
        said, has_ended = "", False
        try:
            trainer = build(folder)
            found = trained(trainer)
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
        assert_same(trained(build(folder)), whole)
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
