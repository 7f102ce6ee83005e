"""The estimate of memory against what autograd really keeps, and operations against a count."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from duologue.runtime import Machine
from duologue.training.activations import AttentionName
from duologue.training.compiled import forward_of
from duologue.training.config import StageConfig
from duologue.training.cost import GIB, _layer_bytes, estimate_memory, flops_per_token, memory_bytes
from duologue.training.optim import Optimizers
from duologue.training.precision import MasterWeights
from duologue.transformer.blocked_attention import is_blocked_attention_here
from duologue.transformer.config import TransformerConfig
from duologue.transformer.lora import add_lora
from duologue.transformer.lora_config import LoRAConfig
from duologue.transformer.model import Transformer

SHAPE = TransformerConfig(
    hidden_size=64, num_hidden_layers=6, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
    intermediate_size=192,
)  # fmt: skip
ROWS, LENGTH, RANK = 3, 64, 4


def model_of(rank: int, shape: TransformerConfig = SHAPE) -> Transformer:
    return add_lora(Transformer(shape, vocab_size=500), LoRAConfig(rank=rank), seed=0)


def kept_bytes(model: Transformer, attention: AttentionName) -> int:
    """What the forward pass keeps for the backward pass, each block of memory once, weights apart."""
    kept: dict[int, torch.UntypedStorage] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage
        return tensor

    forward = forward_of(attention)
    ids = torch.zeros(ROWS, LENGTH, dtype=torch.long)
    with saved_tensors_hooks(note, lambda tensor: tensor):
        forward(model, ids, torch.arange(LENGTH).expand(ROWS, -1), ids)
    own = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    return sum(storage.nbytes() for pointer, storage in kept.items() if pointer not in own)


@pytest.mark.parametrize("rank", [0, RANK], ids=["full", "lora"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("qk_norm", [True, False], ids=["qwen3", "llama"])
@pytest.mark.parametrize("attention", ["masked", "products", "blocked"])
def test_activations_are_what_autograd_keeps(rank: int, dtype: str, qk_norm: bool, attention: AttentionName) -> None:
    if attention == "blocked" and not is_blocked_attention_here(getattr(torch, dtype), "cpu", SHAPE.head_dim):
        pytest.skip("needs a processor that multiplies bfloat16, and bfloat16")
    model = model_of(rank, replace(SHAPE, qk_norm=qk_norm)).to(getattr(torch, dtype))
    size = getattr(torch, dtype).itemsize
    estimated = SHAPE.num_hidden_layers * ROWS * LENGTH * _layer_bytes(model, size, LENGTH, attention)
    assert estimated == pytest.approx(kept_bytes(model, attention), rel=0.15)


@pytest.mark.parametrize("rank", [0, RANK], ids=["full", "lora"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_gradients_and_optimizer_are_what_they_take(rank: int, dtype: str) -> None:
    model = model_of(rank)
    estimate = estimate_memory(model, dtype=dtype, num_rows=1, sequence_length=LENGTH, attention="masked")
    masters = MasterWeights(model, getattr(torch, dtype))
    optimizers = Optimizers(masters.named, StageConfig())
    for weight in masters.named.values():
        weight.grad = torch.ones_like(weight)
    optimizers.step(rate=1.0)
    of_masters = sum(weight.nbytes for weight in masters.named.values()) if masters.is_mixed else 0
    assert estimate.weights == sum(weight.nbytes for weight in model.parameters()) + of_masters
    state = sum(tensor.nbytes for tensor in optimizers.state_tensors().values() if tensor.ndim)
    assert estimate.optimizer == state
    of_model = sum(weight.nbytes for weight in model.parameters() if weight.requires_grad) if masters.is_mixed else 0
    assert estimate.gradients == sum(weight.grad.nbytes for weight in masters.named.values()) + of_model


def test_lora_takes_less_of_everything() -> None:
    full, lora = (
        estimate_memory(model_of(rank), dtype="bfloat16", num_rows=2, sequence_length=LENGTH, attention="masked")
        for rank in (0, RANK)
    )
    assert lora.weights < full.weights
    assert lora.gradients < full.gradients / 4
    assert lora.optimizer < full.optimizer / 4
    assert lora.activations < full.activations
    assert str(lora).startswith(f"{lora.total / GIB:.2f} GiB (weights ")


def test_a_frozen_matrix_is_multiplied_twice_not_three_times() -> None:
    full, lora = model_of(0), model_of(RANK)
    length = {"sequence_length": LENGTH}
    assert flops_per_token(full, **length) == SHAPE.flops_per_token(vocab_size=500, sequence_length=LENGTH)
    factors = lora.num_parameters - full.num_parameters
    saved = 2 * (SHAPE.num_matrix_parameters + 500 * SHAPE.hidden_size)
    assert flops_per_token(lora, **length) == flops_per_token(full, **length) - saved + 6 * factors


def test_the_machine_says_how_much_there_is() -> None:
    assert memory_bytes(Machine("test", 1, 2.0, "cpu", {})) == 2 * GIB
    assert memory_bytes(Machine("test", 1, 0.0, "cpu", {})) == 0
