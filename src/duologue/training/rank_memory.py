"""Bytes that one rank of a training run holds, worked out before anything is allocated; needs no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from duologue.training.activations import MASTER, head_bytes, layer_bytes
from duologue.training.shapes import Shape, block_shapes, count_parameters, outer_shapes
from duologue.training.sharing import sharded_rows
from duologue.transformer.config import TransformerConfig

GIB = 2**30
# What is kept of the forward pass: by compiled blocks, by plain ones, or each block's input alone, the rest made again.
Keeping = Literal["compiled", "eager", "recomputed"]
# How ranks share a model: one rank, a copy on each (DDP), or a part on each (FSDP2).
Parallelism = Literal["one", "ddp", "fsdp2"]


@dataclass(frozen=True)
class RankMemory:
    """Bytes that a rank holds when it holds most, or a little more: the parts are not at their largest all at once.

    Attributes:
        weights: FSDP2: the float32 part. Else what computes, and float32 masters where that is bfloat16.
        gradients: the same of the gradients.
        optimizer: Muon keeps one float32 number a weight, AdamW two.
        gathered: FSDP2 only: whole blocks on their way, in and out.
        activations: kept for the backward pass, and the loss's logits.
    """

    weights: int
    gradients: int
    optimizer: int
    gathered: int
    activations: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.gathered + self.activations


@dataclass(frozen=True)
class Model:
    """A model that is only planned, and the format in which it computes."""

    config: TransformerConfig
    vocab_size: int
    number_bytes: int

    @property
    def num_parameters(self) -> int:
        """All parameters, tied ones once."""
        return count_parameters(self.config, self.vocab_size)

    @property
    def outer(self) -> int:
        """Parameters outside the blocks."""
        return sum(map(math.prod, outer_shapes(self.config, self.vocab_size).values()))

    @property
    def block(self) -> int:
        """Parameters of one block."""
        return sum(map(math.prod, block_shapes(self.config).values()))


def memory_of_rank(
    model: Model, parallelism: Parallelism, *, rank: int, world_size: int, num_rows: int, keeping: Keeping
) -> RankMemory:
    """What a rank holds in training with so many rows of the full context at once."""
    kept = activation_bytes(model, num_rows, keeping)
    if parallelism == "fsdp2":
        matrices, others = sharded_parameters(model, rank, world_size)
        part = MASTER * (matrices + others)
        return RankMemory(part, part, MASTER * (matrices + 2 * others), gathered_bytes(model), kept)
    narrow = model.number_bytes if model.number_bytes < MASTER else 0
    matrices = model.config.num_matrix_parameters
    others = model.num_parameters - matrices
    whole = (MASTER + narrow) * model.num_parameters
    divided = world_size if parallelism == "ddp" else 1
    return RankMemory(whole, whole, MASTER * (matrices + 2 * others) // divided, 0, kept)


def sharded_parameters(model: Model, rank: int, world_size: int) -> tuple[int, int]:
    """Parameters that FSDP2 leaves with a rank: those of the blocks' matrices (Muon), and all others (AdamW)."""

    def share(shapes: Mapping[str, Shape]) -> int:
        return sum(sharded_rows(first, rank, world_size) * math.prod(rest) for first, *rest in shapes.values())

    block, outer = block_shapes(model.config), outer_shapes(model.config, model.vocab_size)
    matrices = share({name: shape for name, shape in block.items() if len(shape) == 2})
    norms = share({name: shape for name, shape in block.items() if len(shape) == 1})
    layers = model.config.num_hidden_layers
    return layers * matrices, layers * norms + share(outer)


def gathered_bytes(model: Model) -> int:
    """What FSDP2 has whole at once: all that is outside the blocks, and blocks that come and gradients that go.

    Of the blocks, one that computes, the next one and the buffer in which it comes; of gradients, those of one block
    and their float32 copy that is being reduced, or at the end those of what is outside.

    Source: torch.distributed.fsdp.fully_shard, implicit prefetching; the root stays gathered after its forward pass.
    """
    size, block, outer = model.number_bytes, model.block, model.outer
    return size * outer + max(3 * size * block + (size + MASTER) * block, (size + MASTER) * outer)


def activation_bytes(model: Model, num_rows: int, keeping: Keeping) -> int:
    """What so many rows of the full context leave for the backward pass.

    Recomputed: the input of each block, and one block at a time in full. Source: Chen et al. 2016, arXiv:1604.06174.
    """
    config, size = model.config, model.number_bytes
    length = config.max_position_embeddings
    places = num_rows * length
    a_layer = places * layer_bytes(config, size, length, attention="masked" if keeping == "eager" else "products")
    head = head_bytes(config, size, places, model.vocab_size)
    if keeping == "recomputed":
        return config.num_hidden_layers * places * config.hidden_size * size + 2 * a_layer + head
    return (config.num_hidden_layers + 1) * a_layer + head  # one more for what flows back through a layer


def most_rows(
    model: Model, parallelism: Parallelism, *, world_size: int, keeping: Keeping, usable_bytes: float
) -> int:
    """Rows at once that still fit on the fullest rank, the first; 0 where not even one does."""

    def needs(num_rows: int) -> int:
        shared = {"rank": 0, "world_size": world_size, "num_rows": num_rows}
        return memory_of_rank(model, parallelism, **shared, keeping=keeping).total

    rows = 0
    while rows < 4096 and needs(rows + 1) <= usable_bytes:
        rows += 1
    return rows
