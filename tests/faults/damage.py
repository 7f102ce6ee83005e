"""Ways in which a file comes to harm."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path


def flip(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= rng.randrange(1, 256)
    path.write_bytes(data)


def cut(path: Path, rng: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: rng.randrange(len(data))])


def lengthen(path: Path, rng: random.Random) -> None:
    path.write_bytes(path.read_bytes() + rng.randbytes(rng.randint(1, 100)))


def remove(path: Path, rng: random.Random) -> None:
    path.unlink()


Damage = Callable[[Path, random.Random], None]
WAYS: tuple[Damage, ...] = (flip, cut, lengthen, remove)
