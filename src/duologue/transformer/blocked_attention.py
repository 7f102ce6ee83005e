"""Attention within the documents of packed rows, in blocks that stay in the processor's cache: native/attention.cpp.

On processors that multiply bfloat16 (AVX-512 BF16) it takes a quarter of the time of PyTorch's kernel, skips the blocks
that nobody sees, and keeps no weights between places. Everywhere else document_attention does the same.

Shapes: B batch, T places, H query heads, K key-value heads, D head width.

Source: Dao 2023, arXiv:2307.08691 (FlashAttention-2).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from duologue.native.compiled_library import bfloat16_library
from duologue.transformer.attention import AttendIn

LANES = 16  # the head's width is a multiple of it
Attention = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def is_blocked_attention_here(dtype: torch.dtype, device: str, head_dim: int) -> bool:
    """Whether this machine can do it, for such a model; compiles it where it was never asked for."""
    is_fitting = dtype == torch.bfloat16 and device == "cpu" and head_dim % LANES == 0
    return is_fitting and bfloat16_library("attention") is not None


def blocked_attention(document_ids_BT: Tensor) -> AttendIn:
    """Each place sees the places of its own document up to itself; a document stands in one piece of a row."""
    first_BT, attention = first_seen(document_ids_BT), _operator()

    def attend(q_BHTD: Tensor, k_BKTD: Tensor, v_BKTD: Tensor) -> Tensor:
        q, k, v = (x.transpose(1, 2) for x in (q_BHTD, k_BKTD, v_BKTD))
        return attention(q, k, v, first_BT)[0].transpose(1, 2)

    return lambda layer: attend


def first_seen(document_ids_BT: Tensor) -> Tensor:
    """The place at which each place's document begins, [B, T] in int32."""
    places_T = torch.arange(document_ids_BT.shape[1], device=document_ids_BT.device)
    is_first_BT = torch.ones_like(document_ids_BT, dtype=torch.bool)
    is_first_BT[:, 1:] = document_ids_BT[:, 1:] != document_ids_BT[:, :-1]
    return torch.where(is_first_BT, places_T, 0).cummax(dim=1).values.to(torch.int32)


class _Shape(ctypes.Structure):
    """As attention.cpp has it."""

    _fields_ = (*((name, ctypes.c_int32) for name in "BTHKD"), ("scale", ctypes.c_float))


class _Strided(ctypes.Structure):
    """As layouts.h has it."""

    _fields_ = (("data", ctypes.c_void_p), *((name, ctypes.c_int64) for name in ("row", "token", "head")))


def _shape_of(q: Tensor, k: Tensor) -> Any:
    B, T, H, D = q.shape
    return ctypes.byref(_Shape(B, T, H, k.shape[2], D, D**-0.5))


def _strided(x: Tensor) -> Any:
    return ctypes.byref(_Strided(x.data_ptr(), *x.stride()[:3]))


def _at(x: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(x.data_ptr())


def _forward(q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor, first_BT: Tensor) -> tuple[Tensor, Tensor]:
    """What each query found [B, T, H, D], and the logarithm of its weights' sum [B, H, T], to the base 2."""
    q, k, v = (_with_whole_heads(x) for x in (q_BTHD, k_BTKD, v_BTKD))
    out, log2_sums = _empty_forward(q, k, v, first_BT)
    _call("attention_forward", _shape_of(q, k), _strided(q), _strided(k), _strided(v), _at(first_BT), _at(out),
          _at(log2_sums))  # fmt: skip
    return out, log2_sums


def _backward(
    q: Tensor, k: Tensor, v: Tensor, first_BT: Tensor, out: Tensor, log2_sums: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of queries, keys and values from that of ``out``."""
    q, k, v, grad = (_with_whole_heads(x) for x in (q, k, v, grad))
    grads = _empty_backward(q, k, v)
    _call("attention_backward", _shape_of(q, k), _strided(q), _strided(k), _strided(v), _at(first_BT), _strided(out),
          _at(log2_sums), _strided(grad), *(_at(x) for x in grads))  # fmt: skip
    return grads


def _call(name: str, *arguments: Any) -> None:
    function = getattr(bfloat16_library("attention"), name)
    function.restype = ctypes.c_bool
    if not function(*arguments):
        raise MemoryError(f"{name}: no memory for its blocks")


def _with_whole_heads(x: Tensor) -> Tensor:
    return x if x.stride(-1) == 1 else x.contiguous()


def _empty_forward(q: Tensor, k: Tensor, v: Tensor, first_BT: Tensor) -> tuple[Tensor, Tensor]:
    B, T, H, D = q.shape
    return q.new_empty(B, T, H, D), q.new_empty(B, H, T, dtype=torch.float32)


def _empty_backward(q: Tensor, k: Tensor, v: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    empty_q, empty_k, empty_v = (x.new_empty(x.shape) for x in (q, k, v))
    return empty_q, empty_k, empty_v


@lru_cache
def _operator() -> Attention:
    """The two functions as one operator of torch, which autograd and the compiler know."""
    forward = torch.library.custom_op("duologue::attention", _forward, mutates_args=())
    backward = torch.library.custom_op("duologue::attention_backward", _backward, mutates_args=())
    forward.register_fake(_empty_forward)
    backward.register_fake(_empty_backward)

    def keep(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(*inputs, *output)

    def gradients(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        return *backward(*ctx.saved_tensors, grad), None

    forward.register_autograd(gradients, setup_context=keep)
    return forward
