"""Generation gives what ``transformers`` gives for the same weights, and no shortcut changes anything."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from duologue.generation.config import GenerationConfig
from duologue.generation.engine import Engine
from duologue.generation.rows import Rows, run_rows
from duologue.generation.token_tree import ROOT, TokenTree
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
    prompt = (random_prompts(1, longest=100, seed=6)[0] * 3)[:110]

    def last_of(pieces: int) -> torch.Tensor:
        tree = TokenTree(engine.arena.lend(120))
        slot, mask = ROOT, tree.root_mask()
        for first in range(0, len(prompt), pieces):
            rows = tree.chain(slot, mask, prompt[first : first + pieces])
            slot, mask, hidden = rows.slots[-1], rows.mask[-1:], run_rows(engine.model, [rows])
        return hidden[-1]

    assert torch.allclose(last_of(max_rows), last_of(len(prompt)), atol=1e-4)


def test_cached_logits_are_the_uncached_ones(engine: Engine, oracle: PreTrainedModel) -> None:
    prompt = random_prompts(1, seed=7)[0]
    output = engine.generate(prompt, GenerationConfig(max_new_tokens=30))
    again = engine.generate(prompt + output.sequences[0] + [9], GenerationConfig(max_new_tokens=5))
    assert again.stats.cached_tokens == len(prompt) + 29
    expected = forced_logprobs(oracle, prompt + output.sequences[0] + [9], again.sequences[0]).sum().item()
    assert again.sequences_scores[0] == pytest.approx(expected, abs=1e-4)


def test_rows_see_only_what_their_mask_opens(engine: Engine) -> None:
    """What a closed slot holds changes nothing."""
    lane = engine.arena.lend(16)
    tree = TokenTree(lane)
    run_rows(engine.model, [tree.chain(ROOT, tree.root_mask(), [5, 6, 7, 8])])
    mask = torch.tensor([[0.0, 0.0, float("-inf"), 0.0, 0.0]])
    rows = Rows(lane, [9], [4], [4], mask)
    before = run_rows(engine.model, [rows])
    for layer in range(engine.arena.num_layers):
        lane.keys(layer)[:, :, 2] = 100.0
        lane.values(layer)[:, :, 2] = 100.0
    assert torch.equal(run_rows(engine.model, [rows]), before)
