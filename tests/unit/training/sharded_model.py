"""What torch makes of a model at some number of ranks, printed as JSON: a program, since it joins process groups.

The group is torch's fake one: this process plays one rank of any number, and nothing is sent. For ``resident`` it is a
real one, between the processes that torchrun starts.
"""

import json
import os
import sys
from collections import Counter
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed._tools.fsdp2_mem_tracker import FSDPMemTracker
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.optim import Muon
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode

from duologue.training.compiled import forward_of
from duologue.training.config import StageConfig
from duologue.training.cross_entropy import ChunkedCrossEntropy
from duologue.training.optim import Optimizers
from duologue.transformer.config import TransformerConfig
from duologue.transformer.model import Transformer

POLICY = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)


class Sent(TorchDispatchMode):
    """Counts the bytes of collectives, by name, as the whole tensor that goes round; and operations of products."""

    def __init__(self) -> None:
        super().__init__()
        self.num_bytes: Counter[str] = Counter()
        self.flops: list[int] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented
        result = function(*args, **(kwargs or {}))
        space, _, name = str(function).partition(".")
        if space == "c10d":  # (output, input, ...)
            gathers = "allgather" in name
            self.num_bytes["gather" if gathers else "reduce"] += args[0 if gathers else 1].nbytes
        elif space == "_c10d_functional" and name.startswith("all_gather"):
            self.num_bytes["gather"] += result.nbytes
        elif space == "_c10d_functional" and name.startswith("all_reduce"):
            self.num_bytes["sum"] += 2 * result.nbytes
        elif name.startswith(("mm", "addmm")):
            left, right = [arg for arg in args if isinstance(arg, Tensor)][-2:]
            self.flops.append(2 * left.numel() * right.shape[-1])
        return result


def share_out(model: Transformer, world_size: int) -> Transformer:
    """Each block, then the whole."""
    mesh = init_device_mesh("cpu", (world_size,))
    for block in model.model.layers:
        fully_shard(block, mesh=mesh, mp_policy=POLICY)
    fully_shard(model, mesh=mesh, mp_policy=POLICY)
    register_fsdp_forward_method(model, "hidden")
    return model


def local_bytes(tensors: Any) -> int:
    return sum((one.to_local() if isinstance(one, DTensor) else one).nbytes for one in tensors)


def shards(config: TransformerConfig, vocab_size: int, world_size: int) -> dict[str, Any]:
    """Shards of a model on the meta device, and of its optimisers' state."""
    with torch.device("meta"):
        model = Transformer(config, vocab_size=vocab_size)
    names, shapes = list(model.state_dict()), [list(weight.shape) for weight in model.state_dict().values()]
    share_out(model, world_size)
    named = dict(model.named_parameters())
    matrices = [weight for name, weight in named.items() if ".layers." in name and weight.ndim == 2]
    state = model.state_dict()
    return {
        "names_stay": list(state) == names,
        "shapes_stay": [list(weight.shape) for weight in state.values()] == shapes,
        "weights": local_bytes(named.values()),
        "matrices": local_bytes(matrices),
        "parameters": sum(weight.numel() for weight in named.values()),
    }


def traffic(config: TransformerConfig, vocab_size: int, world_size: int) -> dict[str, Any]:
    """Bytes of the collectives of one forward and backward pass."""
    model = share_out(Transformer(config, vocab_size=vocab_size), world_size)
    ids = torch.zeros(2, 16, dtype=torch.long)
    with Sent() as sent:
        hidden = forward_of("masked")(model, ids, torch.arange(16).expand(2, -1), ids)
        nn.functional.linear(hidden, model.output_weight).float().sum().backward()
    return dict(sent.num_bytes)


def muon(config: TransformerConfig, vocab_size: int, world_size: int) -> dict[str, Any]:
    """Bytes and operations of one step of Muon on the matrices of one block; or what it fails with."""
    block = Transformer(replace(config, num_hidden_layers=1), vocab_size=2).model.layers[0]
    mesh = init_device_mesh("cpu", (world_size,))
    found: dict[str, Any] = {"bytes": 0, "flops": 0, "failed": []}
    for name, weight in block.named_parameters():
        if weight.ndim < 2:
            continue
        part = nn.Parameter(distribute_tensor(weight.detach(), mesh, [Shard(0)], src_data_rank=None))
        part.grad = distribute_tensor(torch.randn_like(weight), mesh, [Shard(0)], src_data_rank=None)
        try:
            Muon([part]).step()  # the rules of placement are worked out once, with products of their own
            with Sent() as sent:
                Muon([part]).step()
        except RuntimeError:
            found["failed"].append(name)
            continue
        found["bytes"] += sent.num_bytes["gather"] + sent.num_bytes["sum"] - 2 * 2  # the norm: one number, twice round
        found["flops"] += sum(sent.flops)
    return found


class Whole(Transformer):
    """A model whose forward pass gives the loss, as the tracker of memory wants it."""

    def forward(self, input_ids: Tensor, position_ids: Tensor) -> Tensor:
        hidden = forward_of("masked")(self, input_ids, position_ids, torch.ones_like(input_ids))
        return ChunkedCrossEntropy.apply(hidden.flatten(0, 1), self.output_weight, input_ids.flatten(), False)


def peak(config: TransformerConfig, vocab_size: int, world_size: int) -> dict[str, Any]:
    """What torch's own tracker says a rank holds when it holds most, in a micro-batch after the first."""
    model = share_out(Whole(config, vocab_size=vocab_size), world_size)
    ids = torch.zeros(64, config.max_position_embeddings, dtype=torch.long)
    places = torch.arange(config.max_position_embeddings).expand(len(ids), -1)
    model(ids[:1], places[:1]).backward()
    tracker = FSDPMemTracker(model)
    tracker.track_inputs((ids, places))
    with tracker:
        model(ids, places).backward()
    sizes = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]
    return {str(kind).rpartition(".")[2]: size for kind, size in sizes.items() if size}


def resident(config: TransformerConfig, vocab_size: int, world_size: int) -> dict[str, Any]:
    """What a rank holds after two real steps, between processes."""
    torch.manual_seed(0)
    model = share_out(Transformer(config, vocab_size=vocab_size), world_size)
    named = dict(model.named_parameters())
    optimizers = Optimizers(named, StageConfig())
    ids = torch.arange(32).view(2, 16) % vocab_size
    for _ in range(2):
        for weight in named.values():
            weight.grad = None
        hidden = forward_of("masked")(model, ids, torch.arange(16).expand(2, -1), torch.ones_like(ids))
        nn.functional.linear(hidden, model.output_weight).float().square().mean().backward()
        optimizers.step(rate=1.0)
    state = [one for one in optimizers.state_tensors().values() if one.ndim]
    gradients = [weight.grad for weight in named.values()]
    held = {"weights": named.values(), "gradients": gradients, "optimizer": state}
    return {what: local_bytes(tensors) for what, tensors in held.items()}


def main() -> None:
    ask = {"shards": shards, "traffic": traffic, "muon": muon, "peak": peak, "resident": resident}
    for question, world_size, rank, vocab_size, shape in json.loads(sys.argv[1]):
        if question == "resident":
            dist.init_process_group("gloo")
        else:
            dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=world_size)
        answer = ask[question](TransformerConfig(**shape), vocab_size, world_size) | {"rank": dist.get_rank()}
        os.write(1, (json.dumps(answer) + "\n").encode())  # one write: lines of several processes stay whole
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
