"""The loss against a sample of the vocabulary: on average that against all of it, and its gradient likewise."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from duologue.training.cross_entropy import ChunkedCrossEntropy
from duologue.training.vocabulary_sample import Candidates, VocabularySampler

VOCAB, WIDTH, LABELS = 200, 8, 12


def zipf() -> torch.Tensor:
    """Shares of tokens as in a language: the n-th is 1 / n as frequent as the first."""
    share = 1 / torch.arange(1.0, VOCAB + 1)
    return share / share.sum()


def batch(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    hidden, weight = (0.7 * torch.randn(rows, WIDTH, generator=generator) for rows in (LABELS, VOCAB))
    return hidden, weight, torch.multinomial(zipf(), LABELS, replacement=True, generator=generator)


def test_the_sum_over_the_vocabulary_is_right_on_average() -> None:
    """With labels that come and go as in the corpus; the label of the place itself is always in, and left out here."""
    weights, generator = torch.rand(VOCAB), torch.Generator().manual_seed(0)
    sampler, total, draws = VocabularySampler(zipf(), 0.2, seed=0), 0.0, 20_000
    for step in range(draws):
        labels = torch.multinomial(zipf(), LABELS, replacement=True, generator=generator)
        chosen, _, offset = sampler.draw(step, "cpu").among(labels)
        total += float((weights[chosen] * offset.exp()).sum())
    assert total / draws == pytest.approx(float(weights.sum()), rel=0.01)


def test_loss_and_gradient_are_nearly_those_of_the_whole() -> None:
    """Over many batches: which labels come along is part of the chance."""
    weight = batch(0)[1].requires_grad_()
    sampler = VocabularySampler(zipf(), 0.6, seed=0)
    losses, gradients = torch.zeros(2), torch.zeros(2, VOCAB, WIDTH)
    for step in range(4000):
        hidden, _, labels = batch(step)
        chosen, places, offset = sampler.draw(step, "cpu").among(labels)
        found = ChunkedCrossEntropy.apply(hidden, weight.index_select(0, chosen), places, False, offset)
        whole = F.cross_entropy(hidden @ weight.T, labels, reduction="sum")
        for place, loss in enumerate((found, whole)):
            losses[place] += loss.detach()
            gradients[place] += torch.autograd.grad(loss, weight)[0]
    assert losses[0] == pytest.approx(float(losses[1]), rel=0.02)
    assert F.cosine_similarity(gradients[0].flatten(), gradients[1].flatten(), dim=0) > 0.98
    assert gradients[0].norm() == pytest.approx(float(gradients[1].norm()), rel=0.05)


def test_a_sample_of_everything_is_everything() -> None:
    hidden, weight, labels = batch(1)
    everything = Candidates(torch.ones(VOCAB, dtype=torch.bool), torch.ones(VOCAB), zipf())
    chosen, places, offset = everything.among(labels)
    assert torch.equal(chosen, torch.arange(VOCAB))
    assert torch.equal(places, labels)
    assert not offset.any()
    found = ChunkedCrossEntropy.apply(hidden, weight, places, False, offset)
    torch.testing.assert_close(found, F.cross_entropy(hidden @ weight.T, labels, reduction="sum"))


def test_a_step_draws_the_same_again_and_another_step_others() -> None:
    draws = [VocabularySampler(zipf(), 0.25, seed=seed).draw(step, "cpu").drawn for seed, step in
             ((0, 3), (0, 3), (0, 4), (1, 3))]  # fmt: skip
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], draws[3])


@pytest.mark.parametrize("wanted", [0.05, 0.25, 0.9])
def test_as_many_are_drawn_as_are_wanted(wanted: float) -> None:
    sampler = VocabularySampler(zipf(), wanted, seed=0)
    mean = sum(int(sampler.draw(step, "cpu").drawn.sum()) for step in range(500)) / 500
    assert mean == pytest.approx(wanted * VOCAB, rel=0.05)
    assert sampler.draw(0, "cpu").usual_size(0) == round(wanted * VOCAB)
    assert wanted * VOCAB < sampler.draw(0, "cpu").usual_size(100) < VOCAB


def test_labels_are_always_in() -> None:
    _, _, labels = batch(2)
    chosen, places, _ = VocabularySampler(zipf(), 0.01, seed=0).draw(0, "cpu").among(labels)
    assert torch.equal(chosen[places], labels)
