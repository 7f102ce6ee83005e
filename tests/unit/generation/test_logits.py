"""Logits processors: what transformers makes of the same scores and ids, in the same order."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import GenerationConfig as TheirConfig
from transformers import GenerationMixin, PretrainedConfig

from duologue.errors import ConfigError
from duologue.generation.config import GenerationConfig
from duologue.generation.logits import (
    RowContext,
    check_token_settings,
    process_logits,
    process_scores,
    said_after,
    uses_history,
    warp_for_sampling,
)

VOCAB, EOS = 40, (2, 7)
NUM_PROMPT = 5  # or all of a shorter row
CLOSED = float("-inf")
# Few ids in many places, so that runs of tokens come again.
ROWS = [random.Random(length).choices(range(2, 9), k=length) for length in (1, 2, 5, 6, 8, 11, 14, 17, 40)]
ROWS += [[6, 2, 3, 4], [8, 6, 2, 3, 4, 8]]

CHANGES: list[dict[str, Any]] = [
    # Of the same run the last counts; several runs may end in the same token.
    {"sequence_bias": (((5,), 1.7), ((4, 6), 0.9), ((3, 4, 5), 2.1), ((4, 5), 0.4), ((4, 6), -1.1), ((5,), 0.7),
                       ((2, 3), -0.3))},
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0.8},
    {"no_repeat_ngram_size": 1},
    {"no_repeat_ngram_size": 2},
    {"no_repeat_ngram_size": 3},
    {"no_repeat_ngram_size": 30},
    {"bad_words_ids": ((5,), (3, 6), (2, 4, 8), (8, 7), (2,), (39,))},
    {"bad_words_ids": ((2,), (7,), (4, 4))},
    {"min_new_tokens": 6},
    {"suppress_tokens": (0, 3, 39)},
    {"renormalize_logits": True},
]  # fmt: skip
WARPS: list[dict[str, Any]] = [
    {"temperature": 0.6},
    {"temperature": 3.5},
    {"top_k": 3},
    {"top_k": 1000},
    {"top_p": 0.7},
    {"top_p": 0.001},
    {"min_p": 0.2},
    {"min_p": 1.0},
    {"typical_p": 0.4},
    {"typical_p": 0.95},
    {"temperature": 1.4, "top_k": 20, "top_p": 0.9, "min_p": 0.02, "typical_p": 0.8},
]
ALL_CHANGES = CHANGES[0] | CHANGES[1] | CHANGES[4] | CHANGES[7] | CHANGES[9] | CHANGES[10]
SEVERAL = [
    CHANGES[0] | CHANGES[1],
    CHANGES[4] | CHANGES[8] | CHANGES[9],
    ALL_CHANGES,
    ALL_CHANGES | {"renormalize_logits": True},
    ALL_CHANGES | WARPS[-1],
    ALL_CHANGES | WARPS[-1] | {"renormalize_logits": True},
    CHANGES[2] | WARPS[8] | {"renormalize_logits": True},
]


class Theirs(GenerationMixin):
    """What transformers needs to make its list of processors."""

    config = PretrainedConfig()

    def __call__(self, ids: Sequence[int], scores_V: Tensor, settings: dict[str, Any], do_sample: bool) -> Tensor:
        values = ({"top_k": 0} if do_sample else {}) | {"do_sample": do_sample} | settings
        if "sequence_bias" in values:
            values["sequence_bias"] = [[list(run), bias] for run, bias in values["sequence_bias"]]
        if "bad_words_ids" in values:
            values["bad_words_ids"] = [list(word) for word in values["bad_words_ids"]]
        config = TheirConfig(**values)
        config._eos_token_tensor = torch.tensor(EOS)
        processors = self._get_logits_processor(config, input_ids_seq_length=min(NUM_PROMPT, len(ids)), device="cpu")
        return processors(torch.tensor([ids]), scores_V[None].clone())[0]


def random_scores(dtype: torch.dtype, num_rows: int = len(ROWS)) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(num_rows, VOCAB, generator=generator, dtype=dtype) * 3


def context_of(ids: Sequence[int], eos_token_ids: Collection[int] = EOS) -> RowContext:
    seen = torch.zeros(VOCAB, dtype=torch.bool)
    seen[list(ids)] = True
    return RowContext(ids, min(NUM_PROMPT, len(ids)), eos_token_ids, seen)


CONTEXTS = [context_of(ids) for ids in ROWS]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("settings", [*CHANGES, *WARPS, *SEVERAL], ids=str)
def test_all_settings_are_those_of_transformers(settings: dict[str, Any], dtype: torch.dtype) -> None:
    scores, config = random_scores(dtype), GenerationConfig(max_new_tokens=64, **settings)
    theirs = [Theirs()(ids, row, settings, config.is_sampling) for ids, row in zip(ROWS, scores, strict=True)]
    assert torch.equal(process_logits(scores, config, CONTEXTS), torch.stack(theirs))
    assert torch.equal(scores, random_scores(dtype))  # what came in is as it was


@pytest.mark.parametrize("settings", SEVERAL, ids=str)
def test_searches_leave_out_what_samples(settings: dict[str, Any]) -> None:
    logprobs, config = random_scores(torch.float64).log_softmax(dim=-1), GenerationConfig(max_new_tokens=64, **settings)
    changes = {name: value for name, value in settings.items() if name not in WARPS[-1]}
    theirs = [Theirs()(ids, row, changes, do_sample=False) for ids, row in zip(ROWS, logprobs, strict=True)]
    assert torch.equal(process_scores(logprobs, config, CONTEXTS), torch.stack(theirs))


@pytest.mark.parametrize("settings", [settings for settings in CHANGES if settings != {"no_repeat_ngram_size": 30}])
def test_every_setting_of_the_table_changes_something(settings: dict[str, Any]) -> None:
    scores, config = random_scores(torch.float32), GenerationConfig(max_new_tokens=64, **settings)
    assert not torch.equal(process_scores(scores, config, CONTEXTS), scores)
    assert uses_history(config)


class Untouchable:
    """Fails whoever looks at it."""

    def __getattr__(self, name: str) -> None:
        raise AssertionError(name)


def test_without_settings_the_same_tensor_comes_back() -> None:
    scores, config = random_scores(torch.float32), GenerationConfig()
    contexts: list[Any] = [Untouchable()] * len(scores)
    assert not uses_history(config)
    assert process_logits(scores, config, contexts) is scores
    assert process_scores(scores, config, contexts) is scores
    assert warp_for_sampling(scores, config) is scores


@pytest.mark.parametrize("settings", WARPS, ids=str)
def test_sampling_needs_no_context(settings: dict[str, Any]) -> None:
    scores, config = random_scores(torch.float32), GenerationConfig(**settings)
    assert not uses_history(config)
    assert torch.equal(process_logits(scores, config, []), warp_for_sampling(scores, config))


@pytest.mark.parametrize("name", ["repetition_penalty", "suppress_tokens", "renormalize_logits"])
def test_history_is_not_looked_at_where_nothing_asks_for_it(name: str) -> None:
    settings: dict[str, Any] = {"repetition_penalty": 1.2, "suppress_tokens": (3,), "renormalize_logits": True}
    unread: list[Any] = [replace(context, token_ids=Untouchable()) for context in CONTEXTS]
    config = GenerationConfig(**{name: settings[name]})
    scores = random_scores(torch.float32)
    assert torch.equal(process_logits(scores, config, unread), process_logits(scores, config, CONTEXTS))


def test_each_row_ends_with_its_own_tokens() -> None:
    contexts = [context_of([3, 4, 5, 6, 8], (2,)), context_of([3, 4, 5, 6, 8], (9,))]
    scores = torch.zeros(2, VOCAB)
    early = process_scores(scores, GenerationConfig(min_new_tokens=1), contexts)
    assert (early == CLOSED).nonzero().tolist() == [[0, 2], [1, 9]]
    bad = process_scores(scores, GenerationConfig(bad_words_ids=((2,), (9,))), contexts)
    assert (bad == CLOSED).nonzero().tolist() == [[0, 9], [1, 2]]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_no_run_of_tokens_is_said_twice(size: int) -> None:
    ids = np.random.default_rng(size).integers(0, 4, 60).tolist()
    for length in range(len(ids)):
        said = {tuple(ids[start : start + size]) for start in range(length - size + 1)}
        last = tuple(ids[length - size + 1 : length]) if size > 1 else ()
        expected = {token for token in range(4) if (*last, token) in said}
        assert said_after(ids[:length], size) == expected


@pytest.mark.parametrize("name", ["bad_words_ids", "sequence_bias", "suppress_tokens"])
def test_tokens_that_the_model_lacks_are_refused(name: str) -> None:
    values: dict[str, Any] = {
        "bad_words_ids": ((3, VOCAB),), "sequence_bias": (((VOCAB,), 1.0),), "suppress_tokens": (VOCAB,),
    }  # fmt: skip
    config = GenerationConfig(**{name: values[name]})
    with pytest.raises(ConfigError, match=f"{name}: is {VOCAB}; expected token ids below the model's {VOCAB}"):
        check_token_settings(config, VOCAB)


def test_a_history_with_tokens_that_the_model_lacks_closes_nothing_for_them() -> None:
    contexts = [context_of([3, 5, 3]), RowContext([3, VOCAB + 5, 3], 3, EOS, None)]
    processed = process_scores(torch.zeros(2, VOCAB), GenerationConfig(no_repeat_ngram_size=2), contexts)
    assert (processed == CLOSED).nonzero().tolist() == [[0, 5]]


class Allows:
    """A constraint whose states are the tokens that may come; None: all."""

    start = ()

    def allowed(self, state: tuple[int, ...] | None) -> Tensor | None:
        return None if state is None else torch.isin(torch.arange(VOCAB), torch.tensor(state, dtype=torch.long))

    def advance(self, state: object, token_id: int) -> object:
        return state


def test_only_what_a_constraint_allows_stays_open() -> None:
    scores = random_scores(torch.float32, 4)
    bound = [replace(CONTEXTS[1], constraint=Allows(), state=state) for state in ((3, 9), None, ())]
    config = GenerationConfig(choices=("a",))
    processed = process_scores(scores, config, [*bound, CONTEXTS[1]])
    assert (processed[0] > CLOSED).nonzero().flatten().tolist() == [3, 9]
    assert torch.equal(processed[0, [3, 9]], scores[0, [3, 9]])
    assert torch.equal(processed[[1, 3]], scores[[1, 3]])
    assert bool((processed[2] == CLOSED).all())


def test_constraints_come_after_min_new_tokens_and_before_sampling() -> None:
    scores = torch.zeros(1, VOCAB)
    scores[0, [3, 9, 11]] = torch.tensor([1.0, 2.0, 5.0])
    context = replace(CONTEXTS[0], constraint=Allows(), state=(2, 3, 9))
    config = GenerationConfig(choices=("a",), min_new_tokens=1, top_k=1)
    processed = process_logits(scores, config, [context])
    assert (processed > CLOSED).nonzero().tolist() == [[0, 9]]


@pytest.mark.parametrize("settings", [{}, *WARPS], ids=str)
def test_a_dead_end_stays_closed(settings: dict[str, Any]) -> None:
    context = replace(CONTEXTS[0], constraint=Allows(), state=())
    config = GenerationConfig(choices=("a",), renormalize_logits=True, **settings)
    processed = process_logits(random_scores(torch.float32, 1), config, [context])
    assert bool((processed == CLOSED).all())
