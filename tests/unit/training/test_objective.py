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
from duologue.tokenizer.encode_conversation import NO_LOSS
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.training.compiled import eager_forward
from duologue.training.config import CHUNK
from duologue.training.objective import ChunkedCrossEntropy, PackedLoss, tensors_of
from duologue.transformer.model import Transformer


def test_chunked_loss_and_gradients_equal_those_of_torch() -> None:
    torch.manual_seed(0)
    count = 2 * CHUNK + 17
    labels = torch.randint(0, 50, (count,))
    ours = [torch.randn(count, 8, requires_grad=True), torch.randn(50, 8, requires_grad=True)]
    theirs = [tensor.detach().double().requires_grad_() for tensor in ours]
    loss = ChunkedCrossEntropy.apply(*ours, labels)
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
    ChunkedCrossEntropy.apply(*inputs, labels).backward()
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
        packed = loss(eager_forward(), *tensors_of(batch, "cpu"))
        total = sum(loss(eager_forward(), *tensors_of(one, "cpu")) for one in alone)
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
    loss = PackedLoss(tiny_model)(eager_forward(), *tensors_of(batch, "cpu"), learns=False)
    assert not loss.requires_grad
