"""A disk that is really full, and a limit on the size of files: one line, and with more room the same command ends."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.faults.commands import Starter, leftovers, result, short_words

from duologue.training.checkpoint import load_newest_checkpoint

DISK_BYTES = 8 * 2**20
SEED = 7
NUM_ROOMS = [pytest.param(5, id="few"), pytest.param(60, id="many", marks=pytest.mark.soak)]


def assert_said_in_one_line(starter: Starter, said_before: int, out: Path) -> None:
    said = starter.said()[said_before:]
    assert "Traceback" not in said, said
    last = said.splitlines()[-1]
    assert re.match(r"duologue pretrain: \S*" + re.escape(str(out)), last), last
    assert "internal error" not in last
    assert "checkpoint not written" not in last or re.search(r"it needs [\d,]+ bytes", last), last
    for checkpoints in out.glob("*/checkpoints"):
        checkpoint, damaged = load_newest_checkpoint(checkpoints)
        assert not damaged
        assert checkpoint or not list(checkpoints.glob("step-*"))


def assert_same(found: dict[str, object], whole: dict[str, object], where: object) -> None:
    assert found.keys() == whole.keys()
    assert [name for name in whole if found[name] != whole[name]] == [], where


@pytest.mark.parametrize("num_rooms", NUM_ROOMS)
def test_a_full_disk(
    starter: Starter, data: Path, tmp_path: Path, mount: Callable[[str], Path], tell: Callable[[str], None],
    num_rooms: int,
) -> None:  # fmt: skip
    place = mount(f"size={DISK_BYTES}")
    assert starter.run(*short_words("pretrain", data, tmp_path / "whole")) == 0, starter.said()
    whole = result(tmp_path / "whole")
    needed = sum(path.stat().st_size for path in (tmp_path / "whole").rglob("*") if path.is_file())
    rng, num_full, number = random.Random(SEED), 0, 0
    while num_full < num_rooms:
        out, ballast, number = place / f"run-{number}", place / "ballast", number + 1
        ballast.write_bytes(bytes(DISK_BYTES - rng.randrange(10_000, needed)))
        words = short_words("pretrain", data, out)
        while (code := starter.run(*words)) != 0:
            assert code == 1, starter.said()
            assert_said_in_one_line(starter, 0, out)
            num_full += 1
            room = ballast.stat().st_size - rng.randrange(50_000, needed // 2)
            ballast.write_bytes(bytes(max(0, room)))
        assert_same(result(out), whole, out)
        assert not leftovers(out)
        for path in (ballast, *sorted(out.rglob("*"), reverse=True), out):
            path.rmdir() if path.is_dir() else path.unlink()
    tell(f"disk of 8 MiB full {num_full} times in {number} runs, all ended exact (seed {SEED})")


@pytest.mark.parametrize("num_rooms", NUM_ROOMS)
def test_a_limit_on_files(
    starter: Starter, data: Path, tmp_path: Path, tell: Callable[[str], None], num_rooms: int
) -> None:
    assert starter.run(*short_words("pretrain", data, tmp_path / "whole")) == 0, starter.said()
    whole = result(tmp_path / "whole")
    largest = max(path.stat().st_size for path in (tmp_path / "whole").rglob("*") if path.is_file())
    rng, num_full, number = random.Random(SEED), 0, 0
    while num_full < num_rooms:
        out, number = tmp_path / f"run-{number}", number + 1
        words = short_words("pretrain", data, out)
        for size_bytes in sorted(int(largest ** rng.uniform(0.5, 1)) for _ in range(3)):
            before = len(starter.said())
            code = starter.run(*words, file_bytes=max(size_bytes, before + 5000))  # the log is a file too
            assert code in (0, 1), starter.said()[before:]
            if code:
                assert_said_in_one_line(starter, before, out)
                num_full += 1
        assert starter.run(*words) == 0, starter.said()
        assert_same(result(out), whole, out)
    tell(f"limit on the size of files met {num_full} times in {number} runs, all ended exact (seed {SEED})")
