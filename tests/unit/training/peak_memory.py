"""Trains a model for some steps, or counts for a start, and says in JSON how much memory that took and should take.

    python peak_memory.py '{"rows": 16, "is_compiled": false, ...}'

In a process of its own, since the peak of a process never falls again.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from duologue.data.shards import Manifest, Shards
from duologue.runtime import keep_freed_memory
from duologue.training.config import StageConfig
from duologue.training.cost import estimate_memory
from duologue.training.counted_start import count_pairs, counted_start
from duologue.training.native_kernels import attention_name
from duologue.training.timed_step import TimedStep, random_tokens
from duologue.transformer.config import TransformerConfig
from duologue.transformer.model import Transformer

SHAPE = {"hidden_size": 256, "num_hidden_layers": 5, "num_key_value_heads": 2, "max_position_embeddings": 256}
STEPS = 3


def train(shape: dict[str, Any], *, vocab: int, rows: int, at_once: int, dtype: Any, is_compiled: bool) -> int:
    """The bytes that the estimate gives for it, after some steps."""
    config = TransformerConfig(**shape)
    length = config.max_position_embeddings
    stage = StageConfig(batch_tokens=rows * length, micro_batch_tokens=at_once * length, sequence_length=length)
    step = TimedStep(config, stage, vocab_size=vocab, dtype=dtype, is_compiled=is_compiled)
    for _ in range(STEPS):
        step.take(random_tokens(vocab)(rows, length))
    with torch.device("meta"):
        model = Transformer(config, vocab_size=vocab)
    attention = attention_name(is_native=step.is_native, is_compiled=is_compiled)
    return estimate_memory(
        model, dtype=dtype, num_rows=at_once, sequence_length=length, attention=attention, is_compiled=is_compiled,
        is_accumulating=at_once < rows,
    ).total  # fmt: skip


def count(shape: dict[str, Any], *, vocab: int, num_tokens: int) -> int:
    """The same for a start from counts."""
    config = TransformerConfig(**shape, tie_word_embeddings=False)
    model = Transformer(config, vocab_size=vocab)
    tokens = np.random.default_rng(0).integers(0, vocab, num_tokens).astype(np.uint16)
    shards = Shards(Manifest(1, num_tokens, 0, 0, "uint16", ""), tokens, tokens[:0], np.array([0, num_tokens]))
    counted_start(model, count_pairs(shards, vocab), seed=0, dtype=torch.bfloat16)
    return estimate_memory(
        model, dtype="bfloat16", num_rows=1, sequence_length=64, attention="masked", is_counted=True
    ).total  # fmt: skip


def resident_bytes(kind: str) -> int:
    """VmRSS is now, VmHWM the most that it ever was; what the system says of a child may be its parent's."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(kind)) * 1024


def main() -> None:
    """Warms up with next to nothing first, since the program itself is no part of the estimate."""
    asked = json.loads(sys.argv[1])
    keep_freed_memory()
    small = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
             "head_dim": 32, "intermediate_size": 64, "max_position_embeddings": 64}  # fmt: skip
    if "num_tokens" in asked:
        count(small, vocab=64, num_tokens=1000)
        work = lambda: count(SHAPE, **asked)  # noqa: E731
    else:
        train(small, **(asked | {"rows": 1, "at_once": 1, "vocab": 64}))
        work = lambda: train(SHAPE, **asked)  # noqa: E731
    gc.collect()
    before = resident_bytes("VmRSS")
    expected = work()
    print(json.dumps({"expected": expected, "peak": resident_bytes("VmHWM") - before}))


if __name__ == "__main__":
    main()
