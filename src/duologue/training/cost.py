"""What training costs, worked out from the shape before anything is allocated: operations and memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from duologue.runtime import DtypeName, Machine
from duologue.training.activations import MASTER, AttentionName, head_bytes, layer_bytes
from duologue.training.optim import is_for_muon
from duologue.training.spread import Way
from duologue.transformer.model import Transformer

GIB = 2**30
HOLES = 1.15  # what the heap holds over what is in use: tensors come and go between those that stay (measured)


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that training holds when it holds most; the program itself, some 0.3 GiB, apart.

    Attributes:
        weights: those that compute, and float32 masters of the trained ones where that is in bfloat16.
        gradients: of the trained weights.
        optimizer: Muon keeps one number a weight, AdamW two.
        activations: what the forward pass keeps for the backward pass, and the loss's logits.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.activations

    def __str__(self) -> str:
        """``2.31 GiB (weights 0.51, ...)``."""
        parts = {"weights": self.weights, "gradients": self.gradients, "optimiser": self.optimizer,
                 "activations": self.activations}  # fmt: skip
        listed = ", ".join(f"{name} {size / GIB:.2f}" for name, size in parts.items())
        return f"{self.total / GIB:.2f} GiB ({listed})"


def estimate_memory(
    model: Transformer, *, dtype: DtypeName, num_rows: int, sequence_length: int, attention: AttentionName
) -> MemoryEstimate:
    """Memory for training a model, which may be on the meta device, with so many rows at once."""
    size = getattr(torch, dtype).itemsize
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    num_trained = sum(weight.numel() for weight in trained.values())
    is_mixed = size < MASTER
    weights = size * model.num_parameters + is_mixed * MASTER * num_trained
    gradients = (MASTER + is_mixed * size) * num_trained
    optimizer = sum(MASTER * weight.numel() * (1 if is_for_muon(name, weight) else 2)
                    for name, weight in trained.items())  # fmt: skip
    places = num_rows * sequence_length
    a_layer = places * _layer_bytes(model, size, sequence_length, attention)
    layers = model.config.num_hidden_layers + 1  # one more for what flows back through a layer
    learns = model.output_weight.requires_grad
    kept = layers * a_layer + head_bytes(model.config, size, places, model.vocab_size, learns=learns)
    if attention == "masked":
        kept = round(HOLES * (kept + places * sequence_length * MASTER))  # the mask, the same in all layers
    return MemoryEstimate(weights, gradients, optimizer, kept)


def shared_memory(needed: MemoryEstimate, way: Way, num_processes: int) -> MemoryEstimate:
    """What each of several processes holds of it: copies with the optimiser's state divided, or parts of everything."""
    if way is Way.ALONE:
        return needed
    optimizer = needed.optimizer // num_processes
    if way is Way.DDP:
        return replace(needed, optimizer=optimizer)
    parts = {"weights": needed.weights // num_processes, "gradients": needed.gradients // num_processes}
    return replace(needed, **parts, optimizer=optimizer)


def memory_bytes(machine: Machine) -> int:
    """The memory that training fills: the GPU's where there is one; 0 where the system does not say."""
    if machine.device == "cuda":
        return torch.cuda.get_device_properties(0).total_memory
    return round(machine.memory_gib * GIB)


def flops_per_token(model: Transformer, *, sequence_length: int) -> int:
    """Operations to train on one token; a frozen matrix takes no gradient, which is a third of its part."""
    all_trained = model.config.flops_per_token(vocab_size=model.vocab_size, sequence_length=sequence_length)
    if model.output_weight.requires_grad:
        return all_trained
    frozen = model.config.num_matrix_parameters + model.output_weight.numel()
    factors = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    return all_trained - 2 * frozen + 6 * factors


def _layer_bytes(model: Transformer, size: int, sequence_length: int, attention: AttentionName) -> int:
    """Kept for one place of one layer."""
    learn = model.model.norm.weight.requires_grad
    return layer_bytes(model.config, size, sequence_length, attention=attention, norms_learn=learn)
