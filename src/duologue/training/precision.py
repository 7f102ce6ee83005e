"""Mixed precision: the model computes in one number format, the optimiser works on float32 masters.

Frozen weights have no master: nothing works on them.

Source: Micikevicius et al. 2018, section 3.1, arXiv:1710.03740.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MasterWeights:
    """Float32 masters of a model that computes in ``dtype``; in float32 the parameters are their own masters."""

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        """Takes the masters from the model as it is, then turns the model to ``dtype``."""
        named = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self.is_mixed = dtype != torch.float32
        if self.is_mixed:
            self.named = {name: nn.Parameter(weight.detach().float().clone()) for name, weight in named.items()}
            model.to(dtype)
        else:
            self.named = named
        self._parameters: list[Tensor] = list(named.values())
        self._masters: list[Tensor] = list(self.named.values())

    def collect_gradients(self) -> None:
        """Adds the model's gradients to the masters' in float32, and clears the model's."""
        if not self.is_mixed:
            return
        for master, parameter in zip(self._masters, self._parameters, strict=True):
            if parameter.grad is None:
                continue
            if master.grad is None:
                master.grad = parameter.grad.float()
            else:
                master.grad += parameter.grad
            parameter.grad = None

    def scale_gradients(self, scale: float) -> None:
        """Multiplies all gradients."""
        torch._foreach_mul_([master.grad for master in self._masters if master.grad is not None], scale)

    def clip_gradients(self, max_norm: float) -> Tensor:
        """Cuts the gradient to a length; returns the length that it had."""
        norm = nn.utils.clip_grad_norm_(self._masters, max_norm)
        return norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # of a model in parts

    def clear_gradients(self) -> None:
        """Forgets all gradients."""
        for weight in (*self._masters, *self._parameters):
            weight.grad = None

    @torch.no_grad()
    def publish(self) -> None:
        """Copies the masters into the model."""
        if self.is_mixed:
            torch._foreach_copy_(self._parameters, self._masters)
