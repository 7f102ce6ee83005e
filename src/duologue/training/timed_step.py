"""A step of training, to be timed: the parts of the loop, without run folder, data and checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from duologue.data.loader import Batch
from duologue.runtime import DtypeName, best_device
from duologue.training.compiled import Compiler
from duologue.training.config import StageConfig
from duologue.training.gradient import Aims, add_gradient
from duologue.training.native_kernels import is_native_here
from duologue.training.optim import Optimizers
from duologue.training.spread import Way, spread
from duologue.training.vocabulary_sample import VocabularySampler
from duologue.training.world import World
from duologue.transformer.config import TransformerConfig
from duologue.transformer.model import Transformer

# Tokens [rows, length + 1] for a step.
Tokens = Callable[[int, int], np.ndarray]


@dataclass(frozen=True)
class Timed:
    """What one step took and gave.

    Attributes:
        loss: nats a token.
    """

    seconds: float
    loss: float


class TimedStep:
    """A model with random weights that takes steps on rows of one document each."""

    def __init__(
        self,
        shape: TransformerConfig,
        config: StageConfig,
        *,
        vocab_size: int,
        dtype: DtypeName,
        is_compiled: bool,
        sampler: VocabularySampler | None = None,
    ) -> None:
        """Nothing is compiled before the first step."""
        self.config, self.vocab_size, self._device = config, vocab_size, best_device()
        self._sampler = sampler
        torch.manual_seed(config.seed)
        model = Transformer(shape, vocab_size=vocab_size)
        self.is_native = is_native_here(config, dtype, self._device, shape.head_dim)
        self.compiler = Compiler(model, is_wanted=is_compiled, is_native=self.is_native, on_note=lambda note: None)
        number_format = getattr(torch, dtype)
        self._spread = spread(
            model, World(), dtype=number_format, way=Way.ALONE, device=self._device, is_native=self.is_native
        )
        self._optimizers = Optimizers(self._spread.masters.named, config)

    def take(self, tokens: np.ndarray) -> Timed:
        """One step on tokens [rows, length + 1], as many rows at once as the settings say."""
        start, masters = time.perf_counter(), self._spread.masters
        rows, at_once = len(tokens), self.config.rows_at_once
        loss, candidates = 0.0, self._sampler.draw(0, self._device) if self._sampler else None
        for first in range(0, rows, at_once):
            batch = _batch(tokens[first : first + at_once])
            loss += add_gradient(batch, self._spread, self.compiler, device=self._device, aims=Aims(candidates))
        num_labels = rows * (tokens.shape[1] - 1)
        masters.scale_gradients(1 / num_labels)
        masters.clip_gradients(self.config.max_gradient_norm)
        self._optimizers.step(rate=1.0)
        masters.publish()
        masters.clear_gradients()
        if self._device == "cuda":
            torch.cuda.synchronize()
        return Timed(time.perf_counter() - start, loss / num_labels)


def random_tokens(vocab_size: int, seed: int = 0) -> Tokens:
    """Rows of tokens that mean nothing: a step takes as long as with others."""
    generator = np.random.default_rng(seed)
    return lambda rows, length: generator.integers(0, vocab_size, (rows, length + 1))


def _batch(tokens: np.ndarray) -> Batch:
    rows, length = tokens.shape[0], tokens.shape[1] - 1
    places = np.broadcast_to(np.arange(length), (rows, length)).copy()
    return Batch(tokens[:, :-1].copy(), tokens[:, 1:].copy(), places, np.ones_like(places))
