"""Compiled rows against float64: for this processor, and as any other would run them."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch

from duologue.generation.config import GenerationConfig
from duologue.generation.engine import Engine, scorer_of
from duologue.generation.kv_arena import KVArena
from duologue.generation.native_rows import NativeRows
from duologue.generation.rows import Rows, run_rows
from duologue.generation.token_tree import ROOT, TokenTree
from duologue.native import compiled_library as compiling
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.transformer.config import TransformerConfig
from duologue.transformer.int8 import to_int8
from duologue.transformer.model import Transformer

SHAPES = {
    "qwen": (TransformerConfig(hidden_size=64, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2,
                               head_dim=32, intermediate_size=100, max_position_embeddings=512), 333),
    "llama": (TransformerConfig(hidden_size=100, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4,
                                head_dim=16, intermediate_size=172, max_position_embeddings=512, qk_norm=False,
                                tie_word_embeddings=False), 300),
    "wide heads": (TransformerConfig(hidden_size=48, num_hidden_layers=2, num_attention_heads=5, num_key_value_heads=1,
                                     head_dim=80, intermediate_size=64, max_position_embeddings=512), 70),
}  # fmt: skip
PLAIN_FLAGS = ("-O3", "-std=c++17", "-fopenmp", "-shared", "-fPIC")  # for any processor of this kind


@pytest.fixture(params=["this processor", "any processor"])
def compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if compiling._compiler() is None:
        pytest.skip("no compiler here")
    if request.param == "any processor":
        monkeypatch.setattr(compiling, "FLAGS", PLAIN_FLAGS)
    compiling.compiled_library.cache_clear()
    yield
    compiling.compiled_library.cache_clear()


def model_of(shape: str, dtype: str) -> Transformer:
    """A model whose rows all differ, in bfloat16 or int8."""
    config, vocab_size = SHAPES[shape]
    torch.manual_seed(0)
    model = Transformer(config, vocab_size=vocab_size).eval().requires_grad_(False)
    for weight in model.parameters():
        if weight.ndim > 1:
            weight.normal_(std=weight.shape[1] ** -0.5)
        else:
            weight.uniform_(0.5, 1.5)
    model = model.to(torch.bfloat16)
    return to_int8(model) if dtype == "int8" else model


def oracle_of(model: Transformer) -> Transformer:
    """The same weights in float64."""
    return copy.deepcopy(model).double()


def batch_of(arena: KVArena) -> list[Rows]:
    """A prompt with three branches, a chain, and a single token, in lanes of their own."""
    branching, chain, single = (TokenTree(arena.lend(96)) for _ in range(3))
    prompt = branching.chain(ROOT, branching.root_mask(), [5, 9, 2, 60, 31])
    for _ in range(2):
        branching.hold(prompt.slots[-1])
    branches = branching.branch([prompt.slots[-1]] * 3, prompt.mask[-1:].repeat(3, 1), [7, 8, 69])
    return [prompt, branches, chain.chain(ROOT, chain.root_mask(), list(range(1, 70))),
            single.chain(ROOT, single.root_mask(), [3])]  # fmt: skip


def arena_for(model: Transformer, dtype: torch.dtype) -> KVArena:
    arena = KVArena(model.config, num_slots=512, dtype=dtype)
    for slab in arena.slabs:
        slab.fill_(float("nan") if dtype == torch.bfloat16 else 0.0)  # what is left over from others may be anything
    return arena


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.usefixtures("compiled")
def test_rows_and_logits_agree_with_float64(shape: str, dtype: str) -> None:
    model = model_of(shape, dtype)
    arena, exact_arena, oracle = arena_for(model, torch.bfloat16), arena_for(model, torch.float64), oracle_of(model)
    native = NativeRows.of(model, arena)
    assert native is not None
    for rows, same in zip(batch_of(arena), batch_of(exact_arena), strict=True):
        with torch.inference_mode():
            found, expected = native.run([rows]), run_rows(oracle, [same])
            logits, expected_logits = native.logits(found), oracle.logits(expected)
        for one, other in ((found, expected), (logits, expected_logits)):
            error = (one.double() - other).norm() / other.norm()
            assert error < (0.01 if dtype == "bfloat16" else 0.05)  # in int8 a last bit can turn a number by 1 of 127


@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.usefixtures("compiled")
def test_products_in_int8_are_exact(shape: str) -> None:
    """Whole numbers are added without rounding, so that the oracle says the same up to its scales."""
    model = model_of(shape, "int8")
    native = NativeRows.of(model, arena_for(model, torch.bfloat16))
    assert native is not None
    hidden = torch.randn(11, model.config.hidden_size)
    expected = model.logits(hidden.double())
    assert (native.logits(hidden) - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
@pytest.mark.usefixtures("compiled")
def test_neighbours_change_no_bit(dtype: str) -> None:
    """Beside others, in pieces, or alone: a row comes out the same."""
    model = model_of("qwen", dtype)
    together, alone = arena_for(model, torch.bfloat16), arena_for(model, torch.bfloat16)
    prompt, branches, *others = batch_of(together)
    native = NativeRows.of(model, together)
    assert native is not None
    native.run([prompt])
    found = native.run([branches, *others])
    other_prompt, other_branches, *rest = batch_of(alone)
    native = NativeRows.of(model, alone)
    assert native is not None
    native.run([other_prompt])
    pieces = torch.cat([native.run([rows]) for rows in (other_branches, *rest)])
    assert torch.equal(found, pieces)
    assert torch.equal(native.logits(found)[:1], native.logits(found[:1]))


@pytest.mark.usefixtures("compiled")
def test_what_is_no_number_is_told() -> None:
    for dtype in ("bfloat16", "int8"):
        model = model_of("qwen", dtype)
        model.model.embed_tokens.weight[5] = float("nan")
        arena = arena_for(model, torch.bfloat16)
        native = NativeRows.of(model, arena)
        assert native is not None
        assert not native.logits(native.run(batch_of(arena)[:1])).isfinite().all()


def test_only_what_can_be_packed_is(tokenizer: Tokenizer) -> None:
    model = model_of("qwen", "bfloat16")
    arena = KVArena(model.config, num_slots=64, dtype=torch.bfloat16)
    assert not scorer_of(model, arena, native=False).is_native
    assert not scorer_of(model, arena, deterministic=True).is_native
    wide = copy.deepcopy(model).float()
    assert not scorer_of(wide, KVArena(model.config, num_slots=64, dtype=torch.float32)).is_native


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
@pytest.mark.usefixtures("compiled")
def test_replies_and_beams_are_those_of_pytorch(tokenizer: Tokenizer, dtype: str) -> None:
    """Scores agree as far as rounding allows; a search may differ only where two of its paths nearly tie."""
    model = model_of("qwen", dtype)
    engines = [Engine(model, tokenizer, native=native) for native in (True, False)]
    assert [engine.is_native for engine in engines] == [True, False]
    for config in (GenerationConfig(max_new_tokens=12), GenerationConfig(max_new_tokens=12, num_beams=4),
                   GenerationConfig(max_new_tokens=12, num_beams=3, num_return_sequences=3)):  # fmt: skip
        prompt = [5, 9, 2, 60, 31]
        own = engines[0].generate(prompt, config)
        for sequence, logprobs in zip(own.sequences, own.token_logprobs, strict=True):
            score = engines[1].score(prompt, [sequence])[0]
            assert score.token_logprobs == pytest.approx(logprobs, abs=0.08 if dtype == "bfloat16" else 0.2)
