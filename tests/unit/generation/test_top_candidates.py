"""The best candidates are those of a full stable sort."""

import random

import pytest
import torch
from torch import Tensor

from duologue.generation.top_candidates import WIDTH, top_candidates

CLOSED = float("-inf")


def first_of_all(scores_NV: Tensor, count: int) -> list[tuple[float, int, int]]:
    """Score, row and token of the best candidates; equals in the order of their rows, then tokens."""
    rows = scores_NV.tolist()
    every = [(score, row, token) for row, scores in enumerate(rows) for token, score in enumerate(scores)]
    return sorted(every, key=lambda entry: -entry[0])[:count]


def found(scores_NV: Tensor, count: int) -> list[tuple[float, int, int]]:
    values, rows, tokens = top_candidates(scores_NV, count)
    return list(zip(values.tolist(), rows.tolist(), tokens.tolist(), strict=True))


SHAPES = [
    (1, 1, 5), (1, 7, 3), (3, 5, 15), (4, 5, 40), (2, WIDTH, 8), (3, WIDTH + 1, 2), (8, 2000, 16),
    (1, 40 * WIDTH, 3), (2, 40 * WIDTH - 1, 19), (2, 40 * WIDTH + 1, 20), (5, 33 * WIDTH - 7, 16), (8, 9 * WIDTH, 2),
]  # fmt: skip


@pytest.mark.parametrize(("num_rows", "vocab_size", "count"), SHAPES)
def test_without_ties_they_are_those_of_a_sort(num_rows: int, vocab_size: int, count: int) -> None:
    generator = torch.Generator().manual_seed(num_rows * vocab_size)
    for _ in range(5):
        order = torch.randperm(num_rows * vocab_size, generator=generator)  # no two alike
        scores_NV = -order.double().view(num_rows, vocab_size)
        assert found(scores_NV, count) == first_of_all(scores_NV, count)


@pytest.mark.parametrize(("num_rows", "vocab_size", "count"), SHAPES)
@pytest.mark.parametrize("num_values", [1, 2, 5, 300])
def test_equals_come_in_the_order_of_their_rows_then_tokens(
    num_rows: int, vocab_size: int, count: int, num_values: int
) -> None:
    generator = torch.Generator().manual_seed(num_rows * vocab_size + num_values)
    for _ in range(3):
        scores_NV = -torch.randint(num_values, (num_rows, vocab_size), generator=generator).float()
        assert found(scores_NV, count) == first_of_all(scores_NV, count)


@pytest.mark.parametrize(("num_rows", "vocab_size", "count"), SHAPES)
def test_what_is_closed_comes_last(num_rows: int, vocab_size: int, count: int) -> None:
    rng = random.Random(num_rows * vocab_size)
    for num_open in (0, 1, count // 2, count, 3 * count):
        scores_NV = torch.full((num_rows, vocab_size), CLOSED)
        for _ in range(num_open):
            scores_NV[rng.randrange(num_rows), rng.randrange(vocab_size)] = -rng.random()
        ours = [entry for entry in found(scores_NV, count) if entry[0] > CLOSED]
        assert ours == [entry for entry in first_of_all(scores_NV, count) if entry[0] > CLOSED]


def test_the_best_of_a_crowded_column_are_all_found() -> None:
    scores_NV = torch.linspace(-9, -8, 2 * 64 * WIDTH).view(2, -1)
    scores_NV[1, 5 * WIDTH : 6 * WIDTH] = torch.linspace(-2, -1, WIDTH)
    assert found(scores_NV, 12) == first_of_all(scores_NV, 12)
    assert {token // WIDTH for _, _, token in found(scores_NV, 12)} == {5}
