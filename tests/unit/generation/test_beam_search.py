"""The search itself: against brute force, against a plain program, with and without pruning."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.unit.generation import beam_reference
from tests.unit.generation.beam_reference import NextLogprobs, Settings, Tokens, all_replies, next_in, random_table
from transformers import AutoModelForCausalLM, PreTrainedModel

from duologue.generation.beam_search import BeamSearch
from duologue.generation.config import GenerationConfig
from duologue.generation.engine import Engine
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.transformer.weights import load_transformer

EARLY_STOPPING = (True, False, "never")
LENGTH_PENALTIES = (-1.0, 0.0, 0.5, 1.0, 2.0)
Found = list[tuple[float, Tokens]]


def run(table: np.ndarray, config: GenerationConfig, *, width: int, ends: frozenset[int]) -> tuple[Found, int]:
    """The replies that our search keeps, the best first, and the number of beams that the bound ruled out."""
    search = BeamSearch(config, width=width, max_new_tokens=len(table), num_ends=len(ends))
    beams: list[Tokens] = [()]
    found: dict[object, Tokens] = {}
    num_bounded = 0
    while not search.is_over:
        last = [tokens[-1] if tokens else 0 for tokens in beams]
        step = search.advance(torch.from_numpy(table[search.step, last]), lambda _row, token: token in ends)
        found |= {done: (*beams[done.candidate.row], done.candidate.token_id) for done in step.entered}
        beams = [(*beams[candidate.row], candidate.token_id) for candidate in step.live]
        num_bounded += len(step.bounded)
    return [(done.score, found[done]) for done in search.finished], num_bounded


def config_of(settings: Settings, num_return_sequences: int = 1, **others: object) -> GenerationConfig:
    return GenerationConfig(
        num_beams=max(2, settings.width), num_return_sequences=num_return_sequences, patience=settings.patience,
        max_new_tokens=settings.max_new_tokens, early_stopping=settings.early_stopping,
        length_penalty=settings.length_penalty, num_beam_groups=settings.num_groups,
        diversity_penalty=settings.diversity_penalty, **others,
    )  # fmt: skip


def random_settings(rng: random.Random, *, patience: float = 1.0) -> tuple[Settings, np.ndarray]:
    vocab_size, length = rng.randint(3, 6), rng.randint(1, 6)
    ends = frozenset(rng.sample(range(vocab_size), rng.randint(0, 3)))
    settings = Settings(
        rng.randint(1, 5), length, ends, rng.choice(LENGTH_PENALTIES), rng.choice(EARLY_STOPPING), patience
    )
    sharpness = rng.choice((0.5, 1.5, 3.0))
    return settings, random_table(rng.randrange(2**40), length=length, vocab_size=vocab_size, sharpness=sharpness)


def is_same(ours: Found, theirs: Found) -> bool:
    scores = [score for score, _ in ours], [score for score, _ in theirs]
    return [tokens for _, tokens in ours] == [tokens for _, tokens in theirs] and np.allclose(*scores, rtol=1e-12)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
@pytest.mark.parametrize("early_stopping", EARLY_STOPPING)
def test_wide_enough_it_finds_the_best_of_all(early_stopping: bool | str, length_penalty: float) -> None:
    rng = random.Random(0)
    for seed in range(8):
        ends = frozenset(rng.sample(range(4), rng.randint(1, 2)))
        table = random_table(seed, length=4, vocab_size=4, sharpness=1.5)
        scored = [(score / len(tokens) ** length_penalty, tokens) for tokens, score in all_replies(table, ends).items()]
        settings = Settings(4**3, 4, ends, length_penalty, early_stopping)
        ours, _ = run(table, config_of(settings, num_return_sequences=8), width=4**3, ends=ends)
        assert is_same(ours[:8], sorted(scored, reverse=True)[:8])


@pytest.mark.parametrize("patience", [0.5, 1.0, 2.0, 3.0])
def test_it_is_the_plain_search(patience: float) -> None:
    rng = random.Random(patience)
    for _ in range(500):
        settings, table = random_settings(rng, patience=patience)
        if round(settings.width * patience) == 0:
            continue
        theirs = beam_reference.search(next_in(table), settings)
        ours, _ = run(table, config_of(settings, prune="off"), width=settings.width, ends=settings.ends)
        assert is_same(ours, theirs), settings


@pytest.mark.parametrize(
    ("patience", "count"),
    [(1.0, 2_000), (0.6, 1_000), (2.0, 1_000), pytest.param(1.0, 100_000, marks=pytest.mark.soak)],
)
def test_pruning_changes_nothing(patience: float, count: int) -> None:
    rng = random.Random(patience + count)
    num_bounded = 0
    for _ in range(count):
        settings, table = random_settings(rng, patience=patience)
        wanted = rng.randint(1, min(settings.width, max(1, round(settings.width * patience))))
        (exact, bounded), (whole, none) = (
            run(table, config_of(settings, wanted, prune=prune), width=settings.width, ends=settings.ends)
            for prune in ("exact", "off")
        )
        assert exact[:wanted] == whole[:wanted], settings
        assert not none
        num_bounded += bounded
    assert num_bounded > count / 20  # else nothing was shown


@pytest.mark.parametrize(
    ("bias", "renormalize_logits", "is_pruned"), [(-2.0, False, True), (2.0, False, False), (2.0, True, True)]
)
def test_pruning_is_off_where_a_score_may_rise(bias: float, renormalize_logits: bool, is_pruned: bool) -> None:
    rng = random.Random(2)
    num_bounded = 0
    for _ in range(50):
        settings, table = random_settings(rng)
        config = config_of(settings, sequence_bias=(((1,), bias),), renormalize_logits=renormalize_logits)
        num_bounded += run(table, config, width=settings.width, ends=settings.ends)[1]
    assert (num_bounded > 0) == is_pruned


def test_one_beam_is_greedy() -> None:
    rng = random.Random(3)
    num_ended = 0
    for _ in range(300):
        settings, table = random_settings(rng)
        stops_at_once = [(True, penalty) for penalty in LENGTH_PENALTIES] + [(False, 0.0), ("never", 0.0)]
        early_stopping, length_penalty = rng.choice(stops_at_once)
        tokens: Tokens = ()
        while len(tokens) < len(table) and not settings.ends & set(tokens):
            tokens = (*tokens, int(next_in(table)(tokens).argmax()))
        one = Settings(1, len(table), settings.ends, length_penalty, early_stopping)
        ours, _ = run(table, config_of(one), width=1, ends=one.ends)
        assert ours[0][1] == tokens
        num_ended += len(tokens) < len(table)
    assert num_ended > 50


def test_more_patience_finds_more_replies() -> None:
    """A patient search stops later, with as many more replies, and what it found before is still ranked."""
    table = random_table(4, length=12, vocab_size=6, sharpness=1.0)
    ends = frozenset({1})
    counts = []
    for patience in (0.5, 1.0, 2.0, 3.0):
        config = config_of(Settings(4, 12, ends, 1.0, True, patience), prune="off")
        ours, _ = run(table, config, width=4, ends=ends)
        counts.append(len(ours))
        assert [score for score, _ in ours] == sorted((score for score, _ in ours), reverse=True)
    assert counts == [2, 4, 8, 12]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_model: Callable[..., Path]) -> Path:
    return write_model(tmp_path_factory.mktemp("search"), seed=2)


@pytest.fixture(scope="module")
def oracle(folder: Path) -> PreTrainedModel:
    return sharpened(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64))


@pytest.fixture(scope="module")
def double_engine(folder: Path) -> Engine:
    model = sharpened(load_transformer(folder).double())
    return Engine(model, Tokenizer.from_pretrained(folder), max_slots=2048)


def sharpened(model: torch.nn.Module) -> torch.nn.Module:
    """The same model, surer of what it says: else all replies are about as probable."""
    with torch.no_grad():
        model.model.norm.weight *= 6
    return model


def next_of_model(oracle: PreTrainedModel, prompt: list[int]) -> NextLogprobs:
    """Log-probabilities from a forward pass over prompt and reply as a whole."""
    known: dict[Tokens, np.ndarray] = {}

    def next_logprobs(tokens: Tokens) -> np.ndarray:
        if tokens not in known:
            with torch.inference_mode():
                logits = oracle(torch.tensor([[*prompt, *tokens]]), use_cache=False).logits[0, -1]
            known[tokens] = logits.log_softmax(dim=-1).numpy()
        return known[tokens]

    return next_logprobs


def with_ends(next_logprobs: NextLogprobs, settings: Settings, num_ends: int) -> Settings:
    """The settings with tokens as ends that the search meets: those of its replies if nothing ended them."""
    replies = beam_reference.search(next_logprobs, settings)
    met = dict.fromkeys(token for _, tokens in replies for token in tokens[2:])
    return replace(settings, ends=frozenset(list(met)[:num_ends]))


@pytest.mark.parametrize(
    "options",
    [
        {"width": 4},
        {"width": 4, "patience": 2.0, "early_stopping": True},
        {"width": 5, "length_penalty": -0.5, "early_stopping": "never"},
        {"width": 4, "num_groups": 2},
        {"width": 4, "num_groups": 2, "diversity_penalty": 0.7},
        {"width": 6, "num_groups": 3, "diversity_penalty": 2.0, "length_penalty": 0.0},
        {"width": 6, "num_groups": 3, "diversity_penalty": 1.0, "early_stopping": True, "patience": 1.5},
        {"width": 4, "num_groups": 4, "diversity_penalty": 1.5, "early_stopping": "never"},
    ],
)
def test_the_engine_searches_as_the_plain_search_does(
    double_engine: Engine, oracle: PreTrainedModel, options: dict[str, float]
) -> None:
    rng = random.Random(5)
    num_short = 0
    for num_ends in (1, 3, 1, 3):
        prompt = [rng.randrange(3, 300) for _ in range(rng.randint(1, 12))]
        next_logprobs = next_of_model(oracle, prompt)
        settings = with_ends(next_logprobs, Settings(max_new_tokens=8, ends=frozenset(), **options), num_ends)
        double_engine.eos_token_ids = settings.ends
        output = double_engine.generate(prompt, config_of(settings, num_return_sequences=settings.width))
        theirs = beam_reference.search(next_logprobs, settings)[: settings.width]
        assert [tuple(ids) for ids in output.sequences] == [tokens for _, tokens in theirs]
        assert output.sequences_scores == pytest.approx([score for score, _ in theirs], abs=1e-5)
        num_short += any(len(tokens) < settings.max_new_tokens for _, tokens in theirs)
    assert num_short  # some replies ended by themselves


def test_groups_without_a_penalty_are_alike(double_engine: Engine) -> None:
    """Each group is then a plain search of its width."""
    double_engine.eos_token_ids = frozenset({7})
    groups = GenerationConfig(max_new_tokens=8, num_beams=6, num_beam_groups=3, num_return_sequences=6)
    plain = GenerationConfig(max_new_tokens=8, num_beams=2, num_return_sequences=2)
    together, alone = (double_engine.generate([5, 6, 7], config).sequences for config in (groups, plain))
    assert together == [ids for ids in alone for _ in range(3)]
