"""The divergence of noisy from clean replies, against the formula in float64; saliency, against a gradient by hand."""

import pytest
import torch

from duologue.training.config import CHUNK
from duologue.training.consistency import divergence
from duologue.training.saliency import MEMORY, SaliencyTable
from duologue.transformer.attention import document_mask, masked_attention
from duologue.transformer.config import TransformerConfig
from duologue.transformer.model import Transformer


def test_is_the_kl_divergence_and_teaches_the_noisy_side_alone() -> None:
    torch.manual_seed(0)
    noisy = torch.randn(CHUNK + 70, 8, requires_grad=True)
    clean, weight = torch.randn(CHUNK + 70, 8, requires_grad=True), torch.randn(30, 8, requires_grad=True)
    found = divergence(noisy, clean, weight)
    found.backward()
    wide = noisy.detach().double().requires_grad_(), weight.detach().double().requires_grad_()
    expected_log = (clean.detach().double() @ wide[1].detach().T).log_softmax(-1)
    expected = (expected_log.exp() * (expected_log - (wide[0] @ wide[1].T).log_softmax(-1))).sum()
    expected.backward()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    assert clean.grad is None
    assert torch.allclose(noisy.grad.double(), wide[0].grad, atol=1e-5)
    assert torch.allclose(weight.grad.double(), wide[1].grad, atol=1e-3)
    assert divergence(clean, clean, weight).item() == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("is_frozen", [False, True])
def test_saliency_is_gradient_times_embedding_of_what_is_asked(is_frozen: bool) -> None:
    torch.manual_seed(0)
    config = TransformerConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=8,
        intermediate_size=32, max_position_embeddings=16,
    )  # fmt: skip
    model = Transformer(config, vocab_size=50)
    for weight in model.parameters():
        if weight.ndim == 2:
            torch.nn.init.normal_(weight, std=0.2)
    if is_frozen:  # as under LoRA
        model.model.embed_tokens.weight.requires_grad_(False)
    ids = torch.tensor([[3, 5, 7, 9, 11, 13]])
    labels = torch.tensor([[-100, -100, -100, 11, 13, 4]])
    places, mask = torch.arange(6)[None], document_mask(torch.zeros(1, 6, dtype=torch.long), torch.float32)

    def loss_of() -> torch.Tensor:
        logits = model.logits(model.hidden(ids, places, masked_attention(mask)))
        return torch.nn.functional.cross_entropy(logits[0, 3:].float(), labels[0, 3:])

    table = SaliencyTable(50)
    with table.watching(model, ids, labels):
        loss_of().backward()
    embedded = model.model.embed_tokens(ids).detach().requires_grad_()
    handle = model.model.embed_tokens.register_forward_hook(lambda module, inputs, output: embedded)
    (gradient,) = torch.autograd.grad(loss_of(), embedded)
    handle.remove()
    salient = (gradient * embedded).sum(-1).abs()[0, :3].detach()
    expected = MEMORY + (1 - MEMORY) * salient / salient.mean()
    assert torch.allclose(table.by_token[[3, 5, 7]], expected, rtol=1e-4)
    assert (table.by_token[[9, 11, 13, 0]] == 1).all()
