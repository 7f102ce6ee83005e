"""What a trainer ends with, and whether two of them end with the same bits."""

from __future__ import annotations

from typing import Any

import torch

from duologue.training.loop import Trainer
from duologue.training.metrics import read_metrics


def trained(trainer: Trainer) -> list[Any]:
    """Weights, optimiser and losses of a run that has come to its end."""
    weights = {name: tensor.clone() for name, tensor in trainer.run().state_dict().items()}
    state = trainer.optimizers.state_tensors()
    losses = [line["loss"] for line in read_metrics(trainer.stage.folder / "metrics.jsonl")]
    return [weights, state, losses]


def assert_same(found: list[Any], expected: list[Any]) -> None:
    for some, others in zip(found[:2], expected[:2], strict=True):
        assert some.keys() == others.keys()
        for name, tensor in some.items():
            assert torch.equal(tensor, others[name]), name
    assert found[2] == expected[2]
