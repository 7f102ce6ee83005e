"""The best model for the minutes: the size that, trained as long as there is time, will have the least loss.

A small model sees more tokens in the time, a large one learns more from each. How fast this machine trains a size is
measured for the few that come into question, and worked out for the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from duologue.training.loss_law import predicted_loss
from duologue.transformer.config import TransformerConfig

USUAL_SHARE = 0.6  # of the peak, that a training step reaches: a first guess
MOST_EPOCHS = 4  # repeating the data more often teaches little
# Tokens of a step: Bergsma et al. 2025, arXiv:2505.13738 (the exponent); the anchor is ours.
BATCH_EXPONENT, BATCH_ANCHOR, TOKENS_ANCHOR = 0.383, 4096, 1e7
LEAST_BATCH, MOST_BATCH = 2048, 2**19
# Rows up to so many tokens seen: short ones cost less attention, long ones only pay once neighbours are learned.
LENGTHS = ((30_000_000, 256), (100_000_000, 512), (float("inf"), 1024))


@dataclass(frozen=True)
class Budget:
    """What there is to train with.

    Attributes:
        seconds: for steps, all that comes before and between taken off.
        flops: operations a second of a large matrix product on this machine.
        num_outputs: tokens that the output head compares with: the vocabulary, or a sample of it.
        corpus_tokens: in all rows to learn from.
        ngram_loss: how hard they are to predict; data/ngrams.py.
    """

    seconds: float
    flops: float
    num_outputs: int
    corpus_tokens: int
    ngram_loss: float


@dataclass(frozen=True)
class Outcome:
    """What a size would come to.

    Attributes:
        num_tokens: seen in training.
        loss: nats a token, on rows kept back.
    """

    shape: TransformerConfig
    sequence_length: int
    batch_tokens: int
    tokens_per_s: float
    num_tokens: int
    epochs: float
    loss: float


# Tokens a second of a shape, by row length and tokens of a step.
Measure = Callable[[TransformerConfig, int, int], float]


def choose(
    sizes: Sequence[TransformerConfig], budget: Budget, measure: Measure, *, limit_s: float
) -> tuple[Outcome, int]:
    """The best of the sizes, smallest first, and how many were measured.

    Args:
        limit_s: no measurement begins once so many seconds have passed.
    """
    start, speeds = time.monotonic(), dict[int, float]()
    while True:
        outcomes = [_outcome(shape, budget, _speed(place, sizes, budget, speeds)) for place, shape in enumerate(sizes)]
        best = min(range(len(sizes)), key=lambda place: outcomes[place].loss)
        # Its neighbours are measured too: their speed, if only guessed, might hide a better choice.
        unknown = [place for place in (best, best - 1, best + 1) if 0 <= place < len(sizes) and place not in speeds]
        if not unknown or (speeds and time.monotonic() - start >= limit_s):
            return outcomes[best], len(speeds)
        wanted = outcomes[unknown[0]]
        speeds[unknown[0]] = measure(wanted.shape, wanted.sequence_length, wanted.batch_tokens)


def usual_batch(num_tokens: float) -> int:
    """Tokens of a step for a training of that length: a power of two."""
    wanted = BATCH_ANCHOR * (num_tokens / TOKENS_ANCHOR) ** BATCH_EXPONENT
    batch = LEAST_BATCH
    while batch < MOST_BATCH and batch * 2**0.5 < wanted:
        batch *= 2
    return batch


def usual_length(num_tokens: float) -> int:
    """Tokens of a row for a training of that length."""
    return next(length for most, length in LENGTHS if num_tokens < most)


def _speed(place: int, sizes: Sequence[TransformerConfig], budget: Budget, speeds: dict[int, float]) -> float:
    """Tokens a second: measured, else at the share of the peak that the nearest measured size reached."""
    if place in speeds:
        return speeds[place]
    nearest = min(speeds, key=lambda known: abs(known - place), default=None)
    if nearest is None:
        return USUAL_SHARE * budget.flops / _flops(sizes[place], budget)
    return speeds[nearest] * _flops(sizes[nearest], budget) / _flops(sizes[place], budget)


def _flops(shape: TransformerConfig, budget: Budget) -> int:
    return shape.flops_per_token(vocab_size=budget.num_outputs, sequence_length=LENGTHS[0][1])


def _outcome(shape: TransformerConfig, budget: Budget, tokens_per_s: float) -> Outcome:
    num_tokens = tokens_per_s * budget.seconds
    length, batch = usual_length(num_tokens), usual_batch(num_tokens)
    loss = predicted_loss(
        ngram_loss=budget.ngram_loss, num_matrix_parameters=shape.num_matrix_parameters,
        num_tokens=num_tokens, corpus_tokens=budget.corpus_tokens,
    )  # fmt: skip
    shape = replace(shape, max_position_embeddings=length)
    return Outcome(shape, length, batch, tokens_per_s, round(num_tokens), num_tokens / budget.corpus_tokens, loss)
