"""Beams give what ``transformers`` gives for the same weights: the same tokens, the same scores."""

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from duologue.generation.config import GenerationConfig
from duologue.generation.engine import Engine
from duologue.generation.events import GenerationOutput
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.transformer.config import TransformerConfig
from duologue.transformer.weights import load_transformer

NEW_TOKENS = 12
TIE = 1e-4  # fp32: replies whose scores are nearer than this may change places
LENGTH_PENALTIES = (-1.0, 0.0, 0.5, 1.0, 2.0)
EARLY_STOPPING = (True, False, "never")
SHAPES = {
    "qwen3": TransformerConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
        intermediate_size=64, max_position_embeddings=128,
    ),
    "llama": TransformerConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=1, head_dim=8, qk_norm=False,
        intermediate_size=48, max_position_embeddings=96, tie_word_embeddings=False,
    ),
}  # fmt: skip


@dataclass
class Pair:
    """Our engine and ``transformers`` over the same weights."""

    engine: Engine
    theirs: PreTrainedModel
    tokenizer: Any
    prompts: list[list[int]]
    ends: list[int]


@pytest.fixture(scope="module")
def pair_of(tmp_path_factory: pytest.TempPathFactory, write_model: Callable[..., Path]) -> Callable[..., Pair]:
    made: dict[tuple[str, torch.dtype], Pair] = {}

    def make(family: str, dtype: torch.dtype = torch.float64) -> Pair:
        if (family, dtype) not in made:
            folder = write_model(tmp_path_factory.mktemp(family), SHAPES[family], seed=len(family))
            made[family, dtype] = pair_over(folder, dtype)
        return made[family, dtype]

    return make


def pair_over(folder: Path, dtype: torch.dtype) -> Pair:
    ours, theirs = load_transformer(folder).to(dtype), AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    for model in (ours, theirs):  # surer of what it says: else all replies are about as probable
        with torch.no_grad():
            model.model.norm.weight *= 6
    engine = Engine(ours, Tokenizer.from_pretrained(folder), max_slots=2048)
    rng = random.Random(0)
    prompts = [[rng.randrange(3, 300) for _ in range(length)] for length in (1, 5, 6, 17, 30)]
    config = GenerationConfig(max_new_tokens=10, num_beams=4, num_return_sequences=4)
    outputs = [engine.generate(prompt, config) for prompt in prompts]
    told = Counter(token for output in outputs for ids in output.sequences for token in ids)
    ends = [token for token, _ in told.most_common(5)]  # so that replies end now and then
    return Pair(engine, theirs, AutoTokenizer.from_pretrained(folder), prompts, ends)


def expected(
    pair: Pair, prompt: list[int], ends: list[int], options: dict[str, Any]
) -> tuple[list[list[int]], list[float]]:
    """The replies of ``transformers``, without padding, and their scores."""
    ids = torch.tensor([prompt])
    given = {name: value for name, value in options.items() if name != "stop_strings"}
    if "stop_strings" in options:
        given |= {"stop_strings": list(options["stop_strings"]), "tokenizer": pair.tokenizer}
    done = pair.theirs.generate(
        ids, attention_mask=torch.ones_like(ids), eos_token_id=ends, pad_token_id=0, do_sample=False,
        return_dict_in_generate=True, output_scores=True, **given,
    )  # fmt: skip
    lengths = (done.beam_indices >= 0).sum(dim=1).tolist()
    replies = done.sequences[:, len(prompt) :].tolist()
    return [reply[:length] for reply, length in zip(replies, lengths, strict=True)], done.sequences_scores.tolist()


def ours_and_theirs(
    pair: Pair, prompt: list[int], num_ends: int, options: dict[str, Any]
) -> tuple[GenerationOutput, list[list[int]], list[float]]:
    ends, options = pair.ends[:num_ends], {"max_new_tokens": NEW_TOKENS, **options}
    pair.engine.eos_token_ids = frozenset(ends)
    output = pair.engine.generate(prompt, GenerationConfig(**options))
    return output, *expected(pair, prompt, ends, options)


def check(pair: Pair, prompt: list[int], num_ends: int, options: dict[str, Any]) -> GenerationOutput:
    output, replies, scores = ours_and_theirs(pair, prompt, num_ends, options)
    assert output.sequences == replies, (prompt, num_ends, options)
    assert output.sequences_scores == pytest.approx(scores, rel=1e-6, abs=1e-5), (prompt, num_ends, options)
    return output


def grid() -> list[tuple[int, dict[str, Any]]]:
    """The number of end tokens, and settings."""
    found = []
    for beams, penalty, stopping, num_ends in itertools.product((2, 4, 8), LENGTH_PENALTIES, EARLY_STOPPING, (1, 3, 5)):
        several = {1, beams // 2, beams}
        found += [
            (num_ends, {"num_beams": beams, "length_penalty": penalty, "early_stopping": stopping,
                        "num_return_sequences": number})
            for number in sorted(several)
        ]  # fmt: skip
    return found


def some_of(cases: list[Any], count: int) -> Iterable[Any]:
    return random.Random(1).sample(cases, count)


@pytest.mark.parametrize("family", sorted(SHAPES))
def test_a_selection_of_the_grid_is_equal(pair_of: Callable[..., Pair], family: str) -> None:
    pair = pair_of(family)
    outputs = [check(pair, prompt, *case) for prompt in pair.prompts[::2] for case in some_of(grid(), 20)]
    assert 0.2 < sum(len(out.sequences[0]) < NEW_TOKENS for out in outputs) / len(outputs) < 1  # some end early


@pytest.mark.soak
@pytest.mark.parametrize("family", sorted(SHAPES))
def test_the_whole_grid_is_equal(pair_of: Callable[..., Pair], family: str) -> None:
    pair = pair_of(family)
    for prompt, case in itertools.product(pair.prompts, grid()):
        check(pair, prompt, *case)


def processors(pair: Pair) -> list[dict[str, Any]]:
    """Settings that change scores; they name tokens that this model often says."""
    _, b, c, d, e = pair.ends
    return [
        {"min_new_tokens": 8},
        {"min_new_tokens": NEW_TOKENS},
        {"repetition_penalty": 1.4},
        {"repetition_penalty": 0.8},
        {"no_repeat_ngram_size": 2},
        {"no_repeat_ngram_size": 3, "repetition_penalty": 1.1, "min_new_tokens": 4},
        {"bad_words_ids": [[b], [c, d], [d, d], [e, c, b]]},
        {"suppress_tokens": [b, d]},
        {"sequence_bias": [[[b], -2.0], [[c, d], 1.5], [[e], 0.5]]},
        {"sequence_bias": [[[b], -2.0]], "renormalize_logits": True},
        {"suppress_tokens": [c], "no_repeat_ngram_size": 2, "renormalize_logits": True},
        {"sequence_bias": [[[c], 3.0]], "renormalize_logits": True, "early_stopping": "never"},
    ]  # fmt: skip


def check_processors(pair: Pair, prompts: list[list[int]], num_beams: tuple[int, ...]) -> None:
    plain = {"num_beams": 4, "num_return_sequences": 3}
    num_changed = 0
    for prompt, (place, changes), beams in itertools.product(prompts, enumerate(processors(pair)), num_beams):
        options = {**plain, "num_beams": beams, "num_return_sequences": min(3, beams), **changes}
        options.setdefault("early_stopping", EARLY_STOPPING[place % 3])
        output = check(pair, prompt, 1 + place % 3, options)
        unchanged = {name: value for name, value in options.items() if name not in changes or name in plain}
        without = pair.engine.generate(prompt, GenerationConfig(max_new_tokens=NEW_TOKENS, **unchanged))
        num_changed += output.sequences != without.sequences
    assert num_changed > len(prompts) * len(num_beams) * len(processors(pair)) / 2  # else they had nothing to do


@pytest.mark.parametrize("family", sorted(SHAPES))
def test_settings_that_change_scores_are_equal(pair_of: Callable[..., Pair], family: str) -> None:
    pair = pair_of(family)
    check_processors(pair, pair.prompts[1:3], (4,))


@pytest.mark.soak
@pytest.mark.parametrize("family", sorted(SHAPES))
def test_settings_that_change_scores_are_equal_at_all_widths(pair_of: Callable[..., Pair], family: str) -> None:
    pair = pair_of(family)
    check_processors(pair, pair.prompts, (2, 4, 8))


def not_letters(pair: Pair) -> list[int]:
    """Tokens without plain text; random weights say little else."""
    texts = [pair.tokenizer.decode([token]) for token in range(pair.engine.model.vocab_size)]
    return [token for token, text in enumerate(texts) if not (text.isascii() and text.isprintable() and text)]


@pytest.mark.parametrize("family", sorted(SHAPES))
def test_stop_strings_end_beams_as_in_transformers(pair_of: Callable[..., Pair], family: str) -> None:
    pair = pair_of(family)
    num_stopped = 0
    plain = {"num_beams": 4, "num_return_sequences": 3, "suppress_tokens": not_letters(pair), "min_new_tokens": 9}
    for prompt, penalty in zip(pair.prompts[1:4], (0.0, 1.0, 2.0), strict=True):
        texts = check(pair, prompt, 1, {**plain, "length_penalty": penalty}).texts
        stops = [(texts[0][4],), (texts[1][5:7],), (texts[2][3:6], texts[0][6:8])]  # one token, or across several
        for stop_strings in stops:
            output = check(pair, prompt, 1, {**plain, "length_penalty": penalty, "stop_strings": stop_strings})
            ended = [ids for ids, why in zip(output.sequences, output.finish_reasons, strict=True) if why == "stop"]
            num_stopped += any(ids[-1] != pair.ends[0] for ids in ended)
            assert not any(stop in text for stop in stop_strings for text in output.texts)
    assert num_stopped > 3


def test_in_fp32_only_ties_differ(pair_of: Callable[..., Pair]) -> None:
    num_ties = count = 0
    for family in sorted(SHAPES):
        pair = pair_of(family, torch.float32)
        for prompt, (num_ends, options) in itertools.product(pair.prompts[1:3], some_of(grid(), 15)):
            output, replies, scores = ours_and_theirs(pair, prompt, num_ends, options)
            assert output.sequences_scores == pytest.approx(scores, abs=TIE), (prompt, num_ends, options)
            num_ties += output.sequences != replies
            count += 1
    print(f"fp32: {num_ties} of {count} with a tie")
    assert num_ties < count / 20
