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
# Measured: experiments/LOG.md. What the heap holds over what is in use, since tensors come and go between those that
# stay, unless most of it are a few large ones; and what flows back through a layer, in layers' worth of activations.
HOLES: dict[AttentionName, float] = {"masked": 1.15, "blocked": 1.15, "products": 1.0}
LAYERS_COMPILED, LAYERS_EAGER = 1, 2
WORKSPACE = 2**25  # of the library that multiplies
HEAD_SHARE_OF_PEAK = 0.75  # at which an output head multiplies (measured)
# A start from counts: tables of all pairs of tokens, as they were counted and what is made of them; and matrices of a
# row a token, for their singular vectors and the fit (measured).
NUM_COUNT_TABLES, NUM_COUNT_MATRICES = 2, 10


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that training holds, part by part; the program itself, some 0.3 GiB, apart.

    Attributes:
        weights: those that compute, and float32 masters of the trained ones where that is in bfloat16.
        gradients: of the trained weights, when all are there.
        optimizer: Muon keeps one number a weight, AdamW two.
        activations: what the forward pass keeps for the backward pass, and the loss's logits, at their most.
        accumulated: gradients of earlier parts of the batch, that are there as well then.
        counts: what a start from counts holds before all that.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    accumulated: int = 0
    counts: int = 0

    @property
    def total(self) -> int:
        """When it is most: activations go as gradients come."""
        training = self.weights + self.optimizer + max(self.gradients, self.activations + self.accumulated)
        return max(training, self.counts)

    def __str__(self) -> str:
        """``2.31 GiB (weights 0.51, ...)``."""
        parts = {"weights": self.weights, "gradients": self.gradients, "optimiser": self.optimizer,
                 "activations": self.activations}  # fmt: skip
        parts |= {"before them counts": self.counts} if self.counts else {}
        listed = ", ".join(f"{name} {size / GIB:.2f}" for name, size in parts.items())
        return f"{self.total / GIB:.2f} GiB ({listed})"


def estimate_memory(
    model: Transformer,
    *,
    dtype: DtypeName,
    num_rows: int,
    sequence_length: int,
    attention: AttentionName,
    is_compiled: bool = False,
    is_accumulating: bool = False,
    is_counted: bool = False,
    vocabulary_share: float = 1.0,
) -> MemoryEstimate:
    """Memory for training a model, which may be on the meta device, with so many rows at once.

    Args:
        is_accumulating: whether a step adds up the gradients of several such parts.
        is_counted: whether it starts from counts.
        vocabulary_share: that labels are compared with.
    """
    size = getattr(torch, dtype).itemsize
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    num_trained = sum(weight.numel() for weight in trained.values())
    is_mixed = size < MASTER
    weights = size * model.num_parameters + is_mixed * MASTER * num_trained
    gradients = (MASTER + is_mixed * size) * num_trained
    optimizer = sum(MASTER * weight.numel() * (1 if is_for_muon(name, weight) else 2)
                    for name, weight in trained.items())  # fmt: skip
    places = num_rows * sequence_length
    a_layer = HOLES[attention] * places * _layer_bytes(model, size, sequence_length, attention, is_compiled)
    learns, layers = model.output_weight.requires_grad, model.config.num_hidden_layers
    head = head_bytes(
        model.config, size, places, model.vocab_size, learns=learns, is_native=attention == "blocked",
        vocabulary_share=vocabulary_share,
    )  # fmt: skip
    in_loss = layers * a_layer + head
    backward = (layers + (LAYERS_COMPILED if is_compiled else LAYERS_EAGER)) * a_layer
    mask = places * sequence_length * MASTER if attention == "masked" else 0  # the same in all layers
    activations = WORKSPACE + round(max(in_loss, backward)) + mask
    numbers_a_token = NUM_COUNT_TABLES * model.vocab_size + NUM_COUNT_MATRICES * model.config.hidden_size
    counts = is_counted * MASTER * model.vocab_size * numbers_a_token
    accumulated = is_accumulating * MASTER * num_trained
    return MemoryEstimate(weights, gradients, optimizer, activations, accumulated, counts)


def shared_memory(needed: MemoryEstimate, way: Way, num_processes: int) -> MemoryEstimate:
    """What each of several processes holds of it: copies with the optimiser's state divided, or parts of everything."""
    if way is Way.ALONE:
        return needed
    optimizer = needed.optimizer // num_processes
    if way is Way.DDP:
        return replace(needed, optimizer=optimizer)
    parts = ("weights", "gradients", "accumulated")
    return replace(needed, **{name: getattr(needed, name) // num_processes for name in parts}, optimizer=optimizer)


def memory_bytes(machine: Machine) -> int:
    """The memory that training fills: the GPU's where there is one; 0 where the system does not say."""
    if machine.device == "cuda":
        return torch.cuda.get_device_properties(0).total_memory
    return round(machine.memory_gib * GIB)


def flops_per_token(model: Transformer, *, sequence_length: int, num_outputs: float | None = None) -> float:
    """Operations to train on one token; a frozen matrix takes no gradient, which is a third of its part.

    Args:
        num_outputs: tokens that the output head compares with; None = the vocabulary.
    """
    config, passes = model.config, 6 if model.output_weight.requires_grad else 4
    spared = 0.0 if num_outputs is None else (model.vocab_size - num_outputs) * config.hidden_size
    all_trained = config.flops_per_token(vocab_size=model.vocab_size, sequence_length=sequence_length)
    if model.output_weight.requires_grad:
        return all_trained - passes * spared
    frozen = config.num_matrix_parameters + model.output_weight.numel()
    factors = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    return all_trained - 2 * frozen + 6 * factors - passes * spared


def _layer_bytes(
    model: Transformer, size: int, sequence_length: int, attention: AttentionName, is_compiled: bool = False
) -> int:
    """Kept for one place of one layer."""
    kinds = {"norms_learn": model.model.norm.weight.requires_grad, "is_compiled": is_compiled}
    return layer_bytes(model.config, size, sequence_length, attention=attention, **kinds)
