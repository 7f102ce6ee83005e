"""A model over several processes: what they send each other in a step, and that every row is somebody's."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed.tensor.debug import CommDebugMode
from torch.testing._internal.distributed.fake_pg import FakeStore

from duologue.conversation import Conversation
from duologue.data.loader import Loader
from duologue.data.packing import plan_packing
from duologue.data.shards import write_shards
from duologue.errors import ProcessLostError
from duologue.runtime import Machine
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.training.config import StageConfig
from duologue.training.loop import Trainer
from duologue.training.sharing import micro_batches, rows_of_piece
from duologue.training.spread import Way, way_of
from duologue.training.stage import Hooks, Stage
from duologue.training.world import World
from duologue.transformer.config import TransformerConfig
from duologue.transformer.model import Transformer

SIZE, ROWS = 64, 128
CONFIG = StageConfig(steps=2, sequence_length=64, batch_tokens=64 * ROWS, dtype="float32", compile="off", threads=1)
MACHINE = Machine("test", 1, 1.0, "cpu", {"float32": 10.0, "bfloat16": 20.0})
LAYERS = 2
pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),  # by a neighbour of torch's own ZeRO
    pytest.mark.filterwarnings("ignore:Full backward hook is firing"),  # of whoever counts
]


class PlayedWorld(World):
    """One process of many that do not exist, so that nobody has anything to tell it."""

    def first(self, value: Any) -> Any:
        return value


@pytest.fixture
def join() -> Iterator[Callable[[int], World]]:
    """A world of 64 processes of which this one is any; nothing is sent."""

    def make(rank: int) -> World:
        dist.init_process_group("fake", rank=rank, world_size=SIZE, store=FakeStore())
        return PlayedWorld(rank, SIZE, rank % 8, 8, dist.group.WORLD)

    yield make
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def build(
    tmp_path_factory: pytest.TempPathFactory,
    tokenizer: Tokenizer,
    dialogues: list[Conversation],
    tiny_config: TransformerConfig,
) -> Callable[..., Trainer]:
    folder = tmp_path_factory.mktemp("data")
    shards = write_shards(dialogues[:200], tokenizer, folder / "shards", fingerprint="x")
    turn_id = tokenizer.start_of_turn_id
    plan = plan_packing(shards, sequence_length=64, turn_id=turn_id, only_learned=False, seed=0)
    loader = Loader(shards, plan, 0, False, tokenizer.end_of_text_id)

    def make(world: World, **changes: Any) -> Trainer:
        config = dataclasses.replace(CONFIG, **changes)
        stage = Stage("pretraining", config, loader, None, folder / "run", MACHINE, time.monotonic(), {})
        torch.manual_seed(0)
        model = Transformer(tiny_config, vocab_size=tokenizer.vocab_size)
        return Trainer(stage, model, Hooks(), world)

    return make


def sent(trainer: Trainer) -> dict[str, int]:
    """How often the processes meet in one gradient, by the kind of meeting."""
    trainer.gradient.work_out(0)  # the first one sets things up
    trainer.masters.clear_gradients()
    with CommDebugMode() as counted:
        trainer.gradient.work_out(1)
    return {str(name).split(".")[-1]: count for name, count in counted.get_comm_counts().items()}


def test_in_parts_each_block_is_gathered_twice_and_reduced_once(
    build: Callable[..., Trainer], join: Callable[[int], World]
) -> None:
    found = sent(build(join(1), parallel="fsdp"))
    # Forward: the outside and each block; backward: each block again, since the outside stays.
    assert found.pop("_allgather_base_") == 1 + 2 * LAYERS
    assert found.pop("_reduce_scatter_base_") == 1 + LAYERS
    # Loss and labels are added up together; so is the gradient's length.
    assert sum(found.values()) == 2, found


def test_copies_meet_once_for_all_gradients(build: Callable[..., Trainer]) -> None:
    dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())  # DDP finds the fake one too fake
    try:
        count_copies(build(PlayedWorld(0, 2, 0, 2, dist.group.WORLD), parallel="ddp"))
    finally:
        dist.destroy_process_group()


def count_copies(trainer: Trainer) -> None:
    assert sent(trainer) == {"allreduce_": 1 + 1}  # one bucket; loss and labels
    with CommDebugMode() as counted:
        trainer.optimizers.step(rate=1.0)
    # Each weight comes from the one process that moved it.
    assert counted.get_total_counts() == len(trainer.masters.named)


@pytest.mark.parametrize("rank", [0, 7, 63])
def test_each_of_64_processes_holds_its_part(
    build: Callable[..., Trainer], join: Callable[[int], World], rank: int
) -> None:
    trainer = build(join(rank), parallel="fsdp")
    whole = dict(Transformer(trainer.model.config, vocab_size=trainer.model.vocab_size).named_parameters())
    assert {name: tuple(weight.shape) for name, weight in trainer.masters.named.items()} == {
        name: tuple(weight.shape) for name, weight in whole.items()
    }
    for name, weight in trainer.masters.named.items():
        piece = -(-len(whole[name]) // SIZE)
        assert len(weight.to_local()) == max(0, min(piece, len(whole[name]) - rank * piece)), name


@pytest.mark.parametrize("rows_at_once", [1, 3, 128])
@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 60, 64, 128])
def test_micro_batches_take_every_row_once_and_are_as_many_for_all(world_size: int, rows_at_once: int) -> None:
    pieces = [micro_batches(ROWS, rank=rank, world_size=world_size, rows_at_once=rows_at_once)
              for rank in range(world_size)]  # fmt: skip
    assert [row for mine in pieces for piece in mine for row in piece] == list(range(ROWS))
    assert len({len(mine) for mine in pieces}) == 1
    most = max(len(piece) for mine in pieces for piece in mine)
    assert most == rows_of_piece(ROWS, world_size, rows_at_once) <= rows_at_once


def test_small_models_are_copied_and_large_ones_cut_up(tiny_config: TransformerConfig) -> None:
    large = dataclasses.replace(tiny_config, hidden_size=2048, intermediate_size=5504, num_hidden_layers=12)
    with torch.device("meta"):
        models = {name: Transformer(shape, vocab_size=800) for name, shape in (("s", tiny_config), ("l", large))}
    two = World(0, 2)
    assert way_of(models["s"], World(), "fsdp") is Way.ALONE
    assert [way_of(models[name], two, "auto") for name in ("s", "l")] == [Way.DDP, Way.FSDP]
    assert [way_of(models[name], two, "ddp") for name in ("s", "l")] == [Way.DDP, Way.DDP]


def test_what_is_not_about_processes_is_let_through(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes"), World(0, 2).listening(lambda: "here"):
        raise RuntimeError("shapes do not fit")


@pytest.mark.parametrize(
    "said",
    [
        "[/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:55523. This is likely due to another",
        "[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [fe80::1]:4411",
        "[/gloo/transport/tcp/pair.cc:9] Connection closed by peer\nmore lines of gloo",
    ],
)
def test_a_lost_process_is_told_without_the_transports_noise(said: str) -> None:
    world = World(rank=0, size=2)
    with pytest.raises(ProcessLostError) as caught, world.listening(lambda: "pretraining step 2"):
        raise RuntimeError(said)
    assert str(caught.value).startswith("pretraining step 2: lost the other processes: Connection closed by peer;")
