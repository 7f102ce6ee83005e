"""Random draws that are a pure function of a key: the same on every machine, in any order, with any number of workers.

The numbers are BLAKE2b of the key and a counter. Nothing is shared, so nothing can get out of step.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (counter-based generators).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from struct import unpack
from typing import TypeVar

T = TypeVar("T")


class Draws:
    """A stream of random numbers that belongs to a key."""

    __slots__ = ("_block", "_key", "_left")

    def __init__(self, *key: object) -> None:
        """The key's parts are told apart: ("a", "bc") is another key than ("ab", "c")."""
        parts = [str(part) for part in key]
        named = "".join(f"{len(part)}:{part}" for part in parts).encode("utf-8", "surrogatepass")
        self._key = blake2b(named, digest_size=32).digest()
        self._block = 0
        self._left: list[int] = []

    def unit(self) -> float:
        """A number from 0 up to 1."""
        if not self._left:
            block = blake2b(self._block.to_bytes(8, "little"), key=self._key, digest_size=64).digest()
            self._left, self._block = list(unpack("<8Q", block)), self._block + 1
        return (self._left.pop() >> 11) * 2.0**-53

    def below(self, limit: int) -> int:
        """A whole number from 0 up to ``limit``."""
        return int(self.unit() * limit)

    def is_below(self, probability: float) -> bool:
        """True with this probability."""
        return self.unit() < probability

    def pick(self, items: Sequence[T]) -> T:
        """One of the items, each as likely."""
        return items[int(self.unit() * len(items))]

    def pick_by(self, items: Sequence[T], weights: Sequence[float]) -> T:
        """One of the items, as likely as its weight."""
        left = self.unit() * sum(weights)
        for item, weight in zip(items, weights, strict=True):
            left -= weight
            if left < 0:
                return item
        return items[-1]

    def in_order(self, count: int, weights: Sequence[float] | None = None) -> Iterator[int]:
        """The numbers below ``count`` in random order, drawn as they are asked for; heavier ones tend to come first.

        Source: Efraimidis and Spirakis 2006 (weighted sampling without replacement, by exponential keys).
        """
        if weights is not None:
            keys = [-math.log(1.0 - self.unit()) / max(weight, 1e-12) for weight in weights]
            yield from sorted(range(count), key=keys.__getitem__)
            return
        left = list(range(count))
        while left:
            place = int(self.unit() * len(left))
            left[place], left[-1] = left[-1], left[place]
            yield left.pop()

    def some(self, count: int, number: int) -> list[int]:
        """So many different numbers below ``count``, or all of them."""
        return list(islice(self.in_order(count), number))
