"""Stochastic beams are a sample without replacement: their frequencies are those that theory gives."""

import itertools
import math
import random
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping

import numpy as np
import pytest
import torch
from tests.unit.generation.beam_reference import Tokens, all_replies, random_table

from duologue.generation.config import GenerationConfig
from duologue.generation.engine import Engine
from duologue.generation.sampling import noise_of, stream_of
from duologue.generation.stochastic_beams import StochasticBeams, disturb

ENDS = frozenset({0})


def draw(table: np.ndarray, width: int, seed: int) -> list[tuple[Tokens, float]]:
    """The replies of one draw with their scores, in the order in which they were drawn."""
    beams, search = [()], StochasticBeams(width=width, max_new_tokens=len(table))
    stream, found = stream_of(seed, [1, 2]), {}
    while not search.is_over:
        rows_NV = torch.from_numpy(table[search.step, [tokens[-1] if tokens else 0 for tokens in beams]])
        noise_NV = torch.stack([noise_of(stream, tokens, table.shape[1]) for tokens in beams])
        step = search.advance(rows_NV, lambda _row, token: token in ENDS, noise_NV)
        for done in step.entered:
            found[done] = (*beams[done.candidate.row], done.candidate.token_id)
        beams = [(*beams[candidate.row], candidate.token_id) for candidate in step.live]
    return [(found[done], done.score) for done in search.finished]


def probability_of_order(order: Iterable[float]) -> float:
    """Of drawing replies of these probabilities one after the other, each among those that are left."""
    probability, left = 1.0, 1.0
    for each in order:
        probability *= each / left
        left -= each
    return probability


def assert_distributed(drawn: list[Hashable], probabilities: Mapping[Hashable, float]) -> None:
    """Pearson's chi-square; rare outcomes count as one. Fails one time in a thousand, for all seeds or for none."""
    counts, total = Counter(drawn), len(drawn)
    assert set(counts) <= set(probabilities)
    common = [key for key, probability in probabilities.items() if probability * total >= 8]
    observed = [counts[key] for key in common] + [total - sum(counts[key] for key in common)]
    expected = [probabilities[key] * total for key in common]
    expected.append(total - sum(expected))
    if expected[-1] < 8:
        rest = observed.pop(), expected.pop()
        observed[-1], expected[-1] = observed[-1] + rest[0], expected[-1] + rest[1]
    degrees = len(expected) - 1
    assert degrees >= 3
    chi_square = sum((o - e) ** 2 / e for o, e in zip(observed, expected, strict=True))
    assert chi_square < greatest_chi_square(degrees)


def greatest_chi_square(degrees: int) -> float:
    """What chance exceeds one time in a thousand. Source: Wilson and Hilferty 1931."""
    part = 2 / (9 * degrees)
    return degrees * (1 - part + 3.0902 * math.sqrt(part)) ** 3


CASES = [
    pytest.param(2, 4, 3, 1500),
    pytest.param(3, 2, 2, 2000),
    pytest.param(3, 2, 4, 1500),
    pytest.param(2, 6, 3, 30_000, marks=pytest.mark.soak),
    pytest.param(4, 3, 2, 60_000, marks=pytest.mark.soak),
]


@pytest.mark.parametrize(("vocab_size", "length", "width", "count"), CASES)
def test_draws_are_distributed_as_a_sample_without_replacement(
    vocab_size: int, length: int, width: int, count: int
) -> None:
    table = random_table(width, length=length, vocab_size=vocab_size, sharpness=0.7)
    replies = {tokens: math.exp(logprob) for tokens, logprob in all_replies(table, ENDS).items()}
    assert sum(replies.values()) == pytest.approx(1)
    draws = [[tokens for tokens, _ in draw(table, width, seed)] for seed in range(count)]
    assert all(len(set(drawn)) == width for drawn in draws)
    orders = {order: probability_of_order(replies[tokens] for tokens in order)
              for order in itertools.permutations(replies, width)}  # fmt: skip
    assert_distributed([drawn[0] for drawn in draws], replies)  # the first one is a plain sample
    assert_distributed([tuple(drawn) for drawn in draws], orders)
    for tokens in replies:
        inclusion = sum(probability for order, probability in orders.items() if tokens in order)
        share = sum(tokens in drawn for drawn in draws) / count
        assert abs(share - inclusion) <= 4.5 * math.sqrt(inclusion * (1 - inclusion) / count) + 1e-12


def test_scores_are_log_probabilities_and_all_replies_are_found() -> None:
    """As wide as there are replies, each of them is drawn."""
    table = random_table(7, length=3, vocab_size=3, sharpness=1.5)
    replies = all_replies(table, ENDS)
    for seed in range(20):
        drawn = draw(table, len(replies), seed)
        assert {tokens for tokens, _ in drawn} == set(replies)
        assert [score for _, score in drawn] == pytest.approx([replies[tokens] for tokens, _ in drawn], abs=1e-5)


def test_a_narrower_draw_is_the_beginning_of_a_wider_one() -> None:
    table = random_table(8, length=5, vocab_size=4, sharpness=1.5)
    for seed in range(50):
        wide = draw(table, 6, seed)
        for width in (1, 3, 5):
            assert draw(table, width, seed) == wide[:width]


def test_the_greatest_child_has_its_parents_noise() -> None:
    """Against the formula as it stands in the paper, in wide floats."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        sums_NV = torch.randn(3, 5, generator=generator, dtype=torch.float64).log_softmax(dim=-1) - 2
        sums_NV[1, 2] = -torch.inf
        parents_N = torch.randn(3, generator=generator, dtype=torch.float64)
        noise_NV = torch.rand(3, 5, generator=generator, dtype=torch.float64)
        ours = disturb(sums_NV, parents_N, noise_NV).numpy()
        free = sums_NV.numpy().astype(np.longdouble) - np.log(-np.log(noise_NV.numpy().astype(np.longdouble)))
        greatest, parents = free.max(axis=1, keepdims=True), parents_N.numpy().astype(np.longdouble)[:, None]
        theirs = -np.log(np.exp(-parents) - np.exp(-greatest) + np.exp(-free))
        assert np.allclose(ours, theirs.astype(np.float64), rtol=1e-9)
        assert ours.max(axis=1).tolist() == parents_N.tolist()


def test_noise_far_out_breaks_nothing() -> None:
    sums_NV = torch.tensor([[-1e-9, -700.0, -1e4, -torch.inf], [-torch.inf] * 4], dtype=torch.float64)
    noise_NV = torch.tensor([[1e-300, 1 - 2**-53, 0.5, 0.5]] * 2, dtype=torch.float64)
    for parent in (-1e4, -30.0, 0.0, 40.0):
        ours = disturb(sums_NV, torch.tensor([parent, parent], dtype=torch.float64), noise_NV)
        assert not ours.isnan().any()
        assert ours[0].max() == parent
        assert ours[0, 3] == ours[1].max() == -torch.inf


CONFIG = {"max_new_tokens": 8, "num_beams": 5, "num_return_sequences": 5, "beam_mode": "stochastic"}


def test_the_engine_draws_each_reply_once_and_the_same_again(engine: Engine) -> None:
    prompt = [5, 6, 7]
    drawn = engine.generate(prompt, GenerationConfig(seed=1, **CONFIG))
    assert len({tuple(ids) for ids in drawn.sequences}) == 5
    assert drawn.sequences_scores == pytest.approx(drawn.sum_logprobs, abs=1e-4)
    engine.forget()
    again, other = (engine.generate(prompt, GenerationConfig(seed=seed, **CONFIG)) for seed in (1, 2))
    assert drawn.sequences == again.sequences != other.sequences
    fresh = {str(engine.generate(prompt, GenerationConfig(**CONFIG)).sequences) for _ in range(2)}
    assert len(fresh) == 2


def test_a_draw_in_a_batch_is_the_draw_alone(engine: Engine) -> None:
    config = GenerationConfig(seed=3, **CONFIG)
    rng = random.Random(0)
    prompts = [[rng.randrange(3, 300) for _ in range(length)] for length in (4, 9, 4, 30)]
    together = [output.sequences for output in engine.generate_batch(prompts, config)]
    assert together == [engine.generate(prompt, config).sequences for prompt in prompts]
    assert together[0] != together[2]


def test_fewer_replies_than_beams_are_all_there_are(engine: Engine) -> None:
    """Two tokens, each one of two: four replies, however many are asked for."""
    config = GenerationConfig(**(CONFIG | {"max_new_tokens": 2}), top_k=2, min_new_tokens=2, seed=4)
    replies = engine.generate([5, 6], config).sequences
    assert len({tuple(ids) for ids in replies}) == len(replies) == 4
