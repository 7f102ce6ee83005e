"""The size for the minutes: the best one by the law, with few measurements, and more of everything for more minutes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from duologue.training.chooser import Budget, Measure, choose, usual_batch, usual_length
from duologue.training.loss_law import predicted_loss, worth_of
from duologue.training.sizes import shapes_like
from duologue.transformer.config import TransformerConfig

BUDGET = Budget(seconds=600, flops=3e11, num_outputs=8192, corpus_tokens=20_000_000, ngram_loss=5.0)
SIZES = shapes_like(TransformerConfig(tie_word_embeddings=False), sequence_length=256)


def machine(*, share: float, asked: list[TransformerConfig]) -> Measure:
    """One that trains every size at the same share of its peak."""

    def tokens_per_s(shape: TransformerConfig, sequence_length: int, batch_tokens: int) -> float:
        asked.append(shape)
        return share * BUDGET.flops / shape.flops_per_token(vocab_size=BUDGET.num_outputs, sequence_length=256)

    return tokens_per_s


@pytest.mark.parametrize("seconds", [20, 60, 600, 1800, 20_000])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.8])
def test_it_is_the_best_of_all_sizes(seconds: float, share: float) -> None:
    budget, asked = replace(BUDGET, seconds=seconds), list[TransformerConfig]()
    outcome, num_timed = choose(SIZES, budget, machine(share=share, asked=asked), limit_s=100)
    measure = machine(share=share, asked=[])
    losses = [
        predicted_loss(
            ngram_loss=5.0, num_matrix_parameters=shape.num_matrix_parameters, corpus_tokens=budget.corpus_tokens,
            num_tokens=measure(shape, 256, 4096) * seconds,
        )
        for shape in SIZES
    ]  # fmt: skip
    assert outcome.loss == pytest.approx(min(losses))
    assert len(asked) == num_timed <= 5


def test_more_minutes_are_never_spent_on_a_smaller_model_or_to_a_worse_end() -> None:
    found = [choose(SIZES, replace(BUDGET, seconds=60 * minutes), machine(share=0.6, asked=[]), limit_s=100)[0]
             for minutes in (1, 2, 5, 10, 30, 60, 240, 1000)]  # fmt: skip
    for less, more in pairwise(found):
        assert more.loss < less.loss
        assert more.shape.num_matrix_parameters >= less.shape.num_matrix_parameters
        assert more.batch_tokens >= less.batch_tokens
        assert more.sequence_length >= less.sequence_length
    assert found[-1].shape.hidden_size > found[0].shape.hidden_size


def test_a_size_that_turns_out_slow_is_not_taken() -> None:
    expected, _ = choose(SIZES, BUDGET, machine(share=0.6, asked=[]), limit_s=100)

    def measure(shape: TransformerConfig, sequence_length: int, batch_tokens: int) -> float:
        usual = machine(share=0.6, asked=[])(shape, sequence_length, batch_tokens)
        return usual / 20 if shape.hidden_size == expected.shape.hidden_size else usual

    outcome, _ = choose(SIZES, BUDGET, measure, limit_s=100)
    assert outcome.shape.hidden_size != expected.shape.hidden_size


def test_where_time_is_short_one_measurement_does() -> None:
    asked = list[TransformerConfig]()
    outcome, num_timed = choose(SIZES, BUDGET, machine(share=0.3, asked=asked), limit_s=0)
    assert num_timed == len(asked) == 1
    assert outcome.tokens_per_s > 0


def test_batches_and_rows_grow_with_the_tokens() -> None:
    assert usual_batch(1e7) == 4096
    assert usual_batch(1) == 2048
    assert usual_batch(1e15) == 2**19
    assert [usual_length(number) for number in (0, 5e6, 5e7, 1e10)] == [256, 256, 512, 1024]


def test_repeated_tokens_are_worth_less_each_time() -> None:
    """The figures of the paper: four epochs are nearly four times the data, forty are not forty."""
    assert worth_of(1e6, 2_000_000) == 1e6
    assert worth_of(4e6, 1_000_000) == pytest.approx(3.73e6, rel=0.01)
    assert worth_of(1e12, 1_000_000) == pytest.approx(16.4e6, rel=0.01)
