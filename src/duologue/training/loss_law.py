"""The loss that a model of some size will have reached after some tokens, before it is trained; needs no torch.

    loss = ngram_loss * (FLOOR + SIZE_GAP * (N / 1 M) ** -SIZE_EXPONENT + DATA_GAP * (D / 1 M) ** -DATA_EXPONENT)

N are the parameters of the blocks' matrices and D the tokens seen, repeated ones counting less each time. The form is
that of Hoffmann et al. 2022, arXiv:2203.15556, equation 10; repeated tokens: Muennighoff et al. 2023, arXiv:2305.16264,
equation 5. What n-grams leave open says how hard the corpus is. The constants were fitted to runs on two cores with
models that start from counts (experiments/LOG.md has them): far beyond those sizes and minutes they are a guess.
"""

from __future__ import annotations

import math

SIZE_EXPONENT, DATA_EXPONENT = 0.34, 0.28  # of Hoffmann et al.
FLOOR, SIZE_GAP, DATA_GAP = 0.5975, 0.0647, 0.3235
WORTH_OF_REPEATS = 15.4  # epochs' worth of fresh tokens that repeating forever comes to


def predicted_loss(*, ngram_loss: float, num_matrix_parameters: int, num_tokens: float, corpus_tokens: int) -> float:
    """Nats a token on dialogues of the same kind that were kept back.

    Args:
        num_tokens: seen in training, repeated ones included.
        corpus_tokens: that there are.
    """
    size, data = num_matrix_parameters / 1e6, worth_of(num_tokens, corpus_tokens) / 1e6
    return ngram_loss * (FLOOR + SIZE_GAP * size**-SIZE_EXPONENT + DATA_GAP * data**-DATA_EXPONENT)


def worth_of(num_tokens: float, corpus_tokens: int) -> float:
    """How many fresh tokens would teach as much."""
    fresh = min(num_tokens, corpus_tokens)
    repeats = num_tokens / fresh - 1
    return fresh * (1 + WORTH_OF_REPEATS * (1 - math.exp(-repeats / WORTH_OF_REPEATS)))
