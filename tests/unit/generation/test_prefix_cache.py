"""What was read once is not read again: moved, copied, cut short and given up, and never mixed up."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.conversation import Conversation
from duologue.errors import ContextLengthError
from duologue.generation.config import GenerationConfig
from duologue.generation.engine import Engine
from duologue.generation.kv_arena import KVArena, Lanes
from duologue.generation.prefix_cache import PrefixCache
from duologue.tokenizer.encode_conversation import encode_prompt
from duologue.transformer.config import TransformerConfig

SHAPE = TransformerConfig(
    hidden_size=8, num_hidden_layers=2, num_attention_heads=1, num_key_value_heads=1, head_dim=2, intermediate_size=8,
    max_position_embeddings=64,
)  # fmt: skip
LONG = TransformerConfig(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
    intermediate_size=64, max_position_embeddings=512,
)  # fmt: skip


def cache_of(num_slots: int) -> PrefixCache:
    return PrefixCache(KVArena(SHAPE, num_slots=num_slots, dtype=torch.float64))


def mark(ids: Sequence[int]) -> float:
    """What stands for key and value of the last of these ids: as they do, it depends on all ids up to there."""
    return float(hash(tuple(ids)) % 2**40)


def read(cache: PrefixCache, ids: Sequence[int], *, width: int | None = None) -> tuple[Lanes, int]:
    """Reads ids as a request does: checks what is there, writes what is not."""
    lane, num_ready = cache.lend(ids, width=width or len(ids))
    assert lane.width >= (width or len(ids))
    check(lane, ids[:num_ready])
    for place in range(num_ready, len(ids)):
        for slab in cache.arena.slabs:
            slab[lane.start + place] = mark(ids[: place + 1])
    return lane, num_ready


def check(lane: Lanes, ids: Sequence[int]) -> None:
    """The first slots hold what belongs to these ids, in every layer."""
    expected = torch.tensor([mark(ids[: place + 1]) for place in range(len(ids))], dtype=torch.float64)
    for slab in lane.arena.slabs:
        held = slab[lane.start : lane.start + len(ids)]
        assert torch.equal(held, expected[:, None, None].expand_as(held))


def read_and_keep(cache: PrefixCache, ids: Sequence[int]) -> int:
    lane, num_ready = read(cache, ids)
    cache.keep(ids, range(len(ids)), lane)
    return num_ready


def num_common(a: Sequence[int], b: Sequence[int]) -> int:
    return next((place for place, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def test_the_next_turn_takes_the_lane_over() -> None:
    cache = cache_of(64)
    first, _ = read(cache, range(10))
    cache.keep(range(10), range(10), first)
    lane, num_ready = read(cache, range(20), width=30)
    assert (lane.start, num_ready) == (first.start, 10)
    assert cache.arena.num_lent == 30


def test_where_others_are_behind_it_the_lane_is_moved() -> None:
    cache = cache_of(64)
    first, _ = read(cache, range(10))
    cache.keep(range(10), range(10), first)
    behind = cache.lend_empty(4)
    lane, num_ready = read(cache, range(20))
    assert behind.start == first.start + 10
    assert lane.start != first.start
    assert num_ready == 10
    assert cache.arena.num_lent == 20 + 4  # the first is given back


def test_the_last_token_is_always_read_again() -> None:
    """Nobody kept what the model said after it."""
    cache = cache_of(64)
    assert [read_and_keep(cache, range(10)) for _ in range(3)] == [0, 9, 9]


def test_a_branch_leaves_the_other_as_it_was() -> None:
    cache = cache_of(100)
    trunk, branch = [*range(20)], [*range(12), 50, 51, 52]
    assert [read_and_keep(cache, ids) for ids in (trunk, branch)] == [0, 12]
    assert read_and_keep(cache, [*trunk, 7]) == 20
    assert read_and_keep(cache, [*branch, 7]) == 15


def test_what_stands_before_an_edit_is_used_again() -> None:
    cache = cache_of(100)
    read_and_keep(cache, [1, 2, 3, 4, 5, 6, 7, 8])
    assert read_and_keep(cache, [1, 2, 3, 9, 5, 6, 7, 8, 10]) == 3
    assert read_and_keep(cache, [9, 2, 3, 4]) == 0


def test_slots_in_any_order_become_a_prefix() -> None:
    """As after a beam search, whose best reply lies between the slots of others."""
    cache, ids, slots = cache_of(40), [5, 6, 7, 8, 9], [0, 1, 12, 4, 2]
    lane = cache.lend_empty(20)
    for place, slot in enumerate(slots):
        for slab in cache.arena.slabs:
            slab[lane.start + slot] = mark(ids[: place + 1])
    cache.keep(ids, slots, lane)
    assert cache.arena.num_lent == len(ids)
    assert read(cache, [*ids, 1])[1] == len(ids)


def test_what_was_used_longest_ago_is_given_up_first() -> None:
    cache = cache_of(40)
    a, b, c, d = ([start, *range(9)] for start in (91, 92, 93, 94))
    for ids in (a, b, c, d):
        read_and_keep(cache, ids)
    cache.keep([*a, 1], range(11), read(cache, [*a, 1])[0])  # all is full: b goes
    assert read(cache, [*a, 1, 2])[1] == 11
    assert [cache._longest(ids)[1] for ids in (b, c, d)] == [0, 10, 10]


def test_looking_at_it_counts_as_use() -> None:
    cache = cache_of(30)
    a, b, c = ([start, *range(9)] for start in (91, 92, 93))
    read_and_keep(cache, a)
    read_and_keep(cache, b)
    read_and_keep(cache, [*a[:5], 50])  # a branch of a
    read_and_keep(cache, c)
    assert [cache._longest(ids)[1] for ids in (a, b, c)] == [10, 0, 10]


def test_nothing_is_given_up_in_vain() -> None:
    cache = cache_of(60)
    running = cache.lend_empty(30)
    read_and_keep(cache, range(20))
    for lend in (
        lambda: cache.lend_empty(31),
        lambda: cache.lend([*range(20), 7], width=31),
        lambda: cache.lend([*range(9), 7], width=31),
        lambda: cache.grow(running, 61, used=30),
    ):
        with pytest.raises(ContextLengthError, match="slots of key-value memory are needed, 10 of 60 are free"):
            lend()
    assert read(cache, [*range(20), 7], width=30)[1] == 20


def test_where_there_is_no_room_for_both_the_copy_lies_over_what_it_is_of() -> None:
    cache = cache_of(30)
    read_and_keep(cache, range(25))
    assert read(cache, [*range(20), 50, 51], width=28)[1] == 20
    assert cache.arena.num_lent == 28


def test_a_lane_grows_where_it_is_if_it_can() -> None:
    cache = cache_of(40)
    lane, _ = read(cache, range(10))
    assert cache.grow(lane, 30, used=10) == Lanes(cache.arena, lane.start, 1, 30)


@pytest.mark.parametrize(("width", "num_kept"), [(14, 2), (30, 1), (40, 0)])
def test_a_lane_that_cannot_grow_where_it_is_moves(width: int, num_kept: int) -> None:
    """Something is kept on both sides of it; the new lane may lie over the old one."""
    cache = cache_of(40)
    before = cache.lend_empty(8)
    lane, _ = read(cache, [70, *range(9)], width=12)
    read_and_keep(cache, [80, 81])
    cache.keep([90, 91], range(2), before)
    longer = cache.grow(lane, width, used=10)
    assert longer.width == width
    check(longer, [70, *range(9)])
    assert [len(entry.ids) for entry in cache._entries] == [2] * num_kept
    assert cache.arena.num_lent == width + 2 * num_kept


def test_all_can_be_forgotten() -> None:
    cache = cache_of(50)
    for start in range(4):
        read_and_keep(cache, [start, 8, 9])
    cache.clear()
    assert cache.arena.num_free == 50
    assert read_and_keep(cache, [0, 8, 9, 10]) == 0


TEXTS = st.lists(st.integers(0, 2), min_size=1, max_size=12)


@settings(max_examples=150)
@given(st.data())
def test_whatever_happens_each_slot_holds_what_belongs_there(data: st.DataObject) -> None:
    """Texts of three letters have much in common; forty slots are soon full."""
    cache = cache_of(40)
    running: list[tuple[list[int], Lanes]] = []
    for _ in range(data.draw(st.integers(1, 25))):
        ids = data.draw(TEXTS)
        what = data.draw(st.sampled_from(["read", "grow", "keep", "drop"]))
        if what == "read" or not running:
            kept = [entry.ids for entry in cache._entries]
            most = max((num_common(ids[:-1], each) for each in kept), default=0)
            try:
                lane, num_ready = read(cache, ids, width=len(ids) + data.draw(st.integers(0, 6)))
            except ContextLengthError:
                assert sorted(entry.ids for entry in cache._entries) == sorted(kept)
                continue
            assert num_ready == most
            running.append((ids, lane))
            continue
        ids, lane = running.pop(data.draw(st.integers(0, len(running) - 1)))
        if what == "grow":
            with contextlib.suppress(ContextLengthError):
                lane = cache.grow(lane, lane.width + data.draw(st.integers(1, 8)), used=len(ids))
            running.append((ids, lane))
        elif what == "keep":
            cache.keep(ids, range(len(ids)), lane)
        else:
            lane.free()
        assert cache.arena.num_free + cache.arena.num_lent == cache.arena.num_slots
        for ids, lane in [*running, *((entry.ids, entry.lane) for entry in cache._entries)]:
            check(lane, ids)


# With a model.


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_model: Callable[..., Path]) -> Path:
    return write_model(tmp_path_factory.mktemp("long"), LONG)


@pytest.fixture
def chat(folder: Path) -> Engine:
    return Engine.from_pretrained(folder, max_slots=4096, deterministic=True)


@pytest.mark.parametrize("options", [
    {},
    {"temperature": 1.2, "num_return_sequences": 3, "seed": 1},
    {"num_beams": 4, "num_return_sequences": 2},
    {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0},
    {"num_beams": 3, "beam_mode": "stochastic", "seed": 2},
    {"prompt_lookup_num_tokens": 4},
], ids=["greedy", "samples", "beams", "groups", "stochastic", "lookup"])  # fmt: skip
def test_of_a_chat_only_the_last_word_is_read_again(chat: Engine, options: dict[str, object]) -> None:
    config = GenerationConfig(max_new_tokens=30, **options)
    history = [3 + 7 * place % 250 for place in range(90)]
    for turn in range(3):
        output = chat.generate(history, config)
        fresh = chat.generate_batch([history], config)[0]  # keeps nothing, and finds what the turn before left
        assert (output.sequences, output.sequences_scores) == (fresh.sequences, fresh.sequences_scores)
        history = [*history, *output.sequences[0]]
        following = chat.generate([*history, 5, 6, 7], GenerationConfig(max_new_tokens=1))
        assert following.stats.cached_tokens == len(history) - 1
        assert following.stats.cached_tokens >= 0.99 * len(history)
        history = [*history, 5 + turn, 6, 7]
    known = chat.generate(history, config)
    chat.forget()
    again = chat.generate(history, config)
    assert again.stats.cached_tokens == 0
    assert (known.sequences, known.token_logprobs) == (again.sequences, again.token_logprobs)


def test_a_batch_keeps_nothing(chat: Engine) -> None:
    chat.generate_batch([[5] * 20, [6] * 30], GenerationConfig(max_new_tokens=5))
    assert chat.arena.num_free == chat.arena.num_slots


def test_a_second_chat_with_the_same_system_prompt_reads_only_its_own_words(chat: Engine) -> None:
    system = "Be kind, be brief, and say so where you do not know. " * 3
    one, other = (Conversation.of(user, system=system) for user in ("hello there", "what is your name?"))
    shared = num_common(*(encode_prompt(chat.tokenizer, each) for each in (one, other)))
    assert shared > 50
    assert chat.generate(one, GenerationConfig(max_new_tokens=5)).stats.cached_tokens == 0
    output = chat.generate(other, GenerationConfig(max_new_tokens=5))
    assert output.stats.cached_tokens == shared
    chat.forget()
    assert chat.generate(other, GenerationConfig(max_new_tokens=5)).token_logprobs == output.token_logprobs


def test_a_full_arena_keeps_the_chats_that_are_used(folder: Path) -> None:
    engine = Engine.from_pretrained(folder, max_slots=1000)
    config = GenerationConfig(max_new_tokens=5)
    chats = [[3 + number, *range(3, 203)] for number in range(6)]
    for ids in chats:
        engine.generate(ids, config)
        assert engine.generate([*chats[0], 9], config).stats.cached_tokens == len(chats[0])
    assert engine.generate([*chats[1], 9], config).stats.cached_tokens == 0
    assert engine.arena.num_free + engine.arena.num_lent == engine.arena.num_slots
