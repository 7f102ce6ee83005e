"""A folder that may not be written, a disk with no room for names, a clock that jumps, a run that has moved."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.faults.commands import Starter, await_file, kill_after_a_checkpoint, leftovers, result, short_words

YEARS = 20


def last_line(starter: Starter) -> str:
    said = starter.said()
    assert "Traceback" not in said, said
    assert "internal error" not in said, said
    return said.splitlines()[-1]


@pytest.mark.parametrize("is_new", [True, False])
def test_a_folder_that_may_not_be_written(
    starter: Starter, data: Path, pretrained: Path, tmp_path: Path, is_new: bool
) -> None:
    place = tmp_path / "place"
    out = place / "run"
    place.mkdir()
    if not is_new:
        shutil.copytree(pretrained, out)
    before = sorted(place.rglob("*"))
    folders = [place, *(path for path in before if path.is_dir())]
    for path in folders:
        path.chmod(0o555)
    faults = {"obeys_permissions": True} if os.geteuid() == 0 else {}
    try:
        assert starter.run(*short_words("pretrain", data, out, "--seed", "3"), **faults) == 1
    finally:
        for path in folders:
            path.chmod(0o755)
    assert last_line(starter).startswith(f"duologue pretrain: {out}")
    assert "Permission denied" in last_line(starter)
    assert sorted(place.rglob("*")) == before


def test_a_disk_that_is_set_read_only(starter: Starter, data: Path, mount: Callable[[str], Path]) -> None:
    out = mount("size=16m") / "run"
    process = starter.start(*short_words("pretrain", data, out, "--steps", "5000"))
    await_file("pretraining/checkpoints/step-*", out)
    assert os.system(f"mount -o remount,ro {out.parent} 2>/dev/null") in (0, 32 << 8)  # busy: a file is open
    os.kill(process, signal.SIGKILL)
    starter.wait(process)
    assert os.system(f"mount -o remount,ro {out.parent}") == 0
    assert starter.run(*short_words("pretrain", data, out, "--steps", "5000")) == 1
    assert last_line(starter).startswith(f"duologue pretrain: {out}")
    assert "Read-only file system" in last_line(starter)


@pytest.mark.parametrize("num_names", [3, 10, 20, 30, 40])
def test_no_room_for_names(
    starter: Starter, data: Path, pretrained: Path, mount: Callable[[str], Path], tmp_path: Path, num_names: int
) -> None:
    """So many files may be on the disk, and not one more."""
    place = mount(f"size=32m,nr_inodes={num_names}")
    out = place / "run"
    assert starter.run(*short_words("pretrain", data, out)) == 1
    assert last_line(starter).startswith(f"duologue pretrain: {out}")
    assert "o space left on" in last_line(starter)
    assert os.system(f"mount -o remount,size=32m,nr_inodes=1000 {place}") == 0
    assert starter.run(*short_words("pretrain", data, out)) == 0, starter.said()
    assert result(out) == result(pretrained)
    assert not leftovers(out)


def test_a_clock_that_jumps(starter: Starter, data: Path, pretrained: Path, tmp_path: Path) -> None:
    """Nothing depends on the time of day: each look at it gives another year."""
    out = tmp_path / "run"
    kill_after_a_checkpoint(starter, short_words("pretrain", data, out), out, clock_years=YEARS)
    assert starter.run(*short_words("pretrain", data, out), clock_years=YEARS) == 0, starter.said()
    assert result(out) == result(pretrained)


def test_a_run_that_has_moved(starter: Starter, data: Path, pretrained: Path, tmp_path: Path) -> None:
    """Neither the run folder nor the data has to stay where it was."""
    out, moved, mine = tmp_path / "run", tmp_path / "elsewhere" / "run", tmp_path / "elsewhere" / data.name
    moved.parent.mkdir()
    kill_after_a_checkpoint(starter, short_words("pretrain", data, out), out)
    out.rename(moved)
    shutil.copy(data, mine)
    assert starter.run(*short_words("pretrain", mine, moved)) == 0, starter.said()
    assert "going on from step" in starter.said()
    assert result(moved) == result(pretrained)
    assert not out.exists()
