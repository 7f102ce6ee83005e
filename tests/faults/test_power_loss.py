"""Power goes at every operation on the disk: what had been reported as written is there, and going on is exact."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.faults.power_loss import ForgetfulOs
from tests.faults.trainer_results import assert_same, trained

from duologue import durable_files
from duologue.durable_files import make_folder, new_folder, remove_leftovers, replace_file
from duologue.training.checkpoint import load_newest_checkpoint
from duologue.training.loop import Trainer
from duologue.training.metrics import StepMetrics, read_metrics
from duologue.training.stage import Hooks

SHARES = (0.0, 0.5, 1.0)  # of what is not certain
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("images_a_call", [1, pytest.param(12, marks=pytest.mark.soak)])
def test_the_last_checkpoint_survives(
    build: Callable[..., Trainer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tell: Callable[[str], None],
    images_a_call: int,
) -> None:
    whole = trained(build(tmp_path / "whole"))
    run, image, rng = tmp_path / "run", tmp_path / "image", random.Random(images_a_call)
    (run / "checkpoints").mkdir(parents=True)
    disk, written, num_images, num_resumed = ForgetfulOs(run), 0, 0, 0

    def on_step(metrics: StepMetrics, seconds_left: float | None) -> None:
        nonlocal written
        written = metrics.step  # the checkpoint of the step before has been reported as written

    def lose_power() -> None:
        nonlocal num_images, num_resumed
        for _ in range(images_a_call):
            disk.write_image(image, rng, share=rng.choice(SHARES))
            checkpoint, damaged = load_newest_checkpoint(image / "checkpoints")
            assert not damaged
            step = checkpoint.state["step"] if checkpoint else 0
            assert step >= written
            assert [line["step"] for line in read_metrics(image / "metrics.jsonl")][:step] == list(range(step))
            num_images += 1
            if rng.random() < 0.05:
                with_real_os(lambda folder: assert_same(trained(build(folder)), whole), image)
                num_resumed += 1
            shutil.rmtree(image)

    disk.after_call = lose_power
    monkeypatch.setattr(durable_files, "os", disk)
    build(run, Hooks(on_step=on_step)).run()
    assert written == 2
    tell(f"power lost at each of {disk.num_calls} operations: {num_images} disks, the last checkpoint whole on all of "
         f"them, {num_resumed} gone on with exactly")  # fmt: skip


@pytest.mark.parametrize("num_rounds", [2, pytest.param(30, marks=pytest.mark.soak)])
def test_folders_and_files_are_old_or_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tell: Callable[[str], None], num_rounds: int
) -> None:
    place, image, rng, has_returned, num_images = tmp_path / "place", tmp_path / "image", random.Random(1), "", 0
    place.mkdir()

    def write(text: str) -> None:
        nonlocal has_returned
        make_folder(place / "deep" / "er")
        with new_folder(place / "deep" / "er" / "model") as partial:
            (partial / "inner").mkdir()
            for name in ("a", "inner/b"):
                (partial / name).write_text(text)
        replace_file(place / "finished.json", text.encode())
        has_returned = text

    def lose_power() -> None:
        nonlocal num_images
        for share in SHARES:
            disk.write_image(image, rng, share=share)
            _check(image, has_returned)
            num_images += 1
            shutil.rmtree(image)

    for number in range(num_rounds):
        disk = ForgetfulOs(place)
        disk.after_call = lose_power
        monkeypatch.setattr(durable_files, "os", disk)
        write(f"text {number}" * rng.randint(1, 100))
    tell(f"power lost while folders and files are replaced: {num_images} disks, each old or new, never half")


def _check(image: Path, has_returned: str) -> None:
    """All that a writer has returned from is there, whole; what it is still at may be."""
    model = image / "deep" / "er" / "model"
    if model.parent.is_dir():
        with_real_os(remove_leftovers, model.parent)
    if not has_returned:
        return
    found = {path.read_text() for path in model.rglob("*") if path.is_file()}
    assert len(found) == 1
    assert len(list(model.rglob("*"))) == 3
    assert (image / "finished.json").read_text() in {has_returned, *found}


def with_real_os(action: Callable[[Path], None], path: Path) -> None:
    disk, durable_files.os = durable_files.os, os
    try:
        action(path)
    finally:
        durable_files.os = disk
