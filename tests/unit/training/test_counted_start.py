"""The start from counts: right counts, and a fresh model that says what they say."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from duologue.data.shards import Manifest, Shards
from duologue.training import counted_start as counted
from duologue.training.compiled import forward_of
from duologue.training.counted_start import Pairs, count_pairs, counted_start
from duologue.transformer.config import TransformerConfig
from duologue.transformer.model import Transformer

VOCAB = 12
SHAPE = TransformerConfig(
    hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, head_dim=8, intermediate_size=32,
    tie_word_embeddings=False,
)  # fmt: skip


def shards_of(documents: list[list[int]]) -> Shards:
    tokens = np.array([token for document in documents for token in document], dtype=np.uint16)
    offsets = np.cumsum([0, *map(len, documents)])
    manifest = Manifest(len(documents), len(tokens), 0, 0, "uint16", "")
    return Shards(manifest, tokens, np.zeros(len(tokens), dtype=np.uint8), offsets)


def random_documents() -> list[list[int]]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, VOCAB, length).tolist() for length in generator.integers(1, 40, 50)]


@pytest.mark.parametrize("chunk", [7, 10_000])
def test_pairs_are_those_within_documents(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counted, "CHUNK_TOKENS", chunk)
    documents = random_documents()
    expected = Counter(pair for document in documents for pair in pairwise(document))
    pairs = count_pairs(shards_of(documents), VOCAB)
    assert {pair: int(pairs.counts[pair]) for pair in expected} == expected
    assert pairs.counts.sum() == expected.total()


def test_followers_are_shares_and_rare_tokens_lean_on_all_others() -> None:
    pairs = count_pairs(shards_of([[0, 1] * 5000, [2, 3]]), VOCAB)
    shares = pairs.followers(torch.arange(VOCAB))
    assert torch.allclose(shares.sum(1), torch.ones(VOCAB))
    assert shares[0, 1] > 0.97
    assert torch.allclose(shares[7], pairs.share)  # never seen
    assert pairs.share[3] < shares[2, 3] < 0.5


def test_a_fresh_model_then_says_what_was_counted() -> None:
    torch.manual_seed(0)
    model = Transformer(SHAPE, vocab_size=VOCAB)
    chain = torch.softmax(2 * torch.randn(VOCAB, VOCAB), dim=1)
    pairs = Pairs(1e6 * chain, torch.full((VOCAB,), 1e6), torch.full((VOCAB,), 1 / VOCAB))
    counted_start(model, pairs, seed=0, dtype=torch.float32)
    ids = torch.arange(VOCAB)[None]
    places = torch.arange(VOCAB)[None]
    said = torch.log_softmax(model.logits(forward_of("masked")(model, ids, places, torch.zeros_like(ids))), dim=-1)
    distance = (chain * (chain.log() - said[0])).sum(1)
    assert distance.mean() < 0.05
    assert distance.max() < 0.2
    lengths = model.model.embed_tokens.weight.detach().square().mean(1).sqrt()
    torch.testing.assert_close(lengths, torch.ones(VOCAB), rtol=1e-3, atol=0)


def test_the_same_seed_gives_the_same_start(tmp_path: Path) -> None:
    pairs = count_pairs(shards_of(random_documents()), VOCAB)
    models = [Transformer(replace(SHAPE), vocab_size=VOCAB) for _ in range(3)]
    for model, seed in zip(models, (1, 1, 2), strict=True):
        counted_start(model, pairs, seed=seed, dtype=torch.float32)
    first, same, other = (model.output_weight for model in models)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
