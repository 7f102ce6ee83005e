"""What a beam search tells while it runs: nothing is taken back, the tree holds together, and no slot is lost."""

import contextlib
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.unit.generation import beam_reference
from tests.unit.generation.beam_reference import logprob_of, next_in, random_table
from torch import Tensor

from duologue.errors import NumericalError
from duologue.generation.beam_search import BeamSearch
from duologue.generation.beams import Beams
from duologue.generation.config import GenerationConfig
from duologue.generation.engine import Engine
from duologue.generation.events import (
    BeamCommitEvent,
    BeamExpandEvent,
    BeamFinishEvent,
    BeamNode,
    BeamPruneEvent,
    Event,
    FinishEvent,
    FinishReason,
    GenerationStats,
    TokenEvent,
)
from duologue.generation.kv_arena import KVArena
from duologue.generation.reply import Reply, Task
from duologue.generation.rows import Rows, run_rows
from duologue.generation.token_tree import TokenTree
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.transformer.config import TransformerConfig
from duologue.transformer.model import Transformer
from duologue.transformer.weights import load_transformer

PROMPT = [0, 0]
SMALLEST = TransformerConfig(
    hidden_size=2, num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1, head_dim=2, intermediate_size=2
)
LONG = TransformerConfig(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8, intermediate_size=64,
    max_position_embeddings=1280,
)  # fmt: skip


class Letters:
    """A tokenizer of one letter for each token."""

    vocab_size = 26

    def stream_decoder(self) -> "Letters":
        return self

    def push(self, token_id: int) -> str:
        return chr(97 + token_id)

    def flush(self) -> str:
        return ""

    def decode(self, token_ids: Iterable[int]) -> str:
        return "".join(map(self.push, token_ids))


@dataclass
class Alternatives:
    """A constraint that leads into dead ends: what is open follows from all tokens so far, by chance."""

    seed: int
    vocab_size: int
    share: float
    start: tuple[int, ...] = ()

    def allowed(self, state: tuple[int, ...]) -> Tensor:
        generator = torch.Generator().manual_seed(hash((self.seed, *state)) % 2**60)
        return torch.rand(self.vocab_size, generator=generator) < self.share

    def advance(self, state: tuple[int, ...], token_id: int) -> tuple[int, ...]:
        return (*state, token_id)


@dataclass
class TableSearch:
    """A beam search whose logits come from a table by place and last token, [L, V, V], instead of a model."""

    table: np.ndarray
    config: GenerationConfig
    ends: frozenset[int]
    constraint: Alternatives | None = None
    events: list[Event] = field(default_factory=list)
    has_taken: bool = False

    def __post_init__(self) -> None:
        vocab_size, arena = self.table.shape[1], KVArena(SMALLEST, num_slots=256, dtype=torch.float32)
        task = Task(PROMPT, self.config, Letters(), vocab_size, self.ends, self.config.max_new_tokens, b"",  # type: ignore[arg-type]
                    self.constraint)  # fmt: skip
        self.writer, self.tree = Beams(task, GenerationStats()), TokenTree(arena.lend(256), PROMPT)
        self.writer.tells_beams = True
        self.writer.begin(self.tree, len(PROMPT) - 1)
        self.read = {slot: PROMPT[: slot + 1] for slot in range(len(PROMPT))}  # what a slot stands for

    def step(self) -> None:
        if self.has_taken:
            rows = self.writer.rows()
            self.read |= {slot: self.tokens_to(slot) for slot in rows.slots}
            logits_NV = self.table[[place - len(PROMPT) + 1 for place in rows.positions], list(rows.token_ids)]
        else:
            logits_NV = self.table[:1, 0]
        self.has_taken = True
        self.events += Beams.take([(self.writer, torch.from_numpy(logits_NV).float())])[0]

    def cancel(self) -> None:
        self.events += self.writer.cancel()

    def tokens_to(self, slot: int) -> list[int]:
        return [self.tree.tokens[each] for each in self.tree.path(slot)]

    @property
    def told(self) -> list[int]:
        return [event.token_id for event in self.events if isinstance(event, TokenEvent)]

    def num_reachable(self) -> int:
        """Slots of the prompt, of the beams and of what finished replies have read."""
        groups = self.writer._groups
        nodes = [node for group in groups for node in (*group.beams, *group.finished.values())]
        return len({node.slot for leaf in nodes for node in leaf.path() if node.slot >= 0}) + len(PROMPT)


def random_search(rng: random.Random, *, is_plain: bool = False) -> TableSearch:
    """A search of any kind; a plain one has nothing that ``beam_reference`` does not know."""
    vocab_size, length = rng.randint(3, 6), rng.randint(1, 10)
    sharpness = rng.choice((0.5, 1.5, 3.0))
    table = random_table(rng.randrange(2**40), length=length, vocab_size=vocab_size, sharpness=sharpness)
    ends = frozenset(rng.sample(range(vocab_size), rng.randint(0, 2)))
    width = rng.choice((2, 3, 4, 6))
    options: dict[str, object] = {"num_beams": width, "num_return_sequences": rng.randint(1, width),
                                  "max_new_tokens": length, "length_penalty": rng.choice((-1.0, 0.0, 0.5, 1.0, 2.0)),
                                  "early_stopping": rng.choice((True, False, "never"))}  # fmt: skip
    kind = rng.choice(("one", "groups") if is_plain else ("one", "groups", "stochastic"))
    if kind == "groups":
        options["num_beam_groups"] = rng.choice([n for n in range(2, width + 1) if width % n == 0])
        options["diversity_penalty"] = rng.choice((0.0, 0.5, 2.0))
    if kind == "stochastic":
        options |= {"beam_mode": "stochastic", "early_stopping": False, "length_penalty": 1.0}
    constraint = None
    if not is_plain:
        options["stop_strings"] = rng.choice(((), ("ab",), ("c", "bab")))
        options["min_new_tokens"] = rng.randint(0, min(3, length))
        if rng.random() < 0.5:
            options["regex"] = "any"  # says that there is a constraint
            constraint = Alternatives(rng.randrange(2**30), vocab_size, rng.choice((0.25, 0.5)))
    return TableSearch(table, GenerationConfig(**options), ends, constraint)


def check_replies(search: TableSearch) -> None:
    """Each reply is a reply of this model, the first one is what was told, and no two are the same."""
    replies = search.writer.replies
    assert 1 <= len(replies) <= search.config.num_return_sequences
    assert search.told == replies[0].token_ids
    for reply in replies:
        assert reply.sum_logprob == pytest.approx(logprob_of(search.table, tuple(reply.token_ids)), abs=1e-3)
        own = [event.text for event in search.events if getattr(event, "sequence", None) == reply.index]
        assert "".join(own) == reply.text.text == text_of(reply, search.config)
    kept = search.tree.path(search.writer.best_slot())  # for the next turn
    assert [search.read[slot] for slot in kept] == [search.tokens_to(slot) for slot in kept]
    assert search.tokens_to(kept[-1]) == [*PROMPT, *replies[0].token_ids][: len(kept)]
    if search.config.num_beam_groups == 1:
        assert len({tuple(reply.token_ids) for reply in replies}) == len(replies)


def text_of(reply: Reply, config: GenerationConfig) -> str:
    text = Letters().decode(reply.token_ids)
    return text[: min([text.find(stop) for stop in config.stop_strings if stop in text], default=len(text))]


@pytest.mark.parametrize(("seed", "count"), [(0, 700), pytest.param(1, 20_000, marks=pytest.mark.soak)])
def test_nothing_is_taken_back_and_no_slot_is_lost(seed: int, count: int) -> None:
    rng = random.Random(seed)
    ends: list[FinishReason | None] = []
    for _ in range(count):
        search = random_search(rng)
        while not search.writer.is_done:
            search.step()
            if not search.writer.is_done:
                assert search.tree.num_used == search.num_reachable()
        check_replies(search)
        TreeWatch().see_all(search.events, search.writer.replies[0])
        ends.append(search.writer.replies[0].finish_reason)
    assert {FinishReason.STOP, FinishReason.LENGTH, FinishReason.DEAD_END} <= set(ends)


def test_a_draw_that_comes_to_a_dead_end_keeps_only_what_still_stands() -> None:
    """Its slots may be others' by then."""
    rng = random.Random(8)
    num_dead = 0
    while num_dead < 300:
        search = random_search(rng)
        if search.constraint is None or not search.config.is_stochastic:
            continue
        while not search.writer.is_done:
            search.step()
        check_replies(search)
        num_dead += search.writer.replies[0].finish_reason is FinishReason.DEAD_END


@dataclass
class TreeWatch:
    """Follows the events of a search and holds that they make a tree."""

    steps: dict[int, int] = field(default_factory=lambda: {0: 0})
    nodes: dict[int, BeamNode] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    finished: set[int] = field(default_factory=set)
    committed: int = 0

    def see_all(self, events: list[Event], best: Reply, *, is_cancelled: bool = False) -> None:
        told: list[int] = []
        for event in events:
            if isinstance(event, TokenEvent):
                told.append(event.token_id)
            elif not isinstance(event, FinishEvent):
                self.see(event, told)
        assert self.committed == len(best.token_ids)
        parents = {node.parent for node in self.nodes.values()}
        leaves = set(self.nodes) - parents
        assert is_cancelled or leaves <= self.gone | self.finished  # each beam's end is told

    def see(self, event: Event, told: list[int]) -> None:
        match event:
            case BeamExpandEvent(step, nodes):
                for node in nodes:
                    self.expand(step, node)
            case BeamPruneEvent(ids):
                assert ids
                assert not set(ids) & (self.gone | self.finished)
                self.gone |= set(ids)
            case BeamFinishEvent(id):
                assert id not in self.gone | self.finished
                self.finished.add(id)
            case BeamCommitEvent(num_tokens, id):
                self.committed += 1
                assert num_tokens == self.committed == len(told)
                assert self.path(id) == told

    def path(self, node: int) -> list[int]:
        """The tokens up to a node; within one group no two nodes have the same."""
        return [*self.path(self.nodes[node].parent), self.nodes[node].token_id] if node else []

    def expand(self, step: int, node: BeamNode) -> None:
        assert node.id not in self.steps
        assert self.steps[node.parent] == step - 1
        assert node.parent not in self.gone | self.finished
        self.nodes[node.id], self.steps[node.id] = node, step


def test_the_best_reply_is_that_of_the_plain_search() -> None:
    rng = random.Random(2)
    for _ in range(300):
        search = random_search(rng, is_plain=True)
        while not search.writer.is_done:
            search.step()
        config = search.config
        settings = beam_reference.Settings(
            config.num_beams, config.max_new_tokens, search.ends, config.length_penalty, config.early_stopping,
            num_groups=config.num_beam_groups, diversity_penalty=config.diversity_penalty,
        )  # fmt: skip
        theirs = beam_reference.search(next_in(search.table), settings)
        theirs = theirs[: config.num_return_sequences]
        assert [tuple(reply.token_ids) for reply in search.writer.replies] == [tokens for _, tokens in theirs]
        scores = [reply.score for reply in search.writer.replies]
        assert scores == pytest.approx([score for score, _ in theirs], abs=1e-3)


@pytest.mark.parametrize(("seed", "count"), [(3, 150), pytest.param(4, 3_000, marks=pytest.mark.soak)])
def test_cancelled_at_any_step_the_best_reply_begins_with_what_was_told(seed: int, count: int) -> None:
    rng = random.Random(seed)
    num_cut = 0
    for _ in range(count):
        state, num_steps = rng.getstate(), 0
        while True:
            rng.setstate(state)
            search = random_search(rng)
            for _ in range(num_steps):
                search.step()
            told = search.told
            if search.writer.is_done:
                break
            search.cancel()
            assert search.writer.replies[0].token_ids[: len(told)] == told
            if num_steps:
                check_replies(search)
            TreeWatch().see_all(search.events, search.writer.replies[0], is_cancelled=True)
            reasons = {reply.finish_reason for reply in search.writer.replies}
            assert FinishReason.CANCELLED in reasons or len(search.writer.replies) == search.config.num_return_sequences
            num_steps += 1
            num_cut += bool(told)
    assert num_cut > count


@pytest.fixture(scope="module")
def sharp_folder(tmp_path_factory: pytest.TempPathFactory, write_model: Callable[..., Path]) -> Path:
    return write_model(tmp_path_factory.mktemp("events"), LONG, seed=6)


@pytest.fixture
def sharp_engine(sharp_folder: Path) -> Engine:
    return sharp_engine_of(sharp_folder)


def sharp_engine_of(folder: Path, sharpness: float = 6) -> Engine:
    """An engine that has read nothing, over a model that is surer of what it says than random weights are."""
    model = load_transformer(folder)
    with torch.no_grad():
        model.model.norm.weight *= sharpness
    return Engine(model, Tokenizer.from_pretrained(folder), eos_token_ids=[7, 8, 9], max_slots=4096)


SEARCHES = [
    GenerationConfig(max_new_tokens=12, num_beams=4, num_return_sequences=4, early_stopping="never", length_penalty=0),
    GenerationConfig(max_new_tokens=12, num_beams=3, repetition_penalty=1.3, no_repeat_ngram_size=2, min_new_tokens=5),
    GenerationConfig(max_new_tokens=12, num_beams=6, num_beam_groups=3, diversity_penalty=1.0, num_return_sequences=3),
    GenerationConfig(max_new_tokens=12, num_beams=4, beam_mode="stochastic", num_return_sequences=4, seed=1),
]
PROMPTS = [[5, 90, 17], list(range(30, 75))]


def is_whole(engine: Engine) -> bool:
    """Whether no slot is lost."""
    is_conserved = engine.arena.num_free + engine.arena.num_lent == engine.arena.num_slots
    engine.forget()
    return is_conserved and engine.arena.num_free == engine.arena.num_slots


@pytest.mark.parametrize("config", SEARCHES)
def test_log_probabilities_are_those_of_a_fresh_pass(sharp_engine: Engine, config: GenerationConfig) -> None:
    for prompt in PROMPTS:
        output = sharp_engine.generate(prompt, config)
        sharp_engine.forget()
        for scored in sharp_engine.score(prompt, output.sequences):
            told = output.token_logprobs[scored.index]
            assert told == pytest.approx(scored.token_logprobs, abs=1e-4)
            assert output.sum_logprobs[scored.index] == pytest.approx(sum(told), abs=1e-4)


@pytest.mark.parametrize("config", SEARCHES)
def test_events_of_the_engine_tell_the_best_reply(sharp_engine: Engine, config: GenerationConfig) -> None:
    for prompt in PROMPTS:
        output = sharp_engine.generate(prompt, config)
        for tells_beams in (False, True):
            events = list(sharp_engine.stream(prompt, config, tells_beams=tells_beams))
            first = [event for event in events if getattr(event, "sequence", 0) == 0]
            assert "".join(event.text for event in first) == output.texts[0]
            told = [event for event in events if isinstance(event, TokenEvent)]
            assert [event.token_id for event in told] == output.sequences[0]
            assert [event.logprob for event in told] == pytest.approx(output.token_logprobs[0], abs=1e-4)
            ends = [event for event in events if isinstance(event, FinishEvent)]
            assert [event.text for event in ends[1:]] == output.texts[1:]
            assert any(isinstance(event, BeamExpandEvent) for event in events) == tells_beams


@pytest.mark.parametrize("config", SEARCHES)
def test_a_closed_stream_loses_no_slot_and_spoils_nothing(sharp_engine: Engine, config: GenerationConfig) -> None:
    expected = sharp_engine.generate(PROMPTS[1], config)
    sharp_engine.forget()
    for num_events in range(1, 40, 2):
        stream = sharp_engine.stream(PROMPTS[1], config, tells_beams=True)
        told = [event for event, _ in zip(stream, range(num_events), strict=False) if isinstance(event, TokenEvent)]
        stream.close()
        going_on = [*PROMPTS[1], *(event.token_id for event in told), 3]
        again = sharp_engine.generate(going_on, GenerationConfig(max_new_tokens=4))
        assert again.stats.cached_tokens >= len(PROMPTS[1])
        assert is_whole(sharp_engine)
        fresh = sharp_engine.generate(going_on, GenerationConfig(max_new_tokens=4))
        assert fresh.stats.cached_tokens == 0
        assert again.sequences == fresh.sequences
        assert again.sum_logprobs == pytest.approx(fresh.sum_logprobs, abs=1e-4)
        sharp_engine.forget()
    assert sharp_engine.generate(PROMPTS[1], config).sequences == expected.sequences


def breaks_off(wrapped: Callable[..., object], stop: type[BaseException], num_calls: int) -> Callable[..., object]:
    """The same function, which works so many times and then no more."""
    left = iter(range(num_calls))

    def call(*given: object) -> object:
        if next(left, None) is None:
            raise stop("now")
        return wrapped(*given)

    return call


@pytest.mark.parametrize("stop", [KeyboardInterrupt, NumericalError, RuntimeError])
@pytest.mark.parametrize(("owner", "name"), [(Transformer, "hidden"), (BeamSearch, "advance")])
@pytest.mark.parametrize("num_calls", [0, 1, 5])
def test_a_pass_that_breaks_off_loses_no_slot_and_spoils_nothing(
    sharp_engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    stop: type[BaseException],
    owner: type,
    name: str,
    num_calls: int,
) -> None:
    prompt, config = PROMPTS[1], SEARCHES[2]  # of its groups, some may be a step ahead
    other = sharp_engine.stream(PROMPTS[0], SEARCHES[0])
    before = [next(other), next(other)]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, breaks_off(getattr(owner, name), stop, num_calls))
        with pytest.raises(stop):
            sharp_engine.generate(prompt, config)
    with contextlib.suppress(stop):  # it was in the same pass, or goes on as if nothing had been
        told = before + list(other)
        ids = [event.token_id for event in told if isinstance(event, TokenEvent) and not event.sequence]
        assert ids == sharp_engine.generate(PROMPTS[0], SEARCHES[0]).sequences[0]
    assert sharp_engine.scheduler.is_idle
    going_on = [*prompt, *range(40, 50)]
    again = sharp_engine.generate(going_on, config)
    assert again.stats.cached_tokens in ((0, len(prompt)) if stop is KeyboardInterrupt else (0,))
    assert is_whole(sharp_engine)
    fresh = sharp_engine.generate(going_on, config)
    assert again.sequences == fresh.sequences
    assert again.sum_logprobs == pytest.approx(fresh.sum_logprobs, abs=1e-4)
    assert is_whole(sharp_engine)


def test_ctrl_c_keeps_the_prompt_that_was_read(sharp_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Transformer, "hidden", breaks_off(Transformer.hidden, KeyboardInterrupt, 3))
        with pytest.raises(KeyboardInterrupt):
            sharp_engine.generate(PROMPTS[1], SEARCHES[0])
    again = sharp_engine.generate([*PROMPTS[1], 5], SEARCHES[0])
    assert again.stats.cached_tokens == len(PROMPTS[1])


def test_what_one_beam_wrote_changes_no_other_beam(sharp_engine: Engine) -> None:
    config = GenerationConfig(max_new_tokens=12, min_new_tokens=12, num_beams=4)
    request = sharp_engine.request(PROMPTS[0], config)
    sharp_engine.scheduler.submit(request)
    sharp_engine.scheduler.step()
    num_changed = 0
    while not request.is_over:
        rows = request.rows(config.num_beams)
        hidden = run_rows(sharp_engine.model, [rows])
        num_changed += sum(is_changed_alone(sharp_engine, rows, row, hidden) for row in range(len(rows)))
        logits = sharp_engine.model.logits(hidden).float()
        request.tell(type(request.writer).take([(request.writer, logits)])[0])
    assert num_changed > 8


def is_changed_alone(engine: Engine, rows: Rows, row: int, hidden: Tensor) -> bool:
    """Whether a beam has slots of its own; what is written there by chance must then change it, and it alone."""
    is_seen = rows.mask == 0
    own = is_seen[row] & (is_seen.sum(dim=0) == 1)
    own[rows.slots[row]] = False  # will be written again
    slabs = [slab[rows.lane.start :][: len(own)] for slab in engine.arena.slabs]
    kept = [slab.clone() for slab in slabs]
    for slab in slabs:
        slab[own] = torch.randn(slab[own].shape)
    after = run_rows(engine.model, [rows])
    for slab, old in zip(slabs, kept, strict=True):
        slab.copy_(old)
    others = [other for other in range(len(rows)) if other != row]
    assert torch.equal(after[others], hidden[others])
    assert torch.equal(after[row], hidden[row]) == (not own.any())
    return bool(own.any())


@pytest.mark.parametrize("seed", range(4))
def test_eight_beams_hold_hardly_more_than_one_stream(
    tmp_path: Path, write_model: Callable[..., Path], seed: int
) -> None:
    """Beams have most of their past in common, unless a model goes round in circles: no beam then overtakes another."""
    engine = sharp_engine_of(write_model(tmp_path, LONG, seed=seed), sharpness=3)
    prompt = [random.Random(seed).randrange(300) for _ in range(1000)]
    options = {"max_new_tokens": 256, "min_new_tokens": 256, "no_repeat_ngram_size": 3}
    one, eight = (engine.generate(prompt, GenerationConfig(num_beams=beams, **options)) for beams in (1, 8))
    ratio = eight.stats.peak_slots / one.stats.peak_slots
    print(f"8 beams: {eight.stats.peak_slots} slots, {ratio:.3f} times those of one stream")
    assert one.stats.peak_slots == 1000 + 255
    assert 1 < ratio <= 1.5
