"""Many callers at once: each hears what it would hear alone, and nobody hears of another's trouble."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import math
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from torch import Tensor

from duologue.errors import BusyError, ClosedError, ConfigError, ContextLengthError, DataError, NumericalError
from duologue.generation.async_engine import AsyncEngine
from duologue.generation.config import GenerationConfig
from duologue.generation.engine import Engine
from duologue.generation.events import Event, FinishEvent, FinishReason, GenerationStats, TokenEvent
from duologue.generation.rows import Rows
from duologue.transformer.config import TransformerConfig

LONG = GenerationConfig(max_new_tokens=100)
SHORT = GenerationConfig(max_new_tokens=4)
ASKED = [
    ([5, 6, 7], GenerationConfig(max_new_tokens=20, logprobs=2)),
    ([8] * 40, GenerationConfig(max_new_tokens=15, temperature=1.3, seed=1)),
    ([9, 10], GenerationConfig(max_new_tokens=12, temperature=1.5, num_return_sequences=3, seed=2)),
    ([11] * 9, GenerationConfig(max_new_tokens=12, num_beams=4, num_return_sequences=2)),
    ([12] * 25, GenerationConfig(max_new_tokens=10, num_beams=3, beam_mode="stochastic", seed=3)),
    ([13, 14] * 9, GenerationConfig(max_new_tokens=30, prompt_lookup_num_tokens=4)),
]  # fmt: skip
UNTIED = TransformerConfig(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
    intermediate_size=48, max_position_embeddings=128, tie_word_embeddings=False,
)  # fmt: skip


@pytest.fixture
def engine(model_folder: Path) -> Iterator[Engine]:
    """An engine that gives the same bits in any company; whatever a test does with it, all slots come back."""
    engine = Engine.from_pretrained(model_folder, max_slots=4096, deterministic=True)
    yield engine
    assert engine.scheduler.is_idle
    engine.forget()
    assert engine.arena.num_free == engine.arena.num_slots


class Gate:
    """The scheduler makes as many steps as are allowed; so no test depends on who is faster."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self._allowed, self._real = threading.Semaphore(0), engine.scheduler.step
        self.is_reached = threading.Event()
        self.num_steps = self.most_running = 0
        self._scheduler = engine.scheduler
        monkeypatch.setattr(engine.scheduler, "step", self._step)

    def allow(self, num_steps: int) -> None:
        self._allowed.release(num_steps)

    def open(self) -> None:
        self.allow(10_000)

    def _step(self) -> None:
        self.is_reached.set()
        assert self._allowed.acquire(timeout=60)
        self._real()
        self.num_steps += 1
        self.most_running = max(self.most_running, self._scheduler.num_running)


@pytest.fixture
def gate(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(engine, monkeypatch)


def without_costs(events: Iterable[Event]) -> list[Event]:
    return [dataclasses.replace(event, stats=GenerationStats()) if isinstance(event, FinishEvent) else event
            for event in events]  # fmt: skip


async def all_of(stream: AsyncIterator[Event]) -> list[Event]:
    return without_costs([event async for event in stream])


def test_several_streams_at_once_hear_what_each_hears_alone(engine: Engine, gate: Gate) -> None:
    async def main() -> list[list[Event]]:
        async with AsyncEngine(engine) as front:
            streams = [front.stream(prompt, config, tells_beams=True) for prompt, config in ASKED]
            gate.open()
            return await asyncio.gather(*map(all_of, streams))

    heard = asyncio.run(main())
    alone = [without_costs(engine.stream(prompt, config, tells_beams=True)) for prompt, config in ASKED]
    assert gate.most_running == len(ASKED)
    assert heard == alone


def test_events_come_while_the_reply_is_written(engine: Engine, gate: Gate) -> None:
    async def main() -> None:
        async with AsyncEngine(engine) as front:
            stream = front.stream([5, 6], LONG)
            gate.allow(1)
            first = await anext(stream)
            assert isinstance(first, TokenEvent)
            gate.open()
            rest = await all_of(stream)
            assert len(rest) == 99 + 1
            assert await all_of(stream) == []
            assert [first.token_id, *(event.token_id for event in rest[:-1])] == stream.output().sequences[0]

    asyncio.run(main())


def test_generate_gives_what_the_engine_gives(engine: Engine) -> None:
    async def main() -> list[object]:
        async with AsyncEngine(engine) as front:
            return await asyncio.gather(*(front.generate(prompt, config) for prompt, config in ASKED))

    for (prompt, config), output in zip(ASKED, asyncio.run(main()), strict=True):
        alone = engine.generate(prompt, config)
        assert (output.sequences, output.sequences_scores) == (alone.sequences, alone.sequences_scores)
        assert (output.texts, output.finish_reasons) == (alone.texts, alone.finish_reasons)


def test_many_loops_in_many_threads_share_an_engine(engine: Engine) -> None:
    prompts = [[3 + number, *range(3, 3 + length)] for number in range(4) for length in (2, 9, 30)]
    config = GenerationConfig(max_new_tokens=10, temperature=1.2, seed=9, choices=("hello there", "seven", "my name"))
    alone = {tuple(prompt): engine.generate(prompt, config).token_logprobs for prompt in prompts}
    heard: dict[tuple[int, ...], object] = {}
    front = AsyncEngine(engine)

    async def ask(own: list[list[int]]) -> None:
        outputs = await asyncio.gather(*(front.generate(prompt, config) for prompt in own))
        heard.update({tuple(prompt): output.token_logprobs for prompt, output in zip(own, outputs, strict=True)})

    threads = [threading.Thread(target=lambda first=first: asyncio.run(ask(prompts[first::4]))) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asyncio.run(front.aclose())
    assert heard == alone


# Cancelling.


async def leave_by_closing(stream: AsyncIterator[Event]) -> None:
    await stream.aclose()
    assert [event async for event in stream] == []


async def leave_by_cancelling(stream: AsyncIterator[Event]) -> None:
    task = asyncio.ensure_future(all_of(stream))
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def leave_by_forgetting(stream: AsyncIterator[Event]) -> None:
    """The caller's last name for it goes."""


@pytest.mark.parametrize("leave", [leave_by_closing, leave_by_cancelling, leave_by_forgetting])
@pytest.mark.parametrize(("num_beams", "num_heard"), [(1, 0), (1, 1), (1, 5), (4, 0)])
def test_one_who_leaves_stops_that_request_only(
    engine: Engine, gate: Gate, leave: Callable, num_beams: int, num_heard: int
) -> None:
    async def listen_and_leave(front: AsyncEngine) -> None:
        config = GenerationConfig(max_new_tokens=100, min_new_tokens=100, num_beams=num_beams)
        stream = front.stream([5, 6, 7], config)
        gate.allow(num_heard + 1)
        for _ in range(num_heard):
            await anext(stream)
        streams.append(stream if leave is not leave_by_forgetting else None)
        await leave(stream)

    async def main() -> None:
        async with AsyncEngine(engine) as front:
            other = asyncio.ensure_future(all_of(front.stream(*ASKED[1])))
            await listen_and_leave(front)
            gate.open()
            await front.generate([9], SHORT)  # asked for later than the word to stop
            assert engine.scheduler.num_running <= 1
            heard.append(await other)
            assert engine.scheduler.is_idle

    heard: list[list[Event]] = []
    streams: list[AsyncIterator[Event] | None] = []
    asyncio.run(main())
    engine.forget()
    assert heard == [without_costs(engine.stream(*ASKED[1]))]


def test_a_cancelled_generate_stops_too(engine: Engine, gate: Gate) -> None:
    async def main() -> None:
        async with AsyncEngine(engine) as front:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(front.generate([5], LONG), timeout=0.02)
            gate.open()
            await front.generate([9], SHORT)
            assert engine.scheduler.is_idle

    asyncio.run(main())


def test_a_caller_whose_loop_is_gone_disturbs_nobody(engine: Engine, gate: Gate) -> None:
    async def ask() -> AsyncIterator[Event]:
        return front.stream([5, 6], LONG)

    front = AsyncEngine(engine)
    loop = asyncio.new_event_loop()
    deaf = loop.run_until_complete(ask())
    loop.close()
    gate.open()

    async def main() -> list[Event]:
        async with front:
            heard = await all_of(front.stream(*ASKED[0]))
            assert engine.scheduler.is_idle
            return heard

    assert asyncio.run(main()) == without_costs(engine.stream(*ASKED[0]))
    del deaf


# The queue.


def test_a_full_queue_refuses_at_the_call(engine: Engine, gate: Gate) -> None:
    async def main() -> None:
        async with AsyncEngine(engine, max_waiting=3) as front:
            waiting = [front.stream([5], SHORT)]
            assert gate.is_reached.wait(timeout=60)  # the first is the thread's, the others are not yet
            waiting += [front.stream([6 + number], SHORT) for number in range(2)]
            with pytest.raises(BusyError, match="3 requests wait already, expected at most 3; try again later"):
                front.stream([9], SHORT)
            with pytest.raises(BusyError):
                await front.generate([9], SHORT)
            gate.open()
            assert [len(await all_of(stream)) for stream in waiting] == [5, 5, 5]
            await front.generate([9], SHORT)

    asyncio.run(main())


def test_those_that_run_do_not_wait(engine: Engine, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("duologue.generation.scheduler.MAX_REPLYING", 2)

    async def main() -> None:
        async with AsyncEngine(engine, max_waiting=1) as front:
            running = []
            for token in (5, 6):
                running.append(front.stream([token], LONG))
                gate.allow(2)
                await anext(running[-1])
            last = front.stream([7], SHORT)
            with pytest.raises(BusyError):
                front.stream([8], SHORT)
            gate.open()
            assert [len(await all_of(stream)) for stream in (*running, last)] == [100, 100, 5]

    asyncio.run(main())


def test_nothing_is_done_while_there_is_nothing_to_do(engine: Engine, gate: Gate) -> None:
    gate.open()

    async def main() -> None:
        async with AsyncEngine(engine) as front:
            await front.generate([5], SHORT)
            steps = gate.num_steps
            await asyncio.sleep(0.05)
            assert gate.num_steps == steps == 4
            await front.generate([6], SHORT)

    asyncio.run(main())


@pytest.mark.parametrize("max_waiting", [0, -1])
def test_a_queue_has_a_place(engine: Engine, max_waiting: int) -> None:
    with pytest.raises(ConfigError, match="max_waiting: is"):
        AsyncEngine(engine, max_waiting=max_waiting)


# Errors.


def test_what_can_be_known_before_is_raised_at_the_call(engine: Engine) -> None:
    async def main() -> None:
        async with AsyncEngine(engine) as front:
            for prompt, config, error in (
                ([], SHORT, DataError),
                ([5, 10**6], SHORT, DataError),
                ([5] * 128, SHORT, ContextLengthError),
                ([5], GenerationConfig(suppress_tokens=(10**6,)), ConfigError),
                ([5], GenerationConfig(regex="("), ConfigError),
            ):
                with pytest.raises(error):
                    front.stream(prompt, config)
            assert engine.scheduler.is_idle

    asyncio.run(main())


def test_an_error_reaches_its_own_caller_only(tmp_path: Path, write_model: Callable[..., Path]) -> None:
    engine = Engine.from_pretrained(write_model(tmp_path, UNTIED), max_slots=4096, deterministic=True)
    config = GenerationConfig(max_new_tokens=20, suppress_tokens=(299,))
    alone = [without_costs(engine.stream(prompt, config)) for prompt in ([5, 6], [7] * 30)]
    engine.forget()
    engine.model.model.embed_tokens.weight.data[299] = math.nan

    async def main() -> list[list[Event] | BaseException]:
        async with AsyncEngine(engine) as front:
            streams = [front.stream(prompt, config) for prompt in ([5, 6], [299, 5], [7] * 30)]
            heard = await asyncio.gather(*map(all_of, streams), return_exceptions=True)
            with pytest.raises(NumericalError):
                streams[1].output()
            with pytest.raises(NumericalError):
                await front.generate([299], config)
            return heard

    one, broken, other = asyncio.run(main())
    assert isinstance(broken, NumericalError)
    assert [one, other] == alone


def test_an_error_of_a_step_ends_what_runs_and_no_more(engine: Engine) -> None:
    scheduler, scorer, numbers = engine.scheduler, engine.scheduler.scorer, itertools.count(1)
    alone = engine.generate([8], SHORT).sequences

    def run(rows: Sequence[Rows]) -> Tensor:
        if next(numbers) == 5:
            raise MemoryError
        return scorer.run(rows)

    async def main() -> None:
        async with AsyncEngine(engine) as front:
            asked = [front.generate(prompt, config) for prompt, config in ASKED]
            errors = await asyncio.gather(*asked, return_exceptions=True)
            assert list(map(type, errors)) == [MemoryError] * len(ASKED)
            assert (await front.generate([8], SHORT)).sequences == alone

    scheduler.scorer = dataclasses.replace(scorer, run=run)
    asyncio.run(main())


# Closing.


def test_closing_cuts_off_what_runs_and_what_waits(engine: Engine, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("duologue.generation.scheduler.MAX_REPLYING", 2)

    async def main() -> tuple[list[Event], list[BaseException]]:
        async def hear(stream: AsyncIterator[Event], heard: list[Event]) -> None:
            async for event in stream:
                heard.append(event)

        front = AsyncEngine(engine)
        running, waiting = front.stream([5], LONG), front.stream([6], ASKED[2][1])
        gate.allow(3)
        heard = [await anext(running)]
        others = [asyncio.ensure_future(each) for each in (front.generate([7], LONG), front.aclose())]
        await asyncio.sleep(0)
        gate.open()
        await others[1]
        with pytest.raises(ClosedError, match="was closed before the reply was complete"):
            await hear(running, heard)
        errors = await asyncio.gather(all_of(waiting), others[0], return_exceptions=True)
        for ask in (lambda: front.stream([5]), lambda: front.stream([6], SHORT)):
            with pytest.raises(ClosedError, match="engine: is closed"):
                ask()
        await front.aclose()  # again is no error
        return heard, errors

    heard, errors = asyncio.run(main())
    assert isinstance(heard[-1], FinishEvent)
    assert heard[-1].reason is FinishReason.CANCELLED
    assert list(map(type, errors)) == [ClosedError, ClosedError]
    assert not any(thread.name == "duologue-engine" for thread in threading.enumerate())
    told = [event.token_id for event in heard[:-1]]
    assert told == engine.generate([5], LONG).sequences[0][: len(told)]  # the engine is free again


def test_what_is_complete_is_not_cut_off(engine: Engine) -> None:
    async def main() -> list[Event]:
        async with AsyncEngine(engine) as front:
            stream = front.stream([5], SHORT)
            await front.generate([6], LONG)
        return await all_of(stream)

    assert asyncio.run(main()) == without_costs(engine.stream([5], SHORT))
