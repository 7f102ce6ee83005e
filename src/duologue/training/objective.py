"""What a stage minimises: next-token cross-entropy, taken in chunks so that the logits never stand in memory whole.

Shapes: N places, M model width, V vocabulary.

Source: Wijmans et al. 2024, arXiv:2411.09009 (the loss without the logits), here as plain chunks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from duologue.data.loader import Batch
from duologue.tokenizer.encode_conversation import NO_LOSS
from duologue.training.config import CHUNK
from duologue.transformer.attention import AttendIn
from duologue.transformer.model import Transformer

# How the hidden states of a packed batch are made: (model, input_ids, position_ids, document_ids) -> [B, T, M]
Forward = Callable[[Transformer, Tensor, Tensor, Tensor], Tensor]


class PackedLoss(nn.Module):
    """The loss of packed rows as a module, so that it can be spread over processes from outside."""

    def __init__(self, model: Transformer) -> None:
        """The loss of this model."""
        super().__init__()
        self.transformer = model

    def forward(
        self,
        forward: Forward,
        input_ids_BT: Tensor,
        position_ids_BT: Tensor,
        document_ids_BT: Tensor,
        labels_BT: Tensor,
        learns: bool = True,
    ) -> Tensor:
        """Cross-entropy in nats, summed over all labels; without gradients unless it ``learns``."""
        model, labels_N = self.transformer, labels_BT.flatten()
        hidden_NM = forward(model, input_ids_BT, position_ids_BT, document_ids_BT).flatten(0, 1)
        weight_VM = model.output_weight
        if not learns:
            hidden_NM, weight_VM = hidden_NM.detach(), weight_VM.detach()
        kept = (labels_N != NO_LOSS).nonzero().squeeze(1)
        return ChunkedCrossEntropy.apply(hidden_NM[kept], weight_VM, labels_N[kept])


def tensors_of(batch: Batch, device: torch.device | str) -> list[Tensor]:
    """What PackedLoss takes of a batch, on a device."""
    arrays = (batch.input_ids, batch.position_ids, batch.document_ids, batch.labels)
    return [torch.from_numpy(array).to(device) for array in arrays]


def packed_forward(attention: Callable[[Tensor], AttendIn]) -> Forward:
    """The model over packed rows; ``attention`` makes of the document ids who sees whom: each its own document."""

    def forward(model: Transformer, input_ids_BT: Tensor, position_ids_BT: Tensor, document_ids_BT: Tensor) -> Tensor:
        return model.hidden(input_ids_BT, position_ids_BT, attention(document_ids_BT))

    return forward


class ChunkedCrossEntropy(torch.autograd.Function):
    """Sum of -log softmax(hidden @ weight.T)[label]; gradients are made in the forward pass, chunk by chunk."""

    @staticmethod
    def forward(ctx: Any, hidden_NM: Tensor, weight_VM: Tensor, labels_N: Tensor) -> Tensor:
        """Returns the sum in float32 and keeps for backward the gradients that are wanted: a frozen weight has none."""
        hidden_learns, weight_learns, _ = ctx.needs_input_grad
        grad_hidden = torch.empty_like(hidden_NM) if hidden_learns else None
        grad_weight = torch.zeros_like(weight_VM, dtype=torch.float32) if weight_learns else None
        total = torch.zeros((), dtype=torch.float32, device=hidden_NM.device)
        for start in range(0, len(labels_N), CHUNK):
            span = slice(start, start + CHUNK)
            labels = labels_N[span, None]
            logits = (hidden_NM[span] @ weight_VM.T).float()
            log_norm = torch.logsumexp(logits, dim=-1, keepdim=True)
            total += (log_norm - logits.gather(1, labels)).sum()
            if grad_hidden is None and grad_weight is None:
                continue
            error = logits.sub_(log_norm).exp_()
            error.scatter_add_(1, labels, torch.full_like(labels, -1, dtype=error.dtype))
            error = error.to(hidden_NM.dtype)
            if grad_hidden is not None:
                grad_hidden[span] = error @ weight_VM
            if grad_weight is not None:
                grad_weight += error.T @ hidden_NM[span]
        ctx.gradients, ctx.dtype = (grad_hidden, grad_weight), hidden_NM.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
        """Scales the gradients that forward made."""
        scale = grad_outputs[0]
        return *(None if grad is None else (grad * scale).to(ctx.dtype) for grad in ctx.gradients), None
