"""The loss against plain PyTorch, and packed against unpacked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from duologue.conversation import Conversation
from duologue.data.loader import Batch, Loader
from duologue.data.packing import plan_packing
from duologue.data.shards import write_shards
from duologue.native.compiled_library import bfloat16_library
from duologue.tokenizer.encode_conversation import NO_LOSS
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.training.compiled import forward_of
from duologue.training.config import CHUNK
from duologue.training.cross_entropy import ChunkedCrossEntropy, native_errors_of
from duologue.training.objective import PackedLoss, tensors_of
from duologue.transformer.model import Transformer


def test_chunked_loss_and_gradients_equal_those_of_torch() -> None:
    torch.manual_seed(0)
    count = 2 * CHUNK + 17
    labels = torch.randint(0, 50, (count,))
    ours = [torch.randn(count, 8, requires_grad=True), torch.randn(50, 8, requires_grad=True)]
    theirs = [tensor.detach().double().requires_grad_() for tensor in ours]
    loss = ChunkedCrossEntropy.apply(*ours, labels, False)
    expected = F.cross_entropy(theirs[0] @ theirs[1].T, labels, reduction="sum")
    (loss * 0.5).backward()
    (expected * 0.5).backward()
    torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=0)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad.double(), other.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("frozen", [0, 1], ids=["hidden", "weight"])
def test_what_is_frozen_gets_no_gradient(frozen: int) -> None:
    inputs = [torch.randn(5, 8, requires_grad=frozen != 0), torch.randn(50, 8, requires_grad=frozen != 1)]
    labels = torch.randint(0, 50, (5,))
    ChunkedCrossEntropy.apply(*inputs, labels, False).backward()
    expected = F.cross_entropy(inputs[0] @ inputs[1].T, labels, reduction="sum")
    learns = inputs[1 - frozen]
    torch.testing.assert_close(learns.grad, torch.autograd.grad(expected, learns)[0], rtol=1e-4, atol=1e-5)
    assert inputs[frozen].grad is None


def test_packed_loss_equals_unpacked_loss(
    tmp_path: Path, tokenizer: Tokenizer, dialogues: list[Conversation], tiny_model: Transformer
) -> None:
    shards = write_shards(dialogues[:40], tokenizer, tmp_path / "shards", fingerprint="x")
    for only_learned in (False, True):
        plan = plan_packing(
            shards, sequence_length=1024, turn_id=tokenizer.start_of_turn_id, only_learned=only_learned, seed=0
        )
        loader = Loader(shards, plan, 0, only_learned, tokenizer.end_of_text_id)
        batch = loader.rows(range(plan.num_rows), num_rows=plan.num_rows)
        alone, loss = list(one_by_one(loader)), PackedLoss(tiny_model)
        assert batch.num_labels == sum(one.num_labels for one in alone)
        packed = loss(forward_of("masked"), *tensors_of(batch, "cpu"))
        total = sum(loss(forward_of("masked"), *tensors_of(one, "cpu")) for one in alone)
        torch.testing.assert_close(packed, total, rtol=1e-5, atol=0)


def one_by_one(loader: Loader) -> list[Batch]:
    """Each document in a row of its own, made straight from the shards."""
    batches = []
    for start, end in zip(loader.shards.offsets[:-1], loader.shards.offsets[1:], strict=True):
        tokens = loader.shards.tokens[start:end].astype(np.int64)
        labels = tokens[1:].copy()
        if loader.only_learned:
            labels[loader.shards.learned[start + 1 : end] == 0] = NO_LOSS
        places = np.arange(len(labels))[None]
        batches.append(Batch(tokens[None, :-1], labels[None], places, np.zeros_like(places)))
    return batches


def test_loss_without_learning_leaves_no_gradient(
    tmp_path: Path, tokenizer: Tokenizer, dialogues: list[Conversation], tiny_model: Transformer
) -> None:
    shards = write_shards(dialogues[:5], tokenizer, tmp_path / "shards", fingerprint="x")
    plan = plan_packing(shards, sequence_length=512, turn_id=1, only_learned=False, seed=0)
    batch = Loader(shards, plan, 0, False, 0).rows(range(plan.num_rows), num_rows=plan.num_rows)
    loss = PackedLoss(tiny_model)(forward_of("masked"), *tensors_of(batch, "cpu"), learns=False)
    assert not loss.requires_grad


@pytest.mark.skipif(bfloat16_library("cross_entropy") is None, reason="needs AVX-512 BF16 and a C++ compiler")
@pytest.mark.parametrize(("rows", "width"), [(5, 37), (1, 16), (64, 1000), (3, 1)])
def test_losses_and_errors_by_cpp_are_those_of_the_formula(rows: int, width: int) -> None:
    torch.manual_seed(0)
    logits, labels = (5 * torch.randn(rows, width)).bfloat16(), torch.randint(0, width, (rows,))
    exact = logits.double().requires_grad_()
    expected = torch.nn.functional.cross_entropy(exact, labels, reduction="sum")
    expected.backward()
    loss, errors = native_errors_of(logits, labels)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5, abs=1e-5)
    assert (errors.double() - exact.grad).abs().max() <= 2**-8  # errors are rounded to 8 bits


@pytest.mark.skipif(bfloat16_library("cross_entropy") is None, reason="needs AVX-512 BF16 and a C++ compiler")
def test_a_logit_that_is_no_number_is_not_hidden() -> None:
    logits = torch.zeros(2, 40, dtype=torch.bfloat16)
    logits[1, 20] = torch.nan
    loss, errors = native_errors_of(logits, torch.zeros(2, dtype=torch.long))
    assert loss.isnan()
    assert not errors[0].isnan().any()
    assert errors[1].isnan().all()
