"""The model against ``transformers`` on the same weights, both ways."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from duologue.tokenizer.tokenizer import Tokenizer
from duologue.transformer.attention import document_attention, document_mask, masked_attention
from duologue.transformer.config import TransformerConfig
from duologue.transformer.model import Transformer
from duologue.transformer.weights import load_transformer, save_weights


def logits_of(model: Transformer, input_ids: Tensor) -> Tensor:
    """Logits of whole rows, each place seeing what stands before it."""
    places = torch.arange(input_ids.shape[1]).expand_as(input_ids)
    attend = masked_attention(document_mask(torch.zeros_like(input_ids), torch.float32))
    with torch.no_grad():
        return model.logits(model.hidden(input_ids, places, attend))


def randomised(config: TransformerConfig, vocab_size: int) -> Transformer:
    """A model in which every weight matters."""
    torch.manual_seed(1)
    model = Transformer(config, vocab_size=vocab_size).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(mean=float(weight.ndim == 1), std=0.2)
    return model


@pytest.mark.parametrize("qk_norm", [True, False], ids=["qwen3", "llama"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_logits_equal_those_of_transformers(
    tmp_path: Path, tokenizer: Tokenizer, tiny_config: TransformerConfig, qk_norm: bool, tied: bool, kv_heads: int
) -> None:
    from transformers import AutoModelForCausalLM

    config = dataclasses.replace(
        tiny_config, qk_norm=qk_norm, tie_word_embeddings=tied, num_key_value_heads=kv_heads, rope_theta=5e4
    )
    ours = randomised(config, tokenizer.vocab_size)
    save_weights(ours, tmp_path / "ours", tokenizer)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "ours").eval()
    assert type(theirs).__name__ == ("Qwen3ForCausalLM" if qk_norm else "LlamaForCausalLM")
    input_ids = torch.randint(0, tokenizer.vocab_size, (3, 60))
    with torch.no_grad():
        expected = theirs(input_ids).logits
    torch.testing.assert_close(logits_of(ours, input_ids), expected, atol=1e-4, rtol=0)

    theirs.save_pretrained(tmp_path / "theirs")
    back = load_transformer(tmp_path / "theirs")
    assert back.config == config
    torch.testing.assert_close(logits_of(back, input_ids), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("way", ["masked", "multiplied"])
def test_a_document_sees_itself_only(tiny_model: Transformer, way: str) -> None:
    first, second = (torch.randint(0, tiny_model.vocab_size, (1, length)) for length in (17, 23))
    packed = torch.cat((first, second), dim=1)
    places = torch.cat((torch.arange(17), torch.arange(23)))[None]
    documents = torch.cat((torch.full((17,), 1), torch.full((23,), 2)))[None]
    masked = masked_attention(document_mask(documents, torch.float32))
    attend = masked if way == "masked" else document_attention(documents)
    with torch.no_grad():
        together = tiny_model.logits(tiny_model.hidden(packed, places, attend))
    apart = torch.cat((logits_of(tiny_model, first), logits_of(tiny_model, second)), dim=1)
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=0)


def test_a_fresh_model_is_nearly_unsure(tiny_config: TransformerConfig) -> None:
    model = Transformer(tiny_config, vocab_size=500).eval()
    entropy = torch.distributions.Categorical(logits=logits_of(model, torch.arange(50)[None])).entropy()
    assert entropy.min() > 0.95 * torch.log(torch.tensor(500.0))


def test_flops_count_the_matrices(tiny_config: TransformerConfig) -> None:
    model = Transformer(tiny_config, vocab_size=500)
    matrices = sum(weight.numel() for name, weight in model.named_parameters() if weight.ndim == 2 and "layers" in name)
    assert tiny_config.num_matrix_parameters == matrices
    flops = tiny_config.flops_per_token(vocab_size=500, sequence_length=64)
    assert flops == 6 * (matrices + 500 * 32 + 2 * 4 * 8 * 64)
