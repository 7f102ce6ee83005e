"""The step that is timed learns as training does, all rows at once or some at a time."""

from __future__ import annotations

import numpy as np
import pytest

from duologue.training.config import StageConfig
from duologue.training.timed_step import TimedStep, random_tokens
from duologue.transformer.config import TransformerConfig

SHAPE = TransformerConfig(
    hidden_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, head_dim=16, intermediate_size=64
)


def losses(rows_at_once: int, tokens: np.ndarray) -> list[float]:
    config = StageConfig(sequence_length=16, batch_tokens=64, micro_batch_tokens=16 * rows_at_once)
    step = TimedStep(SHAPE, config, vocab_size=50, dtype="float32", is_compiled=False)
    return [step.take(tokens).loss for _ in range(5)]


def test_it_learns_the_rows_that_it_sees_again() -> None:
    found = losses(4, random_tokens(50)(4, 16))
    assert found == sorted(found, reverse=True)
    assert found[0] == pytest.approx(np.log(50), rel=0.02)


def test_some_rows_at_a_time_are_the_same_step() -> None:
    tokens = random_tokens(50)(4, 16)
    assert losses(2, tokens) == pytest.approx(losses(4, tokens), abs=1e-3)  # Muon works in bfloat16
