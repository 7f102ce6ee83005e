"""Whatever is lent and given back, in whatever order: no slot is lost, and none is lent twice."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.errors import ContextLengthError
from duologue.generation.kv_arena import KVArena, Lanes
from duologue.transformer.config import TransformerConfig

SHAPE = TransformerConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1, head_dim=2,
                          intermediate_size=8)  # fmt: skip

MOVES = ["lend", "resize", "free"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(MOVES), st.integers(1, 60), st.integers(0, 9)), max_size=40))
def test_slots_are_conserved(moves: list[tuple[str, int, int]]) -> None:
    arena = KVArena(SHAPE, num_slots=100, dtype=torch.float32)
    held: list[Lanes] = []
    for move, width, which in moves:
        if move == "lend":
            is_possible = arena.longest_run() >= width
            try:
                held.append(arena.lend(width))
            except ContextLengthError:
                assert not is_possible
            else:
                assert is_possible
        elif held and move == "resize":
            place = which % len(held)
            lane = arena.resize(held[place], width)
            assert lane is not None or width > held[place].width
            if lane is not None:
                assert (lane.start, lane.width) == (held[place].start, width)
                held[place] = lane
        elif held:
            held.pop(which % len(held)).free()
        taken = [slot for lane in held for slot in range(lane.start, lane.start + lane.width)]
        assert len(taken) == len(set(taken)) == arena.num_lent
        assert arena.num_free + arena.num_lent == arena.num_slots
    for lane in held:
        lane.free()
    assert arena.lend(100).start == 0


def test_what_is_cleared_is_zero() -> None:
    arena = KVArena(SHAPE, num_slots=10, dtype=torch.float32)
    lane = arena.lend(10)
    for tensor in (lane.keys(0), lane.values(0)):
        tensor.fill_(float("nan"))
    lane.clear(2, 5)
    for tensor in (lane.keys(0), lane.values(0)):
        assert tensor.isnan().any(dim=-1)[0, 0].tolist() == [True] * 2 + [False] * 3 + [True] * 5
        assert not tensor[0, 0, 2:5].any()


def test_giving_back_twice_is_an_error() -> None:
    arena = KVArena(SHAPE, num_slots=10, dtype=torch.float32)
    lane = arena.lend(5)
    lane.free()
    with pytest.raises(KeyError):
        lane.free()


def test_lanes_lie_side_by_side_and_copy() -> None:
    arena = KVArena(SHAPE, num_slots=12, dtype=torch.float32)
    lanes = [arena.lend(4) for _ in range(3)]
    together = Lanes(arena, 0, 3, 4)
    together.keys(0)[:] = torch.arange(24.0).view(3, 1, 4, 2)
    assert torch.equal(lanes[1].keys(0)[0], together.keys(0)[1])
    lanes[2].copy_into(lanes[0], [3, 1])
    assert together.keys(0)[0, 0, :2].tolist() == [[22.0, 23.0], [18.0, 19.0]]
