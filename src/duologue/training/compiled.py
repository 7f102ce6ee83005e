"""torch.compile where it is wanted and works; the plain forward everywhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from duologue.training.objective import Forward, packed_forward
from duologue.transformer.attention import masked_attention, multiplied_attention

T = TypeVar("T")


class Compiler:
    """Holds the forward of packed rows, compiled or not, and falls back once if the compiler fails."""

    def __init__(self, is_wanted: bool, *, on_note: Callable[[str], None]) -> None:
        """Nothing is compiled before the first call."""
        self._on_note = on_note
        self.is_compiled = is_wanted
        self._is_proven = not is_wanted
        self._forward = torch.compile(packed_forward(multiplied_attention)) if is_wanted else eager_forward()

    def call(self, use: Callable[[Forward], T], *, on_retry: Callable[[], None] = lambda: None) -> T:
        """Runs ``use(forward)``; should the first compiled run fail, clears up with on_retry and runs it plain."""
        if self._is_proven:
            return use(self._forward)
        try:
            result = use(self._forward)
        except Exception as error:  # compilers fail in many ways, of which none is the user's fault
            self._on_note(f"torch.compile does not work here ({type(error).__name__}); training without it")
            on_retry()
            self._forward, self.is_compiled = eager_forward(), False
            result = use(self._forward)
        self._is_proven = True
        return result


def eager_forward() -> Forward:
    """The forward of packed rows, without a compiler."""
    return packed_forward(masked_attention)
