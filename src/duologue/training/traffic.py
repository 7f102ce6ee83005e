"""What the ranks of a training run send each other, in bytes and seconds; needs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from duologue.training.activations import MASTER
from duologue.training.rank_memory import Model, Parallelism
from duologue.training.shapes import Shape, block_shapes, outer_shapes

NEWTON_SCHULZ_STEPS = 5  # torch.optim.Muon's own number
NARROW = 2  # bytes of a bfloat16 number, in which Muon works


@dataclass(frozen=True)
class Traffic:
    """Bytes that pass through a rank; of a ring of W ranks (W - 1) / W of what stands here really does.

    N parameters take 8 N under FSDP2: two gathers in bfloat16 (2 N each; what is outside the blocks is gathered once)
    and the sum of the gradients in float32 (4 N). Under DDP gradients go round twice in the format of the model (4 N in
    bfloat16), and each step every rank hands its part of the updated float32 weights to the others (4 N).

    Attributes:
        forward: gathered while the forward pass computes; for each micro-batch.
        backward: gathered and summed up while the backward pass computes; for each micro-batch.
        ends: of both, what nothing can hide: the first gather, and the last sum.
        muon: for each step, after the backward pass; under DDP the updates.
    """

    forward: int
    backward: int
    ends: int
    muon: int

    @property
    def micro_batch(self) -> int:
        """Of one forward and backward pass."""
        return self.forward + self.backward


def traffic_of(model: Model, parallelism: Parallelism, world_size: int) -> Traffic:
    """What each rank sends and receives; each tensor is filled up to a multiple of the ranks."""
    if parallelism == "one":
        return Traffic(0, 0, 0, 0)
    if parallelism == "ddp":
        size, updates = model.number_bytes, MASTER * model.num_parameters
        return Traffic(0, 2 * size * model.num_parameters, 2 * size * model.outer, updates)
    size, layers = model.number_bytes, model.config.num_hidden_layers
    inner = block_shapes(model.config)
    block = _filled_up(inner.values(), world_size)
    outer = _filled_up(outer_shapes(model.config, model.vocab_size).values(), world_size)
    whole = layers * block + outer
    forward, backward = size * whole, size * layers * block + MASTER * whole
    muon = layers * sum(_muon_bytes(shape) for shape in inner.values() if len(shape) == 2)
    return Traffic(forward, backward, (size + MASTER) * (outer + block), muon)


def muon_flops(model: Model, parallelism: Parallelism, world_size: int) -> float:
    """Operations of Muon on each rank in a step: of its share of the matrices (DDP), or as the shards let ranks share.

    A step of Newton-Schulz on an m x n matrix (m <= n) is X X^T, its square, and one more product with X.
    Source: Jordan et al. 2024; torch.optim.Muon under the placement rules of torch.distributed.tensor.
    """
    shapes = [shape for shape in block_shapes(model.config).values() if len(shape) == 2]
    ranks = world_size if parallelism == "fsdp2" else 1
    a_block = sum(_newton_schulz(*shape, ranks) for shape in shapes)
    flops = model.config.num_hidden_layers * NEWTON_SCHULZ_STEPS * a_block
    return flops / world_size if parallelism == "ddp" else flops


def muon_needs_rows(model: Model) -> int:
    """Rows of the flattest matrix: torch.optim.Muon fails on one that has fewer rows than there are ranks."""
    return min(shape[0] for shape in block_shapes(model.config).values() if len(shape) == 2)


def _filled_up(shapes: Iterable[Shape], world_size: int) -> int:
    return sum(-(-first // world_size) * world_size * math.prod(rest) for first, *rest in shapes)


def _muon_bytes(shape: Shape) -> int:
    """Of a matrix whose rows are shared out: three gathers a step; where it is tall, two sums that go round twice."""
    (rows, columns), narrow = shape, min(shape)
    gathers = 2 * rows * columns + narrow**2
    sums = 2 * 2 * narrow**2
    return NEWTON_SCHULZ_STEPS * NARROW * (sums if rows > columns else gathers)


def _newton_schulz(rows: int, columns: int, ranks: int) -> float:
    narrow, wide = min(rows, columns), max(rows, columns)
    products, square = 4 * narrow**2 * wide, 2 * narrow**3
    return products / ranks + (square if rows > columns else square / ranks)
