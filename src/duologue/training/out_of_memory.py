"""How torch says that memory has ended."""

from __future__ import annotations

import torch

WORDS = ("can't allocate memory", "std::bad_alloc", "could not create a memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory has ended; on the processor it is known by its words alone."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(word in str(error) for word in WORDS)
