"""Matrices in int8: a scale for each output's weights, and one for each row that is multiplied.

A row's scale is its own, so that one row never changes another. Whole numbers are added in float64, so
without rounding: this is also what native code is tested against.

Shapes: O outputs, I inputs.

Source: Dettmers et al. 2022, arXiv:2208.07339 (vector-wise quantisation).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from duologue.transformer.model import Transformer

MOST = 127


class Int8Linear(nn.Module):
    """A linear layer whose weights are int8."""

    weight: Tensor
    scale: Tensor

    def __init__(self, weight_OI: Tensor) -> None:
        """Rounds the weights of a layer."""
        super().__init__()
        wide = weight_OI.detach().float()
        scale_O = wide.abs().amax(dim=1).clamp_min(1e-12) / MOST
        self.register_buffer("weight", (wide / scale_O[:, None]).round().to(torch.int8))
        self.register_buffer("scale", scale_O)

    def forward(self, x: Tensor) -> Tensor:
        """[..., I] -> [..., O]."""
        wide = x.double()  # in which whole numbers are exact, however many are added
        scale = wide.abs().amax(dim=-1, keepdim=True) / MOST
        scale = torch.where(scale > 0, scale, 1.0)
        product = (wide / scale).round() @ self.weight.T.double()
        return (product * scale * self.scale).to(x.dtype)


@torch.no_grad()
def to_int8(model: Transformer) -> Transformer:
    """The model with all matrices but the input embedding in int8; changed in place."""
    head = Int8Linear(model.output_weight)
    for module in model.model.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                setattr(module, name, Int8Linear(child.weight))
    model.head = head
    return model
