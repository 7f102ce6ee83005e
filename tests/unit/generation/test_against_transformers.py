"""Generation gives what ``transformers`` gives for the same weights, and no shortcut changes anything."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.generation import (
    LogitsProcessorList,
    MinNewTokensLengthLogitsProcessor,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from duologue.generation.config import GenerationConfig
from duologue.generation.engine import Engine
from duologue.generation.logits import process_logits
from duologue.generation.prefill import prefill
from duologue.generation.rows import Rows, run_rows
from duologue.transformer.config import TransformerConfig

LLAMA = TransformerConfig(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=1, head_dim=8, qk_norm=False,
    intermediate_size=48, max_position_embeddings=96, tie_word_embeddings=False,
)  # fmt: skip


@pytest.fixture(scope="module")
def oracle(model_folder: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(model_folder, attn_implementation="eager")


def random_prompts(count: int, *, longest: int = 60, seed: int = 0) -> list[list[int]]:
    rng = random.Random(seed)
    return [[rng.randrange(3, 300) for _ in range(rng.randint(1, longest))] for _ in range(count)]


def greedy_of(oracle: PreTrainedModel, prompt: list[int], **options: object) -> list[int]:
    ids = torch.tensor([prompt])
    done = oracle.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, pad_token_id=0, **options)
    return done[0, len(prompt) :].tolist()


def test_greedy_is_equal_token_for_token(engine: Engine, oracle: PreTrainedModel) -> None:
    prompts = random_prompts(24)
    ours = [engine.generate(prompt, GenerationConfig(max_new_tokens=30)).sequences[0] for prompt in prompts]
    assert ours == [greedy_of(oracle, prompt, max_new_tokens=30) for prompt in prompts]


def test_greedy_is_equal_for_a_llama_with_untied_embeddings(tmp_path: Path, write_model: Callable[..., Path]) -> None:
    engine = Engine.from_pretrained(write_model(tmp_path, LLAMA, seed=1))
    oracle = AutoModelForCausalLM.from_pretrained(tmp_path)
    for prompt in random_prompts(8, longest=40):
        ours = engine.generate(prompt, GenerationConfig(max_new_tokens=20)).sequences[0]
        assert ours == greedy_of(oracle, prompt, max_new_tokens=20)


@pytest.mark.parametrize("options", [{"repetition_penalty": 1.3}, {"repetition_penalty": 0.8, "min_new_tokens": 20}])
def test_greedy_with_processors_is_equal(engine: Engine, oracle: PreTrainedModel, options: dict[str, float]) -> None:
    for prompt in random_prompts(8, seed=1):
        ours = engine.generate(prompt, GenerationConfig(max_new_tokens=25, **options)).sequences[0]
        assert ours == greedy_of(oracle, prompt, max_new_tokens=25, **options)


def test_a_reply_ends_where_it_ends_in_transformers(model_folder: Path, oracle: PreTrainedModel) -> None:
    prompt = random_prompts(1)[0]
    eos = greedy_of(oracle, prompt, max_new_tokens=20)[6]
    engine = Engine.from_pretrained(model_folder)
    engine.eos_token_ids = frozenset({eos})
    output = engine.generate(prompt, GenerationConfig(max_new_tokens=20))
    assert output.sequences[0] == greedy_of(oracle, prompt, max_new_tokens=20, eos_token_id=eos)
    assert output.finish_reasons == ["stop"]


def test_scores_are_sums_of_log_probabilities(engine: Engine, oracle: PreTrainedModel) -> None:
    config = GenerationConfig(max_new_tokens=12, do_sample=True, num_return_sequences=3, seed=5)
    for prompt in random_prompts(5, seed=2):
        output = engine.generate(prompt, config)
        expected = [forced_logprobs(oracle, prompt, ids).sum().item() for ids in output.sequences]
        assert output.sequences_scores == pytest.approx(expected, abs=1e-4)
        assert output.sequences_scores == sorted(output.sequences_scores, reverse=True)


def test_score_is_a_teacher_forced_sum(engine: Engine, oracle: PreTrainedModel) -> None:
    rng = random.Random(3)
    candidates = [[rng.randrange(300) for _ in range(length)] for length in (1, 5, 17, 2, 30)]
    for prompt in random_prompts(4, seed=3):
        ranked = engine.score(prompt, candidates)
        assert sorted(score.index for score in ranked) == [0, 1, 2, 3, 4]
        assert [s.sum_logprob for s in ranked] == sorted((s.sum_logprob for s in ranked), reverse=True)
        for score in ranked:
            expected = forced_logprobs(oracle, prompt, candidates[score.index])
            assert score.token_logprobs == pytest.approx(expected.tolist(), abs=1e-4)
            assert score.sum_logprob == pytest.approx(expected.sum().item(), abs=1e-4)


def test_scoring_many_candidates_takes_several_passes(engine: Engine, oracle: PreTrainedModel) -> None:
    rng = random.Random(4)
    candidates = [[rng.randrange(300) for _ in range(60)] for _ in range(20)]
    prompt = [5, 6, 7]
    for score in engine.score(prompt, candidates):
        expected = forced_logprobs(oracle, prompt, candidates[score.index]).sum().item()
        assert score.sum_logprob == pytest.approx(expected, abs=1e-3)


def forced_logprobs(oracle: PreTrainedModel, prompt: list[int], ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        logits = oracle(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
    return logits.float().log_softmax(-1).gather(1, torch.tensor(ids)[:, None]).squeeze(1)


@pytest.mark.parametrize("max_rows", [1, 7, 64])
def test_a_prompt_read_in_pieces_is_the_prompt_read_whole(engine: Engine, max_rows: int) -> None:
    prompt = random_prompts(1, longest=100, seed=6)[0] * 3
    whole, pieces = engine.arena.lend(num_lanes=1, width=120), engine.arena.lend(num_lanes=1, width=120)
    expected = prefill(engine.model, whole, [prompt[:110]])
    found = prefill(engine.model, pieces, [prompt[:110]], max_rows=max_rows)
    assert torch.allclose(found, expected, atol=1e-4)


def test_cached_logits_are_the_uncached_ones(engine: Engine, oracle: PreTrainedModel) -> None:
    prompt = random_prompts(1, seed=7)[0]
    output = engine.generate(prompt, GenerationConfig(max_new_tokens=30))
    again = engine.generate(prompt + output.sequences[0] + [9], GenerationConfig(max_new_tokens=5))
    assert again.stats.cached_tokens == len(prompt) + 29
    expected = forced_logprobs(oracle, prompt + output.sequences[0] + [9], again.sequences[0]).sum().item()
    assert again.sequences_scores[0] == pytest.approx(expected, abs=1e-4)


def test_rows_see_only_what_their_mask_opens(engine: Engine) -> None:
    """What a closed slot holds changes nothing."""
    lane = engine.arena.lend(num_lanes=1, width=16)
    prefill(engine.model, lane, [[5, 6, 7, 8]])
    mask = torch.tensor([[[0.0, 0.0, float("-inf"), 0.0, 0.0]]])
    rows = Rows(torch.tensor([[9]]), torch.tensor([[4]]), torch.tensor([[4]]), mask)
    before = run_rows(engine.model, lane, rows)
    for layer in range(engine.arena.num_layers):
        lane.keys(layer)[:, :, 2] = 100.0
        lane.values(layer)[:, :, 2] = 100.0
    assert torch.equal(run_rows(engine.model, lane, rows), before)


SAMPLERS = [
    ({"temperature": 0.7}, lambda: [TemperatureLogitsWarper(0.7)]),
    ({"top_k": 12}, lambda: [TopKLogitsWarper(12)]),
    ({"top_p": 0.8}, lambda: [TopPLogitsWarper(0.8)]),
    ({"min_p": 0.05}, lambda: [MinPLogitsWarper(0.05)]),
    (
        {"temperature": 1.7, "top_k": 40, "top_p": 0.9, "min_p": 0.02, "repetition_penalty": 1.2, "min_new_tokens": 5},
        lambda: [RepetitionPenaltyLogitsProcessor(1.2), MinNewTokensLengthLogitsProcessor(4, 5, [1, 2]),
                 TemperatureLogitsWarper(1.7), TopKLogitsWarper(40), TopPLogitsWarper(0.9), MinPLogitsWarper(0.02)],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "processors"), SAMPLERS, ids=lambda value: str(value)[:24])
def test_processors_are_those_of_transformers(settings: dict[str, float], processors: object) -> None:
    generator = torch.Generator().manual_seed(0)
    for scale in (0.5, 3.0, 10.0):
        logits = torch.randn(6, 200, generator=generator) * scale
        ids = torch.randint(200, (6, 7), generator=generator)  # 4 of a prompt and 3 generated
        seen = torch.zeros(6, 200, dtype=torch.bool).scatter(1, ids, True)
        found = process_logits(
            logits, GenerationConfig(do_sample=True, **settings), num_generated=[3] * 6, eos_token_ids=[{1, 2}] * 6,
            seen_NV=seen if "repetition_penalty" in settings else None,
        )  # fmt: skip
        assert torch.equal(found, LogitsProcessorList(processors())(ids, logits.clone()))
