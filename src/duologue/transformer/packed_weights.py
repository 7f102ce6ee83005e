"""A model's weights as native/rows.cpp reads them: in panels of 32 outputs, in bfloat16 or int8.

Shapes: O outputs, I inputs, P panels, V vocabulary, M width, F width of the feed-forward, D head width.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from duologue.transformer.int8 import Int8Linear
from duologue.transformer.model import Block, Transformer

PANEL = 32  # outputs that lie side by side
MULTIPLE = 4  # of which all inputs are
LANES = 16  # and of this the heads
MOST_SHARING = 64  # query heads of a key-value head


class _Matrix(ctypes.Structure):
    """As packed_matrix.h has it."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("packed", "scales", "shifts")),
        *((name, ctypes.c_int32) for name in ("outputs", "inputs")),
    )


class _Layer(ctypes.Structure):
    """As rows.cpp has it."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("attention_norm", "ffn_norm", "q_norm", "k_norm")),
        *((name, _Matrix) for name in ("qkv", "output", "gate_up", "down")),
        *((name, ctypes.c_void_p) for name in ("keys", "values")),
    )


class _Model(ctypes.Structure):
    """As rows.cpp has it."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("num_layers", "M", "H", "K", "D", "F", "vocab_size")),
        ("eps", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in ("embedding", "last_norm", "frequencies")),
        ("head", _Matrix),
        ("layers", ctypes.POINTER(_Layer)),
    )


def is_packable(model: Transformer) -> bool:
    """Whether a model is of a shape and a number format that can be packed."""
    config, weight = model.config, model.output_weight
    sizes = (config.hidden_size, config.intermediate_size, config.num_attention_heads * config.head_dim)
    shared = config.num_attention_heads // config.num_key_value_heads
    fits = all(size % MULTIPLE == 0 for size in sizes) and config.head_dim % LANES == 0 and shared <= MOST_SHARING
    return fits and weight.dtype == torch.bfloat16 and weight.device.type == "cpu"


class PackedWeights:
    """A model packed, its keys and values in the slabs of an arena."""

    def __init__(self, model: Transformer, key_slabs: Sequence[Tensor], value_slabs: Sequence[Tensor]) -> None:
        """Copies all weights; later changes of the model's are not seen."""
        self._kept: list[Any] = [key_slabs, value_slabs]  # what the pointers point to
        config = model.config
        self.vocab_size, self.width = model.vocab_size, config.hidden_size
        layers = [
            self._layer(block, keys, values)
            for block, keys, values in zip(model.model.layers, key_slabs, value_slabs, strict=True)
            if isinstance(block, Block)
        ]
        pairs = torch.arange(0, config.head_dim, 2, dtype=torch.float32)
        self._layers = (_Layer * len(layers))(*layers)
        self.struct = _Model(
            len(layers), config.hidden_size, config.num_attention_heads, config.num_key_value_heads, config.head_dim,
            -(-config.intermediate_size // LANES) * LANES, model.vocab_size, config.rms_norm_eps,
            self._pointer(model.model.embed_tokens.weight.detach()), self._pointer(model.model.norm.weight.float()),
            self._pointer(config.rope_theta ** -(pairs / config.head_dim)),
            self._matrix([model.head or model.output_weight]), self._layers,
        )  # fmt: skip

    def _layer(self, block: Block, keys: Tensor, values: Tensor) -> _Layer:
        attention, mlp = block.self_attn, block.mlp
        q_norm, k_norm = (
            self._pointer(_weight_of(norm).float()) if hasattr(norm, "weight") else None
            for norm in (attention.q_norm, attention.k_norm)
        )
        return _Layer(
            self._pointer(block.input_layernorm.weight.float()),
            self._pointer(block.post_attention_layernorm.weight.float()), q_norm, k_norm,
            self._matrix([attention.q_proj, attention.k_proj, attention.v_proj]), self._matrix([attention.o_proj]),
            self._matrix([mlp.gate_proj, mlp.up_proj], are_interleaved=True),
            self._matrix([mlp.down_proj], input_multiple=LANES),
            keys.data_ptr(), values.data_ptr(),
        )  # fmt: skip

    def _matrix(
        self, parts: Sequence[nn.Module | Tensor], *, are_interleaved: bool = False, input_multiple: int = 1
    ) -> _Matrix:
        """One matrix of several: below each other, or 16 outputs of each in turn."""
        weights = [part if isinstance(part, Tensor) else _weight_of(part) for part in parts]
        join = _interleaved if are_interleaved else torch.cat
        weight_OI = join(weights)
        group = 4 if weight_OI.dtype == torch.int8 else 2
        weight_OI = _filled(_filled(weight_OI, 0, PANEL), 1, input_multiple)
        inputs = weight_OI.shape[1]
        packed = weight_OI.view(-1, PANEL, inputs // group, group).transpose(1, 2).contiguous()
        if weight_OI.dtype != torch.int8:
            return _Matrix(self._pointer(packed), None, None, len(weight_OI), inputs)
        scales = _filled(join([part.scale for part in parts if isinstance(part, Int8Linear)]), 0, PANEL)
        shifts = 128 * weight_OI.sum(dim=1, dtype=torch.int32)
        found = (self._pointer(tensor) for tensor in (packed, scales.float(), shifts))
        return _Matrix(*found, len(weight_OI), inputs)

    def _pointer(self, tensor: Tensor) -> int:
        kept = tensor.detach().contiguous()
        self._kept.append(kept)
        return kept.data_ptr()


def _weight_of(layer: nn.Module) -> Tensor:
    assert isinstance(layer.weight, Tensor)
    return layer.weight.detach()


def _interleaved(parts: Sequence[Tensor]) -> Tensor:
    """16 of the first, 16 of the second, and so on; filled up with zeros."""
    filled = [_filled(part, 0, LANES) for part in parts]
    return torch.stack([part.unflatten(0, (-1, LANES)) for part in filled], dim=1).flatten(0, 2)


def _filled(tensor: Tensor, axis: int, multiple: int) -> Tensor:
    missing = -tensor.shape[axis] % multiple
    if not missing:
        return tensor
    zeros = tensor.new_zeros([missing if i == axis else size for i, size in enumerate(tensor.shape)])
    return torch.cat([tensor, zeros], dim=axis)
