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


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 4), st.integers(1, 20), st.integers(0, 9)), max_size=40))
def test_slots_are_conserved(moves: list[tuple[bool, int, int, int]]) -> None:
    arena = KVArena(SHAPE, num_slots=100, dtype=torch.float32)
    held: list[Lanes] = []
    for lends, num_lanes, width, which in moves:
        if lends:
            try:
                held.append(arena.lend(num_lanes=num_lanes, width=width))
            except ContextLengthError:
                longest_possible = arena.num_slots - arena.num_lent
                assert num_lanes * width > longest_possible or held
        elif held:
            held.pop(which % len(held)).free()
        taken = [slot for lanes in held for slot in range(lanes.start, lanes.start + lanes.num_lanes * lanes.width)]
        assert len(taken) == len(set(taken)) == arena.num_lent
        assert arena.num_free + arena.num_lent == arena.num_slots
    for lanes in held:
        lanes.free()
    assert arena.lend(num_lanes=1, width=100).start == 0


def test_what_is_lent_is_zero() -> None:
    arena = KVArena(SHAPE, num_slots=10, dtype=torch.float32)
    lanes = arena.lend(num_lanes=2, width=5)
    lanes.values(0).fill_(float("nan"))
    lanes.free()
    assert not arena.lend(num_lanes=1, width=10).values(0).any()


def test_giving_back_twice_is_an_error() -> None:
    arena = KVArena(SHAPE, num_slots=10, dtype=torch.float32)
    lanes = arena.lend(num_lanes=1, width=5)
    lanes.free()
    with pytest.raises(KeyError):
        lanes.free()


def test_lanes_lie_side_by_side_and_copy() -> None:
    arena = KVArena(SHAPE, num_slots=12, dtype=torch.float32)
    lanes = arena.lend(num_lanes=3, width=4)
    lanes.keys(0)[:] = torch.arange(24.0).view(3, 1, 4, 2)
    assert torch.equal(lanes.part(1, 2).keys(0)[0], lanes.keys(0)[1])
    lanes.part(2, 3).copy_into(lanes.part(0, 1), [3, 1])
    assert lanes.keys(0)[0, 0, :2].tolist() == [[22.0, 23.0], [18.0, 19.0]]
