"""LoRA: the weights stay as they are, and a product of two thin matrices is learned that is added to them.

A layer W of the blocks becomes W + (alpha / rank) B A, with A [rank, in] and B [out, rank]. B begins at zero, so the
model begins as it was. Merged, it is a plain model again; apart, A and B are an adapter that PEFT reads.

Source: Hu et al. 2021, section 4.1, arXiv:2106.09685.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from duologue.transformer.lora_config import LoRAConfig
from duologue.transformer.model import Transformer

PEFT_PREFIX = "base_model.model."


class LoRALinear(nn.Linear):
    """A frozen linear layer with what is learned beside it; its own weight keeps its name."""

    def __init__(self, layer: nn.Linear, config: LoRAConfig, generator: torch.Generator) -> None:
        """A is drawn so that A x is about as large as x, B is zero."""
        super().__init__(layer.in_features, layer.out_features, bias=False, device="meta")
        self.weight, self.scale = layer.weight, config.scale
        device, dtype = layer.weight.device, layer.weight.dtype
        self.lora_A = nn.Linear(self.in_features, config.rank, bias=False, device=device, dtype=dtype)
        self.lora_B = nn.Linear(config.rank, self.out_features, bias=False, device=device, dtype=dtype)
        drawn = torch.randn(config.rank, self.in_features, generator=generator) * self.in_features**-0.5
        with torch.no_grad():
            self.lora_A.weight.copy_(drawn)
            self.lora_B.weight.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out]; added in place, since a second sum of that size would need a third more memory."""
        return F.linear(x, self.weight).add_(self.lora_B(self.lora_A(x)), alpha=self.scale)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The plain layer that does the same; the product is taken and added in float32."""
        layer = nn.Linear(self.in_features, self.out_features, bias=False, device="meta")
        added = self.scale * (self.lora_B.weight.float() @ self.lora_A.weight.float())
        layer.weight = nn.Parameter((self.weight.float() + added).to(self.weight.dtype))
        return layer


def add_lora(model: Transformer, config: LoRAConfig, *, seed: int) -> Transformer:
    """Freezes the model and gives its targeted layers factors to learn; with rank 0 leaves it as it is.

    The model is changed in place, and returned.
    """
    if config.rank:
        model.requires_grad_(False)
        generator = torch.Generator().manual_seed(seed)
        for part, name, layer in _linear_layers(model):
            if name in config.modules:
                setattr(part, name, LoRALinear(layer, config, generator))
    return model


def merge_lora(model: Transformer) -> Transformer:
    """Adds what was learned to the weights it belongs to, and takes the factors away: a plain model, in place."""
    for part, name, layer in _linear_layers(model):
        if isinstance(layer, LoRALinear):
            setattr(part, name, layer.merged())
    return model.requires_grad_(True)


def is_factor(name: str) -> bool:
    """Whether a parameter of that name is an A or a B."""
    return name.endswith(("lora_A.weight", "lora_B.weight"))


def save_adapter(model: Transformer, folder: Path, config: LoRAConfig, *, base: str) -> None:
    """Writes the factors alone as PEFT has them: ``adapter_config.json`` and ``adapter_model.safetensors``.

    Args:
        model: not merged yet.
        base: folder or name of the model that they belong to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fields = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": config.rank,
        "lora_alpha": config.alpha,
        "target_modules": list(config.modules),
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    (folder / "adapter_config.json").write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
    factors = {name: weight for name, weight in model.named_parameters() if is_factor(name)}
    tensors = {PEFT_PREFIX + name: weight.detach().float().cpu().contiguous() for name, weight in factors.items()}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def _linear_layers(model: Transformer) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    for block in model.model.layers:
        for part in block.children():
            for name, layer in list(part.named_children()):
                if isinstance(layer, nn.Linear):
                    yield part, name, layer
