"""A model spread over processes, from outside: nothing in the model or in the loop knows how.

Small models are copied to every process (DDP), and the optimiser's work is divided among them (ZeRO, first stage);
large ones are cut up, a part of each matrix to a process (FSDP2).

Source: Li et al. 2020, arXiv:2006.15704 (DDP); Rajbhandari et al. 2020, arXiv:1910.02054 (ZeRO); Zhao et al. 2023,
arXiv:2304.11277 (FSDP).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import torch
from torch import Tensor, nn

from duologue.training.config import FSDP_FROM_PARAMETERS
from duologue.training.objective import PackedLoss
from duologue.training.precision import MasterWeights
from duologue.training.world import World
from duologue.transformer.model import Transformer

WayName = Literal["auto", "ddp", "fsdp"]


class Way(StrEnum):
    """How a model lies in the processes."""

    ALONE = "one process"
    DDP = "ddp"
    FSDP = "fsdp"


@dataclass(frozen=True)
class Spread:
    """A model, its loss and its master weights, as they lie in this process.

    Attributes:
        loss: called with packed rows, gives the loss of which backward may be asked.
        loss_only: the same without backward.
        whole: the model without numbers where ``model`` holds parts of it alone, else ``model``.
    """

    way: Way
    model: Transformer
    masters: MasterWeights
    loss: nn.Module
    loss_only: nn.Module
    whole: Transformer

    def whole_model(self, world: World) -> Transformer:
        """The trained model in one piece, in float32; in the first process only where it lies in parts."""
        if self.way is not Way.FSDP:
            model = self.model.float()
            masters = {name: weight.detach() for name, weight in self.masters.named.items()}
            model.load_state_dict(model.state_dict() | masters, strict=True)
            return model
        tensors = {name: _in_one_piece(tensor, world) for name, tensor in self.model.state_dict().items()}
        if world.is_first:
            self.whole.load_state_dict(tensors, assign=True)
        return self.whole


def way_of(model: Transformer, world: World, wanted: WayName) -> Way:
    """How a model is spread: as asked, else by its size."""
    if world.is_alone:
        return Way.ALONE
    if wanted == "auto":
        return Way.FSDP if model.num_parameters >= FSDP_FROM_PARAMETERS else Way.DDP
    return Way(wanted)


def spread(model: Transformer, world: World, *, dtype: torch.dtype, way: Way, device: str, is_native: bool) -> Spread:
    """Puts a model into this process's share of it; all processes hand in the same one."""
    loss = PackedLoss(model, is_native=is_native)
    if way is Way.FSDP:
        whole = _without_numbers(model)
        _cut_up(loss, world, dtype, device)
        return Spread(way, model, MasterWeights(model, torch.float32), loss, loss, whole)
    masters = MasterWeights(model.to(device), dtype)
    if way is Way.ALONE:
        return Spread(way, model, masters, loss, loss, model)
    from torch.nn.parallel import DistributedDataParallel

    copied = DistributedDataParallel(loss, init_sync=False)  # all have made or read the same model
    return Spread(way, model, masters, copied, loss, model)


def _cut_up(loss: PackedLoss, world: World, dtype: torch.dtype, device: str) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(device, (world.size,))
    low = None if dtype == torch.float32 else dtype
    policy = MixedPrecisionPolicy(param_dtype=low, reduce_dtype=torch.float32)
    for block in loss.transformer.model.layers:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(loss, mesh=mesh, mp_policy=policy)


def _without_numbers(model: Transformer) -> Transformer:
    """A copy on the meta device; no number is copied for it."""
    tensors = {id(weight): nn.Parameter(weight.detach().to("meta"), weight.requires_grad) for weight in
               model.parameters()}  # fmt: skip
    return copy.deepcopy(model, tensors)


def _in_one_piece(tensor: Tensor, world: World) -> Tensor:
    whole = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return whole.detach().float().cpu() if world.is_first else whole.new_empty(0)
