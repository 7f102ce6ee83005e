"""A sample of the vocabulary in place of all of it: most of a small model's work is its head, on unlikely tokens.

A step compares each label with the labels of its batch and with other tokens, drawn with a chance that grows with the
root of how frequent they are. A token that was in with a chance of one in ten counts ten times: so the sum over the
vocabulary is right on average, and the loss, its logarithm, comes out a little low.

Shapes: V vocabulary, N labels, C tokens that are compared with.

Source: Jean et al. 2015, arXiv:1412.2007 (a sample for the softmax); Horvitz and Thompson 1952 (weights by chance).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from duologue.data.shards import Shards

MAX_TOKENS = 100_000_000  # of a corpus, that are counted
BISECTIONS = 60


@dataclass(frozen=True)
class Candidates:
    """What a step compares its labels with.

    Attributes:
        drawn: [V], whether a token was drawn.
        chance: [V], of being drawn.
        share: [V], of a token among the labels of the whole corpus.
    """

    drawn: Tensor
    chance: Tensor
    share: Tensor

    def among(self, labels_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The tokens to compare with [C], labels and what was drawn; the labels' places there [N]; -log chances [C]."""
        is_in_V = self.drawn.clone()
        is_in_V[labels_N] = True
        chosen_C = is_in_V.nonzero().squeeze(1)
        places_N = (is_in_V.cumsum(0) - 1)[labels_N]
        missed_V = _missed(self.chance, self.share, len(labels_N))
        return chosen_C, places_N, -torch.log1p(-missed_V[chosen_C])

    def usual_size(self, num_labels: int) -> int:
        """How many tokens so many labels are compared with, about."""
        return round(float((1 - _missed(self.chance, self.share, num_labels)).sum()))


class VocabularySampler:
    """Draws for each step, the same at a second try."""

    def __init__(self, share: Tensor, wanted: float, *, seed: int) -> None:
        """Draws about ``wanted`` of all tokens, besides the labels."""
        self._share, self._seed = share, seed
        self._chance = _chances(share, wanted * len(share))

    @classmethod
    def of(cls, shards: Shards, vocab_size: int, wanted: float, *, seed: int) -> VocabularySampler:
        """One for a corpus."""
        tokens = torch.from_numpy(shards.tokens[:MAX_TOKENS].astype("int64"))
        counts_V = torch.bincount(tokens, minlength=vocab_size).float() + 0.5
        return cls(counts_V / counts_V.sum(), wanted, seed=seed)

    def draw(self, step: int, device: str) -> Candidates:
        """The candidates of a step."""
        dice = np.random.default_rng((self._seed, step)).random(len(self._chance), dtype=np.float32)
        drawn = torch.from_numpy(dice) < self._chance
        return Candidates(drawn.to(device), self._chance.to(device), self._share.to(device))


def _missed(chance: Tensor, share: Tensor, num_labels: int) -> Tensor:
    """The chance that a token is neither drawn nor among the labels."""
    return (1 - chance) * (1 - share) ** num_labels


def _chances(share: Tensor, wanted: float) -> Tensor:
    """min(1, c * sqrt(share)), with c such that they come to ``wanted`` in all."""
    roots_V = share.sqrt()
    low, high = 0.0, float(1 / roots_V.min())
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if (middle * roots_V).clamp(max=1).sum() < wanted else (low, middle)
    return (high * roots_V).clamp(max=1)
