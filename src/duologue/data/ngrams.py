"""How hard a text is to predict, told in seconds by counts of n-grams: what a corpus asks of any model.

The share of tokens that a few preceding ones settle differs tenfold between made-up drills and people's conversations;
with it, what one corpus has taught about models and minutes carries over to another.

Source: Witten and Bell 1991, "The zero-frequency problem", method C: the more different tokens have followed a context,
the more is left to the next shorter one.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from duologue.data.shards import Shards

ORDER = 4
MOST_COUNTED, MOST_JUDGED = 4_000_000, 100_000  # tokens; more change little and take longer
MIXER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: neighbours fall far apart

Ints = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]


def ngram_loss(counted: Shards, judged: Shards | None, *, vocab_size: int) -> float:
    """Nats a token that n-grams counted in one corpus leave open in another; without one, in the first one's end."""
    tokens = counted.tokens[:MOST_COUNTED].astype(np.uint64)
    if judged is None:
        end = len(tokens) - min(MOST_JUDGED, len(tokens) // 10)
        tokens, wanted = tokens[:end], tokens[end:]
    else:
        wanted = judged.tokens[:MOST_JUDGED].astype(np.uint64)
    if min(len(tokens), len(wanted)) <= ORDER:
        return math.log(vocab_size)
    probability = np.full(len(wanted) - ORDER + 1, 1 / vocab_size)
    for order in range(1, ORDER + 1):
        probability = _mixed(tokens, wanted, order, probability)
    return float(-np.log(probability).mean())


def _mixed(tokens: Ints, wanted: Ints, order: int, shorter: Floats) -> Floats:
    """Probabilities of the wanted tokens after ``order - 1`` others, mixed with those after fewer."""
    grams, contexts = _hashed(tokens, order), _hashed(tokens, order - 1)
    contexts = contexts[: len(grams)]
    known_grams, places, times = np.unique(grams, return_index=True, return_counts=True)
    known_contexts, times_before = np.unique(contexts, return_counts=True)
    _, followers = np.unique(contexts[places], return_counts=True)  # how many different ones
    judged = slice(ORDER - order, len(wanted) - order + 1)  # the same tokens by all orders
    wanted_grams, before = _hashed(wanted, order)[judged], _hashed(wanted, order - 1)[judged]
    seen, kinds = _looked_up(known_contexts, times_before, before), _looked_up(known_contexts, followers, before)
    counted = _looked_up(known_grams, times, wanted_grams) + kinds * shorter
    return np.where(seen, counted / np.maximum(seen + kinds, 1), shorter)


def _hashed(tokens: Ints, order: int) -> Ints:
    """A number for each run of ``order`` tokens, by where it begins."""
    num_runs = len(tokens) - max(order, 1) + 1
    hashes = np.zeros(num_runs, np.uint64)
    for i in range(order):
        hashes = (hashes + tokens[i : i + num_runs] + np.uint64(1)) * MIXER
    return hashes


def _looked_up(known: Ints, values: npt.NDArray[np.int64], wanted: Ints) -> npt.NDArray[np.int64]:
    """The values of what is known; 0 for all else."""
    places = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[places] == wanted, values[places], 0)
