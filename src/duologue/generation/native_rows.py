"""The one primitive (rows.py) as a single call of compiled code: native/rows.cpp.

On a CPU PyTorch's cost for each operation is several times what a small model's arithmetic takes. Here Python says once
what rows there are, and C++ runs them through all layers, with bfloat16 or int8 weights packed for this processor.
Without a compiler, in float32 and on other devices, rows.py does the same.

Shapes: N rows, M width, V vocabulary.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from duologue.errors import OutOfMemoryError
from duologue.generation.kv_arena import KVArena
from duologue.generation.rows import Rows
from duologue.native.compiled_library import compiled_library
from duologue.transformer.model import Transformer
from duologue.transformer.packed_weights import PackedWeights, is_packable


class _Part(ctypes.Structure):
    """As rows.cpp has it."""

    _fields_ = (
        ("start", ctypes.c_int64),
        *((name, ctypes.c_int32) for name in ("num_rows", "num_slots")),
        ("mask", ctypes.c_void_p),
    )


class NativeRows:
    """A model that rows are run through natively."""

    def __init__(self, library: Any, weights: PackedWeights) -> None:
        """By a library that was compiled; see ``of``."""
        self._library, self._weights = library, weights
        self._model = ctypes.byref(weights.struct)

    @classmethod
    def of(cls, model: Transformer, arena: KVArena) -> NativeRows | None:
        """Where this machine, the model's shape and its number format allow it; else None."""
        if not is_packable(model) or arena.slabs[0].dtype != torch.bfloat16:
            return None
        library = compiled_library("rows")
        return cls(library, PackedWeights(model, arena.key_slabs, arena.value_slabs)) if library else None

    def run(self, batch: Sequence[Rows]) -> Tensor:
        """What ``run_rows`` gives: hidden states [N, M] in order; keys and values go into the rows' slots."""
        parts: list[_Part] = []
        masks: list[Tensor] = []  # kept while C++ reads them
        tokens: list[int] = []
        positions: list[int] = []
        places: list[int] = []
        for rows in batch:
            masks.append(mask := rows.mask.contiguous())
            parts.append(_Part(rows.lane.start, len(rows), mask.shape[1], mask.data_ptr()))
            tokens += rows.token_ids
            positions += rows.positions
            places += [rows.lane.start + slot for slot in rows.slots]
        count = len(tokens)
        hidden_NM = torch.empty(count, self._weights.width)
        self._call(
            self._library.run_rows, len(parts), (_Part * len(parts))(*parts), (ctypes.c_int32 * count)(*tokens),
            (ctypes.c_int32 * count)(*positions), (ctypes.c_int64 * count)(*places),
            ctypes.c_void_p(hidden_NM.data_ptr()),
        )  # fmt: skip
        return hidden_NM

    def logits(self, hidden_NM: Tensor) -> Tensor:
        """[N, M] -> [N, V]."""
        hidden_NM = hidden_NM.contiguous()
        logits_NV = torch.empty(len(hidden_NM), self._weights.vocab_size)
        pointers = (ctypes.c_void_p(hidden_NM.data_ptr()), ctypes.c_void_p(logits_NV.data_ptr()))
        self._call(self._library.logits_of, len(hidden_NM), *pointers)
        return logits_NV

    def _call(self, function: Any, *arguments: Any) -> None:
        if function(self._model, *arguments, torch.get_num_threads()):
            raise OutOfMemoryError("native rows: memory ended; give fewer rows at once, or a smaller max_slots")
