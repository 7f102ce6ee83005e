"""Whether training takes the C++ kernels of native/, and which attention that makes."""

from __future__ import annotations

import torch

from duologue.native.compiled_library import bfloat16_library
from duologue.runtime import DtypeName
from duologue.training.activations import AttentionName
from duologue.training.config import StageConfig
from duologue.transformer.blocked_attention import is_blocked_attention_here


def is_native_here(config: StageConfig, dtype: DtypeName, device: str, head_dim: int) -> bool:
    """Whether this machine has them for a model with heads of that width, and the settings let them."""
    if config.native == "off" or not is_blocked_attention_here(getattr(torch, dtype), device, head_dim):
        return False
    return bfloat16_library("cross_entropy") is not None


def attention_name(*, is_native: bool, is_compiled: bool) -> AttentionName:
    """How packed rows attend."""
    return "blocked" if is_native else "products" if is_compiled else "masked"
