"""Which tokens the model looks at: |gradient x embedding|, kept from the backward pass that training does anyway.

A moving average for each token of the vocabulary says where noise hurts most; nothing is computed twice for it.

Shapes: B batch, T time, V vocabulary.

Source: Yoo and Qi 2021, arXiv:2109.00544 (one gradient ranks the words of a text).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from duologue.transformer.model import Transformer

MEMORY = 0.98  # of an average from step to step, for a token that was seen


class SaliencyTable:
    """How much each token of the vocabulary has mattered of late; 1 = as much as an average one."""

    def __init__(self, vocab_size: int) -> None:
        """Knows nothing yet: all alike."""
        self.by_token = torch.ones(vocab_size)

    @contextmanager
    def watching(self, model: Transformer, input_ids_BT: Tensor, labels_BT: Tensor) -> Iterator[None]:
        """Learns from the backward pass that is done while it lasts: from the places that carry no loss."""
        seen: list[Tensor] = []

        def on_output(module, inputs, output: Tensor) -> Tensor:
            if not torch.is_grad_enabled():
                return output
            if not output.requires_grad:  # a frozen table, under LoRA
                output.requires_grad_()
            embedded = output.detach()
            output.register_hook(lambda gradient: seen.append((gradient * embedded).sum(-1).abs().float().cpu()))
            return output

        handle = model.model.embed_tokens.register_forward_hook(on_output)
        try:
            yield
        finally:
            handle.remove()
        for salient_BT in seen:
            self._learn(salient_BT, input_ids_BT.cpu(), labels_BT.cpu())

    def _learn(self, salient_BT: Tensor, input_ids_BT: Tensor, labels_BT: Tensor) -> None:
        asked = (labels_BT < 0) & (salient_BT > 0)
        ids, values = input_ids_BT[asked], salient_BT[asked]
        if not len(ids) or not values.isfinite().all():
            return
        values = values / values.mean()
        counts = torch.zeros_like(self.by_token).index_add_(0, ids, torch.ones_like(values))
        sums = torch.zeros_like(self.by_token).index_add_(0, ids, values)
        came = counts > 0
        self.by_token[came] = MEMORY * self.by_token[came] + (1 - MEMORY) * sums[came] / counts[came]
