"""Cross-entropy of a linear head, in chunks: neither the logits nor their errors ever stand in memory whole.

Shapes: N places, M model width, V vocabulary.

Source: Wijmans et al. 2024, arXiv:2411.09009 (the loss without the logits), here as plain chunks.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from duologue.native.compiled_library import bfloat16_library
from duologue.training.config import CHUNK


class ChunkedCrossEntropy(torch.autograd.Function):
    """Sum of -log softmax(hidden @ weight.T)[label]; gradients are made in the forward pass, chunk by chunk."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_NM: Tensor,
        weight_VM: Tensor,
        labels_N: Tensor,
        is_native: bool,
        offset_V: Tensor | None = None,
    ) -> Tensor:
        """Returns the sum in float32 and keeps for backward the gradients that are wanted: a frozen weight has none.

        Args:
            offset_V: added to all logits but the label's own.
        """
        hidden_learns, weight_learns, *_ = ctx.needs_input_grad
        learns, errors = hidden_learns or weight_learns, native_errors_of if is_native else errors_of
        grad_hidden = torch.empty_like(hidden_NM) if hidden_learns else None
        grad_weight = torch.zeros_like(weight_VM, dtype=torch.float32) if weight_learns else None
        total = torch.zeros((), dtype=torch.float32, device=hidden_NM.device)
        for start in range(0, len(labels_N), CHUNK):
            span = slice(start, start + CHUNK)
            labels = labels_N[span]
            logits = _logits(hidden_NM[span], weight_VM, labels, offset_V)
            if not learns and not is_native:
                total += F.cross_entropy(logits.float(), labels, reduction="sum")
                continue
            loss, error = errors(logits, labels)
            total += loss
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
        return *(None if grad is None else (grad * scale).to(ctx.dtype) for grad in ctx.gradients), None, None, None


def _logits(hidden_NM: Tensor, weight_VM: Tensor, labels_N: Tensor, offset_V: Tensor | None) -> Tensor:
    if offset_V is None:
        return hidden_NM @ weight_VM.T
    offset_V = offset_V.to(hidden_NM.dtype)
    logits_NV = torch.addmm(offset_V, hidden_NM, weight_VM.T)
    return logits_NV.scatter_add_(1, labels_N[:, None], -offset_V[labels_N, None])


def errors_of(logits_NV: Tensor, labels_N: Tensor) -> tuple[Tensor, Tensor]:
    """The summed loss in nats, and softmax(logits) less one at each label [N, V]; the logits are used up."""
    logits, labels = logits_NV.float(), labels_N[:, None]
    log_norm = torch.logsumexp(logits, dim=-1, keepdim=True)
    loss = (log_norm - logits.gather(1, labels)).sum()
    error = logits.sub_(log_norm).exp_()
    error.scatter_add_(1, labels, torch.full_like(labels, -1, dtype=error.dtype))
    return loss, error.to(logits_NV.dtype)


def native_errors_of(logits_NV: Tensor, labels_N: Tensor) -> tuple[Tensor, Tensor]:
    """The same for logits in bfloat16, in one pass over memory: native/cross_entropy.cpp."""
    library: Any = bfloat16_library("cross_entropy")
    logits, labels = logits_NV.contiguous(), labels_N.contiguous()
    losses = torch.empty(len(logits), dtype=torch.float32)
    size = (ctypes.c_int64(length) for length in logits.shape)
    places = (ctypes.c_void_p(tensor.data_ptr()) for tensor in (labels, losses))
    library.cross_entropy(ctypes.c_void_p(logits.data_ptr()), *size, *places)
    return losses.sum(), logits
