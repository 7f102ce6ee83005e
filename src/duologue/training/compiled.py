"""torch.compile where it is wanted and works; the plain forward everywhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from duologue.training.activations import AttentionName
from duologue.training.native_kernels import attention_name
from duologue.training.objective import Forward, packed_forward
from duologue.training.out_of_memory import is_out_of_memory
from duologue.transformer.attention import AttendIn, document_attention, document_mask, masked_attention
from duologue.transformer.blocked_attention import blocked_attention
from duologue.transformer.model import Transformer

T = TypeVar("T")


class Compiler:
    """The forward of packed rows, compiled or not; falls back once if the compiler fails.

    Each block is compiled by itself: they are all alike, so the compiler works once instead of once a layer.
    """

    def __init__(
        self,
        model: Transformer,
        *,
        is_wanted: bool,
        is_native: bool,
        on_note: Callable[[str], None],
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """Nothing is compiled before the first call."""
        self._model, self._on_note, self._is_stopping = model, on_note, is_stopping
        self.is_compiled, self.is_proven = is_wanted, not is_wanted
        self._plain = forward_of(attention_name(is_native=is_native, is_compiled=False))
        self._forward = forward_of(attention_name(is_native=is_native, is_compiled=is_wanted))
        if is_wanted:
            for block in model.model.layers:
                block.compile(dynamic=False)

    def call(self, use: Callable[[Forward], T], *, on_retry: Callable[[], None] = lambda: None) -> T:
        """Runs ``use(forward)``; should the first compiled run fail, clears up with on_retry and runs it plain."""
        if self.is_proven:
            return use(self._forward)
        try:
            result = use(self._forward)
        except Exception as error:  # compilers fail in many ways, of which none is the user's fault
            if is_out_of_memory(error):  # which happens without a compiler too, and is mended elsewhere
                raise
            if self._is_stopping():  # Ctrl-C reaches the compiler's processes too
                raise KeyboardInterrupt from error
            self._on_note(f"torch.compile does not work here ({type(error).__name__}); training without it")
            on_retry()
            self.release()
            self._forward, self.is_compiled = self._plain, False
            result = use(self._forward)
        self.is_proven = True
        return result

    def release(self) -> None:
        """Gives the model its plain blocks back."""
        for block in self._model.model.layers:
            block._compiled_call_impl = None


def forward_of(attention: AttentionName) -> Forward:
    """The forward of packed rows by the attention of that name."""
    return packed_forward({"masked": _masked, "products": document_attention, "blocked": blocked_attention}[attention])


def _masked(document_ids_BT: Tensor) -> AttendIn:
    return masked_attention(document_mask(document_ids_BT, torch.float32))
