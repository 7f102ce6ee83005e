"""Many requests at once: each gets what it gets alone, to the last bit where that is asked for."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from duologue.errors import ContextLengthError, NumericalError
from duologue.generation.config import GenerationConfig
from duologue.generation.engine import Engine, scorer_of
from duologue.generation.events import FinishReason, GenerationOutput, TokenEvent
from duologue.generation.kv_arena import KVArena
from duologue.generation.prefix_cache import PrefixCache
from duologue.generation.replies import Growth, choose
from duologue.generation.reply import Reply, Task
from duologue.generation.request import Request
from duologue.generation.scheduler import Scheduler
from duologue.transformer.config import TransformerConfig

NEW = {"max_new_tokens": 20}
KINDS = {
    "greedy": GenerationConfig(**NEW, logprobs=2),
    "sampling": GenerationConfig(**NEW, temperature=1.3, top_p=0.95, seed=1),
    "samples": GenerationConfig(**NEW, temperature=1.5, num_return_sequences=3, seed=2),
    "beams": GenerationConfig(**NEW, num_beams=4, num_return_sequences=2),
    "groups": GenerationConfig(**NEW, num_beams=4, num_beam_groups=2, diversity_penalty=0.5, num_return_sequences=4),
    "stochastic": GenerationConfig(**NEW, num_beams=3, beam_mode="stochastic", num_return_sequences=3, seed=3),
    "lookup": GenerationConfig(**NEW, prompt_lookup_num_tokens=4),
    "penalised": GenerationConfig(**NEW, repetition_penalty=1.4, no_repeat_ngram_size=2, min_new_tokens=20),
}
PROMPTS = {kind: [3 + (7 * place + 31 * number) % 250 for place in range(9 + 5 * number)]
           for number, kind in enumerate(KINDS)}  # fmt: skip
UNTIED = TransformerConfig(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
    intermediate_size=48, max_position_embeddings=128, tie_word_embeddings=False,
)  # fmt: skip


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def exact(request: pytest.FixtureRequest, model_folder: Path) -> Engine:
    return Engine.from_pretrained(model_folder, dtype=request.param, max_slots=4096, deterministic=True)


@pytest.fixture(scope="module")
def exact_alone(exact: Engine) -> dict[str, tuple]:
    """What each kind of request gives when there is nothing else."""
    return {kind: bits(run_all(desk(exact), [request_of(exact, kind)])[0]) for kind in KINDS}


def desk(engine: Engine, *, num_slots: int = 4096, max_rows: int = 512, deterministic: bool = True) -> Scheduler:
    """A scheduler with an arena of its own."""
    weight = engine.model.output_weight
    arena = KVArena(engine.model.config, num_slots=num_slots, dtype=weight.dtype)
    for slab in arena.slabs:
        slab.fill_(math.nan)  # what is left over from others may be anything
    scorer = scorer_of(engine.model, arena, deterministic=deterministic)
    scheduler = Scheduler(scorer, PrefixCache(arena), max_rows=max_rows)
    scheduler.arena = arena
    return scheduler


def request_of(engine: Engine, kind: str) -> Request:
    return engine.request(PROMPTS[kind], KINDS[kind])


def run_all(scheduler: Scheduler, requests: Sequence[Request]) -> list[GenerationOutput]:
    for request in requests:
        scheduler.submit(request)
    while not scheduler.is_idle:
        scheduler.step()
    return [request.output() for request in requests]


def bits(output: GenerationOutput) -> tuple:
    return output.sequences, output.sequences_scores, output.token_logprobs, output.top_logprobs, output.finish_reasons


def num_tokens(request: Request) -> int:
    """Tokens that were told since this was last asked."""
    told = sum(isinstance(event, TokenEvent) for event in request.events)
    request.events.clear()
    return told


def all_slots_come_back(scheduler: Scheduler) -> bool:
    scheduler._prefixes.clear()
    return scheduler.arena.num_free == scheduler.arena.num_slots and not scheduler.arena.num_lent


def calls_of(monkeypatch: pytest.MonkeyPatch, name: str) -> list[Request]:
    """Counts the calls of a method of the scheduler, by what it is called with."""
    calls, real = [], getattr(Scheduler, name)

    def counted(self: Scheduler, first: object, *others: object) -> None:
        calls.append(first)
        real(self, first, *others)

    monkeypatch.setattr(Scheduler, name, counted)
    return calls


def take_little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lanes are as short as they may be, so that they have to grow all the time."""
    for name, value in {"request.RESERVE": 3, "scheduler.RESERVE": 3, "scheduler.ROUND_TO": 4}.items():
        monkeypatch.setattr(f"duologue.generation.{name}", value)


# The same bits, whatever else runs.


@pytest.mark.parametrize("is_moved_out", [False, True], ids=["stays", "moved out"])
@pytest.mark.parametrize("is_kept", [False, True], ids=["fresh", "kept"])
@pytest.mark.parametrize("max_rows", [1, 7, 64])
def test_beside_seven_others_a_request_gives_the_same_bits(
    exact: Engine, exact_alone: dict, monkeypatch: pytest.MonkeyPatch, max_rows: int, is_kept: bool, is_moved_out: bool
) -> None:
    moved = calls_of(monkeypatch, "_move_out")
    if is_moved_out:
        take_little_room(monkeypatch)
    scheduler = desk(exact, max_rows=max_rows, num_slots=220 if is_moved_out else 4096)
    if is_kept:
        begun = [exact.request(PROMPTS[kind][:-3], GenerationConfig(max_new_tokens=1)) for kind in list(KINDS)[:4]]
        run_all(scheduler, begun)
    requests = {kind: request_of(exact, kind) for kind in KINDS}
    outputs = run_all(scheduler, list(requests.values()))
    assert dict(zip(requests, map(bits, outputs), strict=True)) == exact_alone
    assert len(set(moved)) >= 2 if is_moved_out else not moved
    assert any(output.stats.cached_tokens for output in outputs) == is_kept
    assert all_slots_come_back(scheduler)


@pytest.mark.parametrize("kind", KINDS)
def test_moved_out_and_in_again_a_request_gives_the_same_bits(
    exact: Engine, exact_alone: dict, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    take_little_room(monkeypatch)
    moved = calls_of(monkeypatch, "_move_out")
    requests = [request_of(exact, each) for each in ("greedy", "samples", kind)]
    scheduler = desk(exact, num_slots=max(100, sum(request.width for request in requests)), max_rows=64)
    outputs = run_all(scheduler, requests)  # there is room for all three until the first has to grow
    assert requests[-1] in moved
    assert list(map(bits, outputs)) == [exact_alone[each] for each in ("greedy", "samples", kind)]
    assert all_slots_come_back(scheduler)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kept_prefix_and_small_pieces_change_no_bit(exact: Engine, exact_alone: dict, kind: str) -> None:
    scheduler = desk(exact, max_rows=3)
    run_all(scheduler, [exact.request(PROMPTS[kind], GenerationConfig(max_new_tokens=5, num_beams=3))])
    request = request_of(exact, kind)
    assert bits(run_all(scheduler, [request])[0]) == exact_alone[kind]
    assert request.stats.cached_tokens == len(PROMPTS[kind]) - 1


def test_a_lane_that_grows_changes_no_bit(exact: Engine, exact_alone: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    take_little_room(monkeypatch)
    grown = calls_of(monkeypatch, "_grow")
    scheduler = desk(exact)
    requests = {kind: request_of(exact, kind) for kind in KINDS}
    outputs = run_all(scheduler, list(requests.values()))
    assert dict(zip(requests, map(bits, outputs), strict=True)) == exact_alone
    assert {id(request.tree) for request in requests.values()} == {id(tree) for tree in grown}


@pytest.mark.parametrize("is_sampling", [False, True], ids=["greedy", "sampling"])
def test_replies_of_one_config_are_chosen_together_with_the_same_bits(exact: Engine, is_sampling: bool) -> None:
    config = GenerationConfig(max_new_tokens=12, do_sample=is_sampling, seed=5, repetition_penalty=1.1)
    together = run_all(desk(exact), [exact.request(prompt, config) for prompt in PROMPTS.values()])
    alone = [run_all(desk(exact), [exact.request(prompt, config)])[0] for prompt in PROMPTS.values()]
    assert list(map(bits, together)) == list(map(bits, alone))


def test_with_a_large_vocabulary_and_two_threads_too(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """From about 2 ** 15 numbers on, torch adds up a single row on all threads, and several rows one by one."""
    vocab_size, config = 50_000, GenerationConfig(do_sample=True)
    stream = engine.request([5], config).task.text_stream
    task = Task([5], config, engine.tokenizer, vocab_size, frozenset(), 8, b"chances")
    torch.manual_seed(0)
    torch.set_num_threads(2)
    try:
        for _ in range(60):
            logits = torch.randn(3, vocab_size) * 3
            growing = [(task, Growth(Reply(index, stream()))) for index in range(3)]
            alone = [choose([each], row[None])[0] for each, row in zip(growing, logits, strict=True)]
            assert choose(growing, logits) == alone
    finally:
        torch.set_num_threads(1)


# The fast mode.


@pytest.mark.parametrize("max_rows", [7, 512])
def test_in_the_fast_mode_tokens_are_equal_and_scores_close(engine: Engine, max_rows: int) -> None:
    def fast(requests: list[Request], max_rows: int = 512) -> list[GenerationOutput]:
        return run_all(desk(engine, max_rows=max_rows, deterministic=False), requests)

    alone = [fast([request_of(engine, kind)])[0] for kind in KINDS]
    together = fast([request_of(engine, kind) for kind in KINDS], max_rows)
    for one, other in zip(alone, together, strict=True):
        assert one.sequences == other.sequences
        assert one.finish_reasons == other.finish_reasons
        assert one.sequences_scores == pytest.approx(other.sequences_scores, abs=1e-5)


def test_what_others_left_in_the_arena_changes_nothing(engine: Engine) -> None:
    """Neighbours of which one has come further than the other; the arena is full of what is no number."""
    prompts = [[5] * 5, [6] * 100, [7] * 70]
    config = GenerationConfig(max_new_tokens=8)
    outputs = run_all(desk(engine, deterministic=False), [engine.request(prompt, config) for prompt in prompts])
    assert [output.sequences for output in outputs] == [engine.generate(p, config).sequences for p in prompts]


# Sharing the steps.


def test_a_long_prompt_does_not_stop_the_others(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("duologue.generation.scheduler.PIECE_BESIDE", 8)
    scheduler = desk(engine, deterministic=False)
    replying = [engine.request([5, 6, number], GenerationConfig(max_new_tokens=60)) for number in (7, 8, 9)]
    for request in replying:
        scheduler.submit(request)
    scheduler.step()
    assert [num_tokens(request) for request in replying] == [1, 1, 1]
    late = [engine.request([token] * 100, GenerationConfig(max_new_tokens=5)) for token in (11, 12)]
    for request in late:
        scheduler.submit(request)
    steps = 0
    for number, request in enumerate(late, start=1):  # one prompt after the other
        while not num_tokens(request):
            scheduler.step()
            steps += 1
            assert [num_tokens(each) for each in replying] == [1, 1, 1]
        assert steps == math.ceil(number * 100 / 8)


def test_the_first_who_comes_is_the_first_who_is_served(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("duologue.generation.scheduler.MAX_REPLYING", 4)
    scheduler = desk(engine, deterministic=False)
    kinds = ["beams", "greedy", "samples", "greedy", "beams", "lookup", "greedy", "stochastic"]
    requests = [request_of(engine, kind) for kind in kinds]
    begun: list[int] = []
    for request in requests:
        scheduler.submit(request)
    while not scheduler.is_idle:
        scheduler.step()
        begun += [place for place, each in enumerate(requests) if each.writer.has_taken and place not in begun]
        assert sum(request.num_branches for request in scheduler._running) <= max(4, requests[5].num_branches)
    assert begun == sorted(begun) == list(range(len(requests)))


def test_nobody_overtakes_a_request_that_waits_for_room(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    take_little_room(monkeypatch)
    scheduler = desk(engine, num_slots=128, deterministic=False)
    first, large = (engine.request([token] * length, KINDS["greedy"]) for token, length in ((5, 40), (6, 90)))
    scheduler.submit(first)
    scheduler.step()
    scheduler.submit(large)
    small = []
    while not large.writer.has_taken:  # would never end, if those who come later went first
        small.append(engine.request([7], KINDS["greedy"]))
        scheduler.submit(small[-1])
        scheduler.step()
        assert not any(request.writer.has_taken for request in small if not large.writer.has_taken)
        assert len(small) < 50
    assert first.is_over
    while not scheduler.is_idle:
        scheduler.step()
    assert all(request.is_over and request.error is None for request in small)
    assert all_slots_come_back(scheduler)


def test_who_was_moved_out_goes_on_before_those_who_came_later(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    take_little_room(monkeypatch)
    moved = calls_of(monkeypatch, "_move_out")
    requests = [engine.request([5 + number] * 20, GenerationConfig(max_new_tokens=30)) for number in range(4)]
    scheduler = desk(engine, num_slots=2 * requests[0].width + 4, deterministic=False)
    ended: list[Request] = []
    for request in requests:
        scheduler.submit(request)
    while not scheduler.is_idle:
        scheduler.step()
        ended += [request for request in requests if request.is_over and request not in ended]
    assert requests[1] in moved
    assert ended == requests
    assert all_slots_come_back(scheduler)


# Too little room.


def test_what_can_never_fit_is_refused_at_the_call(model_folder: Path) -> None:
    small = Engine.from_pretrained(model_folder, max_slots=100)
    with pytest.raises(ContextLengthError, match="116 slots of key-value memory are needed, 100 of 100 are free"):
        small.stream([5] * 96, GenerationConfig(max_new_tokens=20))
    assert len(small.generate([5] * 80, GenerationConfig(max_new_tokens=20)).sequences[0]) == 20


def test_a_request_that_cannot_grow_any_more_ends_alone(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    take_little_room(monkeypatch)
    scheduler = desk(engine, num_slots=60, deterministic=False)
    requests = [engine.request([5] * 20, GenerationConfig(max_new_tokens=count)) for count in (60, 10, 10)]
    for request in requests:
        scheduler.submit(request)
    while not scheduler.is_idle:
        scheduler.step()
    with pytest.raises(ContextLengthError, match="61 slots of key-value memory are needed"):
        requests[0].output()
    assert [len(request.output().sequences[0]) for request in requests[1:]] == [10, 10]
    assert all_slots_come_back(scheduler)


# Errors and cancelling.


@pytest.mark.parametrize("deterministic", [False, True])
def test_what_is_no_number_ends_one_request_alone(
    tmp_path: Path, write_model: Callable[..., Path], deterministic: bool
) -> None:
    """The embedding of one token is damaged; its logit is not."""
    engine = Engine.from_pretrained(write_model(tmp_path, UNTIED), max_slots=4096)
    config = GenerationConfig(max_new_tokens=12, suppress_tokens=(299,))
    prompts = [[5] * 30, [6, 7, 299, 8], [9] * 50, [299]]
    alone = [engine.generate(prompt, config).sequences for prompt in (prompts[0], prompts[2])]
    engine.model.model.embed_tokens.weight.data[299] = math.nan
    scheduler = desk(engine, deterministic=deterministic)
    for _ in range(2):  # again, in the slots that the damaged ones leave behind
        requests = [engine.request(prompt, config) for prompt in prompts]
        for request in requests:
            scheduler.submit(request)
        while not scheduler.is_idle:
            scheduler.step()
        for place, length in ((1, 4), (3, 1)):
            with pytest.raises(NumericalError, match=f"step 0 after a prompt of {length} tokens"):
                requests[place].output()
        assert [requests[place].output().sequences for place in (0, 2)] == alone
        assert all_slots_come_back(scheduler)


class Broken:
    """A constraint with a fault."""

    start = None

    def allowed(self, state: object) -> torch.Tensor:
        raise LookupError(state)


def test_a_fault_in_what_a_config_asks_for_ends_one_request_alone(engine: Engine) -> None:
    scheduler = desk(engine, deterministic=False)
    task = engine.request([5, 6], GenerationConfig(prefix="a")).task
    bad = Request(dataclasses.replace(task, constraint=Broken()))
    good = [request_of(engine, kind) for kind in ("greedy", "beams")]
    for request in (good[0], bad, good[1]):
        scheduler.submit(request)
    while not scheduler.is_idle:
        scheduler.step()
    with pytest.raises(LookupError):
        bad.output()
    assert [len(request.output().sequences[0]) for request in good] == [20, 20]
    assert all_slots_come_back(scheduler)


@pytest.mark.parametrize("options", [{}, {"do_sample": True, "num_return_sequences": 2}, {"num_beams": 2}])
def test_where_nothing_may_be_said_a_reply_ends_alone(engine: Engine, options: dict[str, object]) -> None:
    scheduler = desk(engine, deterministic=False)
    barred = GenerationConfig(choices=("hello",), suppress_tokens=tuple(range(3, 320)), **options)
    requests = [engine.request([5, 6], barred), request_of(engine, "greedy")]
    dead, sound = run_all(scheduler, requests)
    assert set(dead.finish_reasons) == {FinishReason.DEAD_END}
    assert len(sound.sequences[0]) == 20
    assert all_slots_come_back(scheduler)


def test_an_error_of_nobody_in_particular_ends_all(engine: Engine) -> None:
    scheduler = desk(engine, deterministic=False)
    requests = [request_of(engine, kind) for kind in KINDS]
    for request in requests:
        scheduler.submit(request)
    scheduler.step()
    scheduler.fail_all(MemoryError())
    assert scheduler.is_idle
    for request in requests:
        with pytest.raises(MemoryError):
            request.output()
    assert all_slots_come_back(scheduler)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", ["waiting", "reading", "replying", "moved out"])
def test_cancelled_in_any_state_a_request_leaves_nothing_behind(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, kind: str, state: str
) -> None:
    take_little_room(monkeypatch)
    monkeypatch.setattr("duologue.generation.scheduler.PIECE_BESIDE", 3)
    scheduler = desk(engine, num_slots=250, deterministic=False)
    other = engine.request([5, 6, 7], GenerationConfig(max_new_tokens=100))
    request = request_of(engine, kind)
    scheduler.submit(other)
    scheduler.step()
    scheduler.submit(request)
    has_come = {
        "waiting": lambda: True,
        "reading": lambda: request.tree is not None and request.is_reading,
        "replying": lambda: request.stats.steps >= 3,
        "moved out": lambda: request.stats.steps >= 3,
    }[state]
    while not has_come():
        scheduler.step()
    if state == "moved out":
        scheduler._move_out(request)
    assert (request in scheduler._waiting) == (state in ("waiting", "moved out"))
    scheduler.cancel(request)
    assert request.is_over
    assert scheduler.num_waiting == 0
    assert len(request.output().finish_reasons) == (len(request.writer.replies) if request.writer.has_begun else 0)
    while not scheduler.is_idle:
        scheduler.step()
    assert len(other.output().sequences[0]) == 100
    assert all_slots_come_back(scheduler)


# Prompt lookup.


@pytest.mark.parametrize("temperature", [0.0, 0.2, 0.3])
def test_prompt_lookup_changes_no_bit_and_saves_steps(exact: Engine, temperature: float) -> None:
    plain = GenerationConfig(max_new_tokens=40, temperature=temperature, seed=2)
    guessing = GenerationConfig(max_new_tokens=40, temperature=temperature, seed=2, prompt_lookup_num_tokens=5)
    prompt = [5, 6, 7, 8, 9] * 8
    one, other = (run_all(desk(exact), [exact.request(prompt, config)])[0] for config in (plain, guessing))
    assert bits(one) == bits(other)
    assert other.stats.steps + other.stats.guessed_tokens == one.stats.steps
    assert other.stats.steps < one.stats.steps * (1 if temperature else 1 / 3)


def test_wrong_guesses_take_no_slots(exact: Engine) -> None:
    config = GenerationConfig(max_new_tokens=40, temperature=0.3, seed=2, prompt_lookup_num_tokens=5)
    request = exact.request([5, 6, 7, 8, 9] * 8, config)
    scheduler = desk(exact)
    output = run_all(scheduler, [request])[0]
    assert output.stats.rows > output.stats.steps + output.stats.guessed_tokens
    assert request.tree is not None
    assert request.tree.num_used == 40 + len(output.sequences[0]) - 1
    assert all_slots_come_back(scheduler)
