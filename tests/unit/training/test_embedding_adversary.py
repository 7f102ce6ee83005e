"""Noise on embeddings: lengths of documents, empty places, tied tables; against formulas done by hand."""

import pytest
import torch

from duologue.training.embedding_adversary import (
    EmbeddingAdversary,
    document_lengths,
    per_document_norm,
    shifted_embeddings,
)
from duologue.transformer.attention import document_mask, masked_attention
from duologue.transformer.config import TransformerConfig
from duologue.transformer.model import Transformer

DOCUMENTS = torch.tensor([[1, 1, 1, 2, 2, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1, 1]])
WIDTH = 16


def adversary(kind: str, strength: float = 5.0, steps: int = 3) -> EmbeddingAdversary:
    found = EmbeddingAdversary.of(kind, strength, steps=steps, seed=1)
    assert found is not None
    return found


@pytest.fixture
def model() -> Transformer:
    torch.manual_seed(0)
    config = TransformerConfig(
        hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=8,
        intermediate_size=32, max_position_embeddings=16,
    )  # fmt: skip
    return Transformer(config, vocab_size=50)


def test_lengths_are_those_of_documents() -> None:
    assert document_lengths(DOCUMENTS).tolist() == [[3, 3, 3, 2, 2, 0, 0, 0], [8.0] * 8]
    values = torch.randn(2, 8, WIDTH)
    norms = per_document_norm(values, DOCUMENTS)
    assert norms[0, 0] == pytest.approx(values[0, :3].norm().item(), rel=1e-5)
    assert norms[0, 4] == pytest.approx(values[0, 3:5].norm().item(), rel=1e-5)


def test_neftune_is_scaled_by_each_documents_own_length() -> None:
    noise = adversary("neftune").first(DOCUMENTS, WIDTH, step=3, rows=[0, 1])
    assert noise is not None
    assert (noise[DOCUMENTS == 0] == 0).all()
    for length, part in ((3, noise[0, :3]), (2, noise[0, 3:5]), (8, noise[1])):
        most = 5.0 / (length * WIDTH) ** 0.5
        assert part.abs().max() <= most
        assert part.abs().max() > 0.8 * most
        assert abs(part.mean()) < 0.5 * most


def test_any_division_of_a_step_gives_the_same_noise() -> None:
    whole = adversary("neftune").first(DOCUMENTS, WIDTH, step=3, rows=[0, 1])
    second = adversary("neftune").first(DOCUMENTS[1:], WIDTH, step=3, rows=[1])
    other = adversary("neftune").first(DOCUMENTS, WIDTH, step=4, rows=[0, 1])
    assert whole is not None
    assert second is not None
    assert torch.equal(whole[1:], second)
    assert not torch.equal(whole, other)


def loss_of(model: Transformer, ids: torch.Tensor, offset: torch.Tensor | None) -> torch.Tensor:
    places = torch.arange(ids.shape[1])[None].expand_as(ids)
    with shifted_embeddings(model, offset):
        hidden = model.hidden(ids, places, masked_attention(document_mask(DOCUMENTS, torch.float32)))
    return model.logits(hidden).float().logsumexp(-1)[DOCUMENTS > 0].sum()


def test_fgm_steps_along_the_gradient_and_leaves_tied_weights_alone(model: Transformer) -> None:
    ids = torch.randint(0, 50, (2, 8))
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    clean, fgm = loss_of(model, ids, None), adversary("fgm", 0.5)
    zero = fgm.first(DOCUMENTS, WIDTH, step=0, rows=[0, 1])
    first = loss_of(model, ids, zero)
    assert first.item() == pytest.approx(clean.item(), rel=1e-6)
    first.backward()
    moved = fgm.following(zero, DOCUMENTS)
    assert (moved[DOCUMENTS == 0] == 0).all()
    norms = per_document_norm(moved, DOCUMENTS)[DOCUMENTS > 0]
    assert torch.allclose(norms, torch.full_like(norms, 0.5), rtol=1e-4)
    assert loss_of(model, ids, moved).item() > clean.item()
    assert all(torch.equal(weight, before[name]) for name, weight in model.named_parameters())
    assert loss_of(model, ids, None).item() == pytest.approx(clean.item(), rel=1e-6)  # nothing is left behind


def test_freelb_stays_within_its_length_and_climbs(model: Transformer) -> None:
    ids, freelb = torch.randint(0, 50, (2, 8)), adversary("freelb", 0.3, steps=4)
    assert freelb.num_passes == 4
    offset, losses = freelb.first(DOCUMENTS, WIDTH, step=0, rows=[0, 1]), []
    for number in range(4):
        loss = loss_of(model, ids, offset)
        losses.append(loss.item())
        loss.backward()
        if number < 3:
            offset = freelb.following(offset, DOCUMENTS)
            assert (per_document_norm(offset, DOCUMENTS) <= 0.3 + 1e-5).all()
    assert losses[-1] > losses[0]


def test_off_is_none() -> None:
    assert EmbeddingAdversary.of("off", 1.0, steps=3, seed=0) is None
