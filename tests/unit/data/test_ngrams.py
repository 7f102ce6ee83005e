"""How hard a text is to predict, by counts: against a plain reading of the formula, and on texts of known hardness."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest

from duologue.data import ngrams
from duologue.data.ngrams import ngram_loss
from duologue.data.shards import Manifest, Shards

VOCAB = 9


def shards_of(tokens: list[int]) -> Shards:
    array = np.array(tokens, dtype=np.uint16)
    return Shards(
        Manifest(1, len(array), 0, 0, "uint16", ""), array, np.zeros(len(array), np.uint8), np.array([0, len(array)])
    )


def drawn(number: int, *, seed: int) -> list[int]:
    """A text in which a token depends on the two before it."""
    generator = np.random.default_rng(seed)
    tokens = [0, 1]
    while len(tokens) < number:
        is_ruled = generator.random() < 0.7
        tokens.append((2 * tokens[-1] + tokens[-2]) % VOCAB if is_ruled else int(generator.integers(VOCAB)))
    return tokens


def by_the_book(counted: list[int], judged: list[int]) -> float:
    """Witten and Bell's method C, a dictionary a context."""
    after: dict[tuple[int, ...], dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for order in range(1, ngrams.ORDER + 1):
        for start in range(len(counted) - order + 1):
            *context, token = counted[start : start + order]
            after[tuple(context)][token] += 1

    def probability(context: tuple[int, ...], token: int) -> float:
        shorter = probability(context[1:], token) if context else 1 / VOCAB
        if context not in after:
            return shorter
        seen, kinds = sum(after[context].values()), len(after[context])
        return (after[context].get(token, 0) + kinds * shorter) / (seen + kinds)

    reach = ngrams.ORDER - 1
    ends = range(reach, len(judged))
    return -sum(math.log(probability(tuple(judged[end - reach : end]), judged[end])) for end in ends) / len(ends)


def test_it_is_the_published_formula() -> None:
    counted, judged = drawn(3000, seed=0), drawn(500, seed=1)
    found = ngram_loss(shards_of(counted), shards_of(judged), vocab_size=VOCAB)
    assert found == pytest.approx(by_the_book(counted, judged), rel=1e-9)


def test_without_another_corpus_the_end_of_the_first_is_judged() -> None:
    tokens = drawn(4000, seed=0)
    found = ngram_loss(shards_of(tokens), None, vocab_size=VOCAB)
    assert found == pytest.approx(by_the_book(tokens[:3600], tokens[3600:]), rel=1e-9)


def test_noise_leaves_everything_open_and_a_drill_nothing() -> None:
    noise = np.random.default_rng(0).integers(0, VOCAB, 20_000).tolist()
    drill = list(range(VOCAB)) * 2000
    assert 1 <= ngram_loss(shards_of(noise), None, vocab_size=VOCAB) / math.log(VOCAB) < 1.1
    assert ngram_loss(shards_of(drill), None, vocab_size=VOCAB) < 0.01


@pytest.mark.parametrize("number", [0, 1, ngrams.ORDER])
def test_of_next_to_nothing_nothing_is_known(number: int) -> None:
    few = shards_of([1] * number)
    assert ngram_loss(few, few, vocab_size=VOCAB) == math.log(VOCAB)
    assert ngram_loss(few, None, vocab_size=VOCAB) == math.log(VOCAB)
