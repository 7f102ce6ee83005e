"""Chooses a model for the minutes: measures this machine on a few sizes, and counts how hard the data are."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from duologue.data.ngrams import ngram_loss
from duologue.data.shards import Shards
from duologue.pipeline.choice import Choice, choice_from, keep_choice, kept_choice
from duologue.pipeline.memory import Setup
from duologue.pipeline.recipe import Recipe
from duologue.runtime import DtypeName, Machine
from duologue.training.chooser import Budget, Outcome, choose, usual_length
from duologue.training.config import StageConfig
from duologue.training.cost import HEAD_SHARE_OF_PEAK
from duologue.training.schedule import SETTLING
from duologue.training.sizes import shapes_like
from duologue.training.timed_step import TimedStep
from duologue.training.vocabulary_sample import VocabularySampler
from duologue.training.world import World
from duologue.transformer.config import TransformerConfig
from duologue.transformer.model import Transformer

LONGEST_LOOK_S, SHARE_OF_LOOK = 12.0, 0.03  # no measurement begins later: seconds, and share of the minutes
STEPS_TIMED = 2
SHARE_OF_STEPS = 0.96  # of the minutes; looks, checkpoints and saving take the rest
COMPILE_S, COMPILED_GAIN = 15.0, 1.15  # the steps that are timed are not compiled
SECONDS_PER_PAIR = 7e-8  # of a start from counts, on a machine that multiplies at 300 GFLOP/s


def settled_choice(chooser: Chooser, folder: Path, *, on_note: Callable[[str], None]) -> Choice:
    """The choice that a stage's folder keeps, else a new one, then kept; the first process's for all.

    Raises:
        RunFolderError: a stage has begun there with other minutes or data.
    """
    fields: dict[str, Any] = {}
    if chooser.world.is_first:
        choice = kept_choice(folder, chooser.asked)
        if choice is None:
            on_note("measuring this machine, to choose a model for the minutes")
            choice = chooser.choice()
            keep_choice(folder, chooser.asked, choice)
        for line in choice.lines:
            on_note(line)
        fields = asdict(choice)
    return choice_from(chooser.world.first(fields))


@dataclass(frozen=True)
class Chooser:
    """For pretraining by a recipe that leaves the size open.

    Attributes:
        validation: rows kept back, if any.
    """

    recipe: Recipe
    vocab_size: int
    train: Shards
    validation: Shards | None
    machine: Machine
    world: World

    @property
    def asked(self) -> dict[str, Any]:
        """What a choice is for."""
        manifest = self.train.manifest
        return self._stage.binding | {"tokenizer": manifest.tokenizer, "tokens": manifest.num_tokens}

    def choice(self) -> Choice:
        """A new one."""
        start, stage, manifest = time.monotonic(), self.recipe.pretraining, self.train.manifest
        left_open = ngram_loss(self.train, self.validation, vocab_size=self.vocab_size)
        total_s = stage.minutes * 60
        budget = Budget(
            seconds=max(1.0, SHARE_OF_STEPS * total_s - self._start_s()),
            flops=self._flops * self.world.size,
            num_outputs=self._num_outputs,
            corpus_tokens=manifest.num_tokens,
            ngram_loss=left_open,
        )
        sizes = shapes_like(self.recipe.transformer, sequence_length=usual_length(0))
        fitting = [shape for shape in sizes if self._fits(shape, usual_length(0))] or sizes[:1]
        limit_s = min(LONGEST_LOOK_S, SHARE_OF_LOOK * total_s)
        outcome, num_timed = choose(fitting, budget, self._tokens_per_s, limit_s=limit_s)
        return Choice(
            outcome, self._tokens_at_once(outcome), left_open, manifest.num_bytes / manifest.num_tokens, num_timed,
            time.monotonic() - start, foretells=stage.start == "counts",
        )  # fmt: skip

    def _tokens_per_s(self, shape: TransformerConfig, sequence_length: int, batch_tokens: int) -> float:
        """Of this process, times the number of processes."""
        config = replace(self._stage, sequence_length=sequence_length, batch_tokens=batch_tokens)
        step = TimedStep(
            shape, config, vocab_size=self.vocab_size, dtype=self._dtype, is_compiled=False, sampler=self._sampler
        )
        rows = (config.rows_a_step, sequence_length + 1)
        tokens = np.resize(self.train.tokens[: math.prod(rows)], rows).astype(np.int64)
        taken = [step.take(tokens).seconds for _ in range(1 + STEPS_TIMED)]
        step_s = statistics.median(taken[1:]) / (COMPILED_GAIN if self._is_compiled else 1.0)
        num_tokens = tokens[:, 1:].size
        # The last steps see the whole vocabulary.
        more = 6 * (self.vocab_size - self._num_outputs) * shape.hidden_size * num_tokens
        step_s += self._stage.cooldown * (1 - SETTLING) * more / (HEAD_SHARE_OF_PEAK * self._flops)
        return self.world.size * num_tokens / step_s

    def _start_s(self) -> float:
        """Before the first step."""
        counting = SECONDS_PER_PAIR * self.vocab_size**2 if self._stage.start == "counts" else 0.0
        return counting + COMPILE_S * self._is_compiled

    def _tokens_at_once(self, outcome: Outcome) -> int:
        """A step's, or as large a part of them as there is memory for."""
        tokens = outcome.batch_tokens
        while tokens > outcome.sequence_length and not self._fits(outcome.shape, tokens):
            tokens //= 2
        return tokens

    def _fits(self, shape: TransformerConfig, tokens_at_once: int) -> bool:
        with torch.device("meta"):
            model = Transformer(shape, vocab_size=self.vocab_size)
        length = shape.max_position_embeddings
        config = replace(self._stage, sequence_length=length, batch_tokens=tokens_at_once, micro_batch_tokens=0)
        setup = Setup("pretraining", model, config, self._is_compiled, self.world)
        limit = setup.limit(self.machine)
        return not limit or setup.memory(self.machine).total <= limit

    @cached_property
    def _sampler(self) -> VocabularySampler | None:
        share, seed = self._stage.vocabulary_share, self._stage.seed
        return None if share == 1 else VocabularySampler.of(self.train, self.vocab_size, share, seed=seed)

    @property
    def _num_outputs(self) -> int:
        if self._sampler is None:
            return self.vocab_size
        return self._sampler.draw(0, "cpu").usual_size(self._stage.batch_tokens)

    @property
    def _stage(self) -> StageConfig:
        return self.recipe.pretraining

    @property
    def _flops(self) -> float:
        return self.machine.gflops[self._dtype] * 1e9

    @property
    def _is_compiled(self) -> bool:
        return self._stage.is_worth_compiling(0)

    @property
    def _dtype(self) -> DtypeName:
        return self.machine.best_dtype if self._stage.dtype == "auto" else self._stage.dtype
